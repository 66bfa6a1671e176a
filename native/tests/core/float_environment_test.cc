// Every export leaves the caller's floating-point environment as it was, on success and on failure, whatever it was; and
// computes the same in each.
#include "tests/core/export_calls.h"

#include <cstring>
#include <set>

#include "tests/core/float_words.h"

#if defined(__ELF__) && defined(__linux__)
#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#endif

namespace {

using nl_testing::Buffer;
using nl_testing::Caller;
using nl_testing::Callers;
using nl_testing::GetWords;
using nl_testing::SetWords;
using nl_testing::Words;

class FloatEnvironment : public nl_testing::KernelTest {};

TEST_P(FloatEnvironment, EveryExport_RestoresTheCallersEnvironment) {
  nl_testing::ExportCalls calls;
  const Words own = GetWords();
  for (const auto& [name, call] : calls.All()) {
    for (const Caller& caller : Callers()) {
      for (const bool succeeds : {true, false}) {
        const auto& run = succeeds ? call.success : call.failure;
        if (!run) continue;
        SetWords(caller.words);
        const int32_t status = run();
        const Words after = GetWords();
        SetWords(own);
        EXPECT_EQ(caller.words, after)
            << name << ", " << caller.name << (succeeds ? "" : ", failing");
        EXPECT_EQ(succeeds, status == NL_OK)
            << name << ", " << caller.name << ": " << nl_last_error();
      }
    }
  }
}

TEST_P(FloatEnvironment, Results_DoNotDependOnTheCallersEnvironment) {
  const Words own = GetWords();
  for (const char* name : {"nl_activation_forward", "nl_norm_forward", "nl_scan_forward",
                           "nl_batched_gemm", "nl_attention_forward", "nl_deep_memory_forward"}) {
    std::vector<float> expected;
    for (const Caller& caller : Callers()) {
      nl_testing::ExportCalls calls;
      SetWords(caller.words);
      calls.All().at(name).success();
      SetWords(own);
      const std::vector<float> actual(calls.results(), calls.results() + calls.result_count());
      if (expected.empty()) expected = actual;
      EXPECT_EQ(0, std::memcmp(expected.data(), actual.data(), actual.size() * sizeof(float)))
          << name << ", " << caller.name;
    }
  }
}

// The kernels' environment is that of the export alone: subnormal numbers are zeros in it, and the caller's own are not.
TEST_P(FloatEnvironment, SubnormalNumbers_AreZeroInKernelsAlone) {
  const volatile float least = std::numeric_limits<float>::min();
  Buffer x(3);
  x[0] = 0x1p-140f, x[1] = least, x[2] = -least;
  auto a = nl_elementwise_arguments{};
  a.size = sizeof(a);
  a.x = x.data(), a.z = x.data();
  a.factor = 0.5f;
  EXPECT_OK(nl_scale(&a, 1, 3));
  EXPECT_EQ(0.0f, x[1]) << "flushed";
  EXPECT_TRUE(x[2] == 0 && std::signbit(x[2])) << "flushed, with its sign";
  a.factor = 0x1p20f;
  EXPECT_OK(nl_scale(&a, 0, 1));
  EXPECT_EQ(0.0f, x[0]) << "read as zero";
  EXPECT_GT(least * 0.5f, 0.0f) << "the caller's is as it was";
}

NL_TEST_TARGETS(FloatEnvironment);

#if defined(__ELF__) && defined(__linux__)

// The library's own functions, out of its table of dynamic symbols.
std::set<std::string> Exports() {
  std::set<std::string> names;
  Dl_info info;
  if (!dladdr(reinterpret_cast<const void*>(&nl_abi_version), &info)) return names;
  // The address may be that of a jump in the program itself; the library's comes from the loader.
  void* symbol = dlsym(RTLD_DEFAULT, "nl_abi_version");
  link_map* map = nullptr;
  Dl_info own;
  if (!dladdr1(symbol, &own, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP)) return names;
  const ElfW(Sym)* symbols = nullptr;
  const char* strings = nullptr;
  const uint32_t* hash = nullptr;
  for (const ElfW(Dyn)* entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
    const auto address = entry->d_un.d_ptr;
    if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(address);
    if (entry->d_tag == DT_STRTAB) strings = reinterpret_cast<const char*>(address);
    if (entry->d_tag == DT_GNU_HASH) hash = reinterpret_cast<const uint32_t*>(address);
  }
  if (!symbols || !strings || !hash) return names;
  // The exported symbols are the hashed ones: those from `first` on, a chain for each bucket, ended by an odd hash.
  const uint32_t buckets = hash[0], first = hash[1], filter = hash[2];
  const uint32_t* bucket = hash + 4 + filter * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
  const uint32_t* chain = bucket + buckets;
  for (uint32_t i = 0; i < buckets; ++i) {
    if (bucket[i] == 0) continue;
    for (uint32_t s = bucket[i];; ++s) {
      const std::string name = strings + symbols[s].st_name;
      if (symbols[s].st_shndx != SHN_UNDEF && name.rfind("nl_", 0) == 0) names.insert(name);
      if (chain[s - first] & 1) break;
    }
  }
  return names;
}

TEST(FloatEnvironmentCalls, CoverEveryExport) {
  std::set<std::string> called;
  const nl_testing::ExportCalls calls;
  for (const auto& entry : calls.All()) called.insert(entry.first);
  EXPECT_EQ(Exports(), called);
}

#endif

}  // namespace
