// What every function of the public header that returns a status is made of:
//
//   int32_t nl_scale(...) {
//     return nested_learning::Export([&] {
//       ...  // throws where something is wrong
//     });
//   }
//
// The body runs in the kernels' floating-point environment, and the caller's is back whichever way it ends.
#ifndef NESTED_LEARNING_CORE_EXPORT_H_
#define NESTED_LEARNING_CORE_EXPORT_H_

#include <cstdint>

#include "core/float_environment.h"
#include "core/status.h"

#if defined(_MSC_VER) && !defined(__clang__)
#define NL_NOT_INLINED __declspec(noinline)
#else
#define NL_NOT_INLINED __attribute__((noinline))
#endif

namespace nested_learning {

// A function of its own: compilers do not hold arithmetic back at a change of the environment, but cannot move it out
// of a call.
template <class TBody>
NL_NOT_INLINED void RunExported(const TBody& body) {
  body();
}

template <class TBody>
inline int32_t Export(const TBody& body) noexcept {
  const FloatEnvironment environment;
  try {
    RunExported(body);
    return NL_OK;
  } catch (...) {
    return Caught();
  }
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CORE_EXPORT_H_
