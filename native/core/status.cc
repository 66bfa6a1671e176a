#include "core/status.h"

#include <cstdio>
#include <cstring>
#include <new>

namespace nested_learning {
namespace {

// A fixed buffer: keeping a message must not fail, whatever the failure was.
thread_local char t_message[512];

int32_t Keep(nl_status status, const char* message) noexcept {
  std::snprintf(t_message, sizeof(t_message), "%s", message);
  return status;
}

struct StructSize {
  const char* name;
  uint32_t size;
};

// Every struct of the public header.
constexpr StructSize kStructSizes[] = {
#include "core/struct_sizes.inc"
};

}  // namespace

int32_t Caught() noexcept {
  try {
    throw;
  } catch (const Error& e) {
    return Keep(e.status(), e.what());
  } catch (const std::bad_alloc&) {
    return Keep(NL_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return Keep(NL_INTERNAL_ERROR, e.what());
  } catch (...) {
    return Keep(NL_INTERNAL_ERROR, "unknown exception");
  }
}

void ThrowNull(const char* name) {
  throw Error(NL_INVALID_ARGUMENT, std::string(name) + " is null");
}

void ThrowSize(const char* name, uint32_t actual, uint32_t expected) {
  throw Error(NL_INVALID_ARGUMENT, std::string(name) + ".size is " + std::to_string(actual) +
                                       ", expected at least " + std::to_string(expected));
}

void ThrowValue(const char* name, int64_t value, const char* allowed) {
  throw Error(NL_INVALID_ARGUMENT,
              std::string(name) + " is " + std::to_string(value) + ", expected " + allowed);
}

void ThrowOneOf(const char* name, int64_t value, int64_t last) {
  const std::string allowed = (last == 1 ? "0 or " : "0 to ") + std::to_string(last);
  ThrowValue(name, value, allowed.c_str());
}

void ThrowElements(const char* names) {
  throw Error(NL_INVALID_ARGUMENT,
              "the product of " + std::string(names) + " is beyond 2^58, what memory could hold");
}

void ThrowFlags(const char* name, uint32_t flags, uint32_t known) {
  ThrowValue(name, flags, ("bits of " + std::to_string(known) + " alone").c_str());
}

void ThrowRange(int64_t begin, int64_t end) {
  throw Error(NL_INVALID_ARGUMENT, "the pieces " + std::to_string(begin) + " to " +
                                       std::to_string(end) + " are not a part of the work");
}

}  // namespace nested_learning

using nested_learning::Caught;

extern "C" {

int32_t nl_abi_version(void) { return NL_ABI_VERSION; }

const char* nl_last_error(void) { return nested_learning::t_message; }

uint32_t nl_struct_size(const char* name) {
  if (name == nullptr) return 0;
  for (const auto& entry : nested_learning::kStructSizes) {
    if (std::strcmp(entry.name, name) == 0) return entry.size;
  }
  return 0;
}

}  // extern "C"
