// Choice of the instruction set at run time. Include it first in a kernel's source, before any of
// Highway:
//
//   #include "core/dispatch.h"
//   #undef HWY_TARGET_INCLUDE
//   #define HWY_TARGET_INCLUDE "kernels/scale/scale.cc"
//   #include "hwy/foreach_target.h"  // compiles this file once for each target
//   #include "hwy/highway.h"
//   #include "core/vector-inl.h"
//
//   HWY_BEFORE_NAMESPACE();
//   namespace nested_learning {
//   namespace HWY_NAMESPACE {  // keeps one target's inline helpers out of another's code
//   namespace {                // and one kernel's out of another's
//   void Scale(...) { ... }
//   }  // namespace
//   }  // namespace HWY_NAMESPACE
//   }  // namespace nested_learning
//   HWY_AFTER_NAMESPACE();
//
//   #if HWY_ONCE
//   namespace nested_learning {
//   NL_TARGET_TABLE(Scale);
//   }
//   extern "C" int32_t nl_scale(...) {
//     return nested_learning::Export([&] { NL_CALL(Scale)(...); });
//   }
//   #endif
#ifndef NESTED_LEARNING_CORE_DISPATCH_H_
#define NESTED_LEARNING_CORE_DISPATCH_H_

// Targets that this build leaves out, as CMake's NESTED_LEARNING_TARGETS has it.
#ifndef NL_TARGETS_LEFT_OUT
#define NL_TARGETS_LEFT_OUT 0
#endif

// And those that bring nothing over the ones kept, each of which would lengthen every build. SCALAR
// is Highway's static target on plain x86-64, and so always there.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS                                                              \
  (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | \
   NL_TARGETS_LEFT_OUT)
#endif

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/export.h"
#include "core/status.h"

namespace nested_learning {

// Positions in every target table.
enum Target : int32_t { kBaseline = 0, kAvx2 = 1, kAvx3 = 2, kTargetSlots = 3 };

extern std::atomic<int32_t> g_target;  // -1 until first asked for

// Settles g_target: NESTED_LEARNING_TARGET, or else the best. Throws where the named one cannot be
// had.
int32_t ResolveTarget();

inline int32_t CurrentTarget() {
  const int32_t target = g_target.load(std::memory_order_relaxed);
  return target >= 0 ? target : ResolveTarget();
}

// Whether the target in use is AVX3 and the processor has AVX-512 BF16 beside it.
bool HasBFloat16Products();

}  // namespace nested_learning

// One function of all targets: a constant table, null where a target was not compiled.
#define NL_TARGET_TABLE(function)                                \
  static decltype(&HWY_STATIC_DISPATCH(function))                \
      const function##Table[::nested_learning::kTargetSlots] = { \
          HWY_CHOOSE_FALLBACK(function), HWY_CHOOSE_AVX2(function), HWY_CHOOSE_AVX3(function)}

#define NL_CALL(function) (*::nested_learning::function##Table[::nested_learning::CurrentTarget()])

#endif  // NESTED_LEARNING_CORE_DISPATCH_H_
