#include "core/dispatch.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "hwy/detect_targets.h"
#include "hwy/targets.h"

#if HWY_ARCH_X86
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

namespace nested_learning {

std::atomic<int32_t> g_target{-1};

namespace {

constexpr int32_t kBFloat16Products = kTargetSlots;

struct Entry {
  int32_t slot;
  int64_t highway;  // its bit in Highway
};

// The compiled targets, the plainest first. Where the compiler was told to use more than every processor has, that is the first.
constexpr int32_t kStaticSlot = HWY_STATIC_TARGET == HWY_AVX3   ? kAvx3
                                : HWY_STATIC_TARGET == HWY_AVX2 ? kAvx2
                                                                : kBaseline;
constexpr Entry kTargets[] = {
    {kStaticSlot, HWY_STATIC_TARGET},
#if HWY_ARCH_X86
#if (HWY_TARGETS & HWY_AVX2) && HWY_STATIC_TARGET != HWY_AVX2
    {kAvx2, HWY_AVX2},
#endif
#if (HWY_TARGETS & HWY_AVX3) && HWY_STATIC_TARGET != HWY_AVX3
    {kAvx3, HWY_AVX3},
#endif
#endif
};
constexpr int32_t kTargetCount = sizeof(kTargets) / sizeof(kTargets[0]);

// Those that a build of this processor's kind may have.
#if HWY_ARCH_X86
constexpr const char* kKnown[] = {"SCALAR", "AVX2", "AVX3"};
#else
constexpr const char* kKnown[] = {"NEON"};
#endif

#if HWY_ARCH_X86

void Cpuid(uint32_t leaf, uint32_t subleaf, uint32_t (&out)[4]) {
#if defined(_MSC_VER)
  int registers[4];
  __cpuidex(registers, static_cast<int>(leaf), static_cast<int>(subleaf));
  for (int i = 0; i < 4; ++i) out[i] = static_cast<uint32_t>(registers[i]);
#else
  __cpuid_count(leaf, subleaf, out[0], out[1], out[2], out[3]);
#endif
}

// XCR0: which registers the operating system saves on a task switch.
uint64_t SavedRegisters() {
#if defined(_MSC_VER)
  return _xgetbv(0);
#else
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
#endif
}

// The slots this processor and operating system can run, as bits, and beyond them kBFloat16Products. The features are those
// that Highway lets the compiler use for each target.
uint32_t DetectSlots() {
  uint32_t slots = 1u << kBaseline;
  uint32_t r[4];
  Cpuid(0, 0, r);
  const uint32_t max_leaf = r[0];
  if (max_leaf < 1) return slots;
  Cpuid(1, 0, r);
  const uint32_t ecx1 = r[2];
  const auto has = [](uint32_t value, uint32_t bits) { return (value & bits) == bits; };

  // SSSE3, SSE4.1, SSE4.2, PCLMUL, AES.
  if (!has(ecx1, 1u << 9 | 1u << 19 | 1u << 20 | 1u << 1 | 1u << 25)) return slots;
  // OSXSAVE, AVX, FMA, F16C.
  if (max_leaf < 7 || !has(ecx1, 1u << 27 | 1u << 28 | 1u << 12 | 1u << 29)) return slots;
  const uint64_t saved = SavedRegisters();
  if ((saved & 0x6) != 0x6) return slots;  // XMM, YMM
  Cpuid(7, 0, r);
  const uint32_t max_subleaf = r[0], ebx7 = r[1];
  // AVX2, BMI1, BMI2.
  if (!has(ebx7, 1u << 5 | 1u << 3 | 1u << 8)) return slots;
  Cpuid(0x80000000u, 0, r);
  if (r[0] < 0x80000001u) return slots;
  Cpuid(0x80000001u, 0, r);
  if (!has(r[2], 1u << 5)) return slots;  // LZCNT
  slots |= 1u << kAvx2;

  // AVX-512 F, DQ, BW, VL; and opmask, upper ZMM, ZMM16-31.
  if ((saved & 0xE6) == 0xE6 && has(ebx7, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31)) {
    slots |= 1u << kAvx3;
    if (max_subleaf >= 1) {
      Cpuid(7, 1, r);
      if (has(r[0], 1u << 5)) slots |= 1u << kBFloat16Products;
    }
  }
  return slots;
}

#else

uint32_t DetectSlots() { return 1u << kBaseline; }

#endif

bool Supported(int32_t slot) {
  static const uint32_t slots = DetectSlots();
  return (slots >> slot & 1) != 0;
}

// Positions in kTargets of the target in use, once g_target is settled.
int32_t PositionOf(int32_t slot) {
  for (int32_t i = 0; i < kTargetCount; ++i) {
    if (kTargets[i].slot == slot) return i;
  }
  throw Error(NL_INTERNAL_ERROR, "the chosen target was not compiled");
}

}  // namespace

int32_t ResolveTarget() {
  int32_t slot = -1;
  const char* wanted = std::getenv("NESTED_LEARNING_TARGET");
  if (wanted != nullptr && *wanted != '\0') {
    std::string known;
    const char* reason = "";
    for (const char* name : kKnown) {
      if (std::strcmp(name, wanted) == 0) reason = ", which this library was built without";
    }
    for (const Entry& entry : kTargets) {
      const char* name = hwy::TargetName(entry.highway);
      const bool is_wanted = std::strcmp(name, wanted) == 0;
      if (Supported(entry.slot)) {
        if (is_wanted) slot = entry.slot;
        if (!known.empty()) known += ", ";
        known += name;
      } else if (is_wanted) {
        reason = ", which this machine lacks";
      }
    }
    if (slot < 0) {
      throw Error(NL_UNSUPPORTED_TARGET, "NESTED_LEARNING_TARGET is " + std::string(wanted) +
                                             reason + ", expected one of " + known);
    }
  } else {
    for (const Entry& entry : kTargets) {
      if (Supported(entry.slot)) slot = entry.slot;
    }
    if (slot < 0) {
      throw Error(NL_UNSUPPORTED_TARGET, std::string("this library was built for ") +
                                             hwy::TargetName(HWY_STATIC_TARGET) +
                                             " alone, which this machine lacks");
    }
  }
  g_target.store(slot, std::memory_order_relaxed);
  return slot;
}

bool HasBFloat16Products() { return CurrentTarget() == kAvx3 && Supported(kBFloat16Products); }

}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_target_count(void) { return nl::kTargetCount; }

const char* nl_target_name(int32_t target) {
  if (target < 0 || target >= nl::kTargetCount) return nullptr;
  return hwy::TargetName(nl::kTargets[target].highway);
}

int32_t nl_target_supported(int32_t target) {
  if (target < 0 || target >= nl::kTargetCount) return 0;
  return nl::Supported(nl::kTargets[target].slot) ? 1 : 0;
}

int32_t nl_target_current(int32_t* target) {
  return nl::Export([&] {
    nl::RequireNotNull(target, "target");
    *target = nl::PositionOf(nl::CurrentTarget());
  });
}

int32_t nl_target_choose(int32_t target) {
  return nl::Export([&] {
    if (target < 0 || target >= nl::kTargetCount) {
      const std::string allowed = "0 to " + std::to_string(nl::kTargetCount - 1);
      nl::ThrowValue("target", target, allowed.c_str());
    }
    if (!nl_target_supported(target)) {
      throw nl::Error(NL_UNSUPPORTED_TARGET,
                      std::string(nl_target_name(target)) + " cannot run on this machine");
    }
    nl::g_target.store(nl::kTargets[target].slot, std::memory_order_relaxed);
  });
}

}  // extern "C"
