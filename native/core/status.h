// Errors inside the library are exceptions; Export of core/export.h makes a status of them.
#ifndef NESTED_LEARNING_CORE_STATUS_H_
#define NESTED_LEARNING_CORE_STATUS_H_

#include <cstdint>
#include <limits>
#include <string>
#include <stdexcept>

#include "nested_learning.h"

namespace nested_learning {

class Error : public std::runtime_error {
 public:
  Error(nl_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  nl_status status() const { return status_; }

 private:
  nl_status status_;
};

// The status of the exception being handled, its message kept for nl_last_error.
int32_t Caught() noexcept;

[[noreturn]] void ThrowNull(const char* name);
[[noreturn]] void ThrowSize(const char* name, uint32_t actual, uint32_t expected);
[[noreturn]] void ThrowValue(const char* name, int64_t value, const char* allowed);
[[noreturn]] void ThrowRange(int64_t begin, int64_t end);
// As ThrowValue, where 0 to last are allowed.
[[noreturn]] void ThrowOneOf(const char* name, int64_t value, int64_t last);
[[noreturn]] void ThrowElements(const char* names);
[[noreturn]] void ThrowFlags(const char* name, uint32_t flags, uint32_t known);

inline void RequireNotNull(const void* pointer, const char* name) {
  if (pointer == nullptr) ThrowNull(name);
}

inline void RequirePositive(int64_t value, const char* name) {
  if (value <= 0) ThrowValue(name, value, "at least 1");
}

inline void RequireNotNegative(int64_t value, const char* name) {
  if (value < 0) ThrowValue(name, value, "at least 0");
}

// That memory could hold as many numbers as the product of these sizes, none of which is negative, so that no position, plan
// or count of pieces overflows. One of 0 counts as 1, as plans are made of the others all the same.
inline void RequireElements(const char* names, std::initializer_list<int64_t> sizes) {
  double all = 1;
  for (const int64_t size : sizes) all *= size > 1 ? static_cast<double>(size) : 1.0;
  if (all > 0x1p58) ThrowElements(names);
}

// 0 <= value <= last, such as an enum's last value.
inline void RequireOneOf(int32_t value, int32_t last, const char* name) {
  if (value < 0 || value > last) ThrowOneOf(name, value, last);
}

// No bit of `flags` but those `known`.
inline void RequireFlags(uint32_t flags, uint32_t known, const char* name) {
  if ((flags & ~known) != 0) ThrowFlags(name, flags, known);
}

// 0 <= begin <= end.
inline void RequireRange(int64_t begin, int64_t end) {
  if (begin < 0 || end < begin) ThrowRange(begin, end);
}

// 0 <= begin <= end <= pieces.
inline void RequireRange(int64_t begin, int64_t end, int64_t pieces) {
  if (begin < 0 || end < begin || end > pieces) ThrowRange(begin, end);
}

// What is added to a root so that nothing is divided by zero: above 0, and not flushed to it.
inline void RequireEpsilon(float epsilon) {
  if (!(epsilon >= std::numeric_limits<float>::min() &&
        epsilon <= std::numeric_limits<float>::max())) {
    throw Error(NL_INVALID_ARGUMENT,
                "epsilon is " + std::to_string(epsilon) +
                    ", expected a finite number above 0 that is not subnormal");
  }
}

// That a caller's struct is there and has all the fields this library knows.
template <typename T>
inline const T& RequireArguments(const T* arguments, const char* name) {
  if (arguments == nullptr) ThrowNull(name);
  if (arguments->size < sizeof(T)) ThrowSize(name, arguments->size, sizeof(T));
  return *arguments;
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CORE_STATUS_H_
