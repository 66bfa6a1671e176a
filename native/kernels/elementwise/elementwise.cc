// Activations and the small elementwise operations; README.md has the equations. Every result depends on its own inputs
// alone, so a piece may begin and end anywhere.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/elementwise.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

struct SigmoidFunction {
  static HWY_INLINE VecF Value(VecF x) { return Sigmoid(x); }
  // s (1 - s), with 1 - s = sigmoid(-x) so that the far right does not round to 0.
  static HWY_INLINE VecF Slope(VecF x) { return hn::Mul(Sigmoid(x), Sigmoid(hn::Neg(x))); }
};

struct SoftplusFunction {
  static HWY_INLINE VecF Value(VecF x) { return Softplus(x); }
  static HWY_INLINE VecF Slope(VecF x) { return Sigmoid(x); }
};

struct LogSigmoidFunction {
  static HWY_INLINE VecF Value(VecF x) { return hn::Neg(Softplus(hn::Neg(x))); }
  static HWY_INLINE VecF Slope(VecF x) { return Sigmoid(hn::Neg(x)); }
};

struct GeluFunction {
  static HWY_INLINE VecF Value(VecF x) { return Gelu(x); }
  static HWY_INLINE VecF Slope(VecF x) { return GeluGradient(x); }
};

template <class TFunction>
void Forward(const float* x, float* z, size_t count) {
  const F32 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(TFunction::Value(hn::LoadU(d, x + i)), d, z + i);
  }
  if (i < count) StorePart(TFunction::Value(LoadPart(x + i, count - i)), z + i, count - i);
}

template <class TFunction>
void Backward(const float* x, const float* dy, float* dx, size_t count) {
  const F32 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const VecF slope = TFunction::Slope(hn::LoadU(d, x + i));
    hn::StoreU(hn::Mul(hn::LoadU(d, dy + i), slope), d, dx + i);
  }
  if (i < count) {
    const size_t rest = count - i;
    const VecF slope = TFunction::Slope(LoadPart(x + i, rest));
    StorePart(hn::Mul(LoadPart(dy + i, rest), slope), dx + i, rest);
  }
}

void ActivationForward(int32_t activation, const float* x, float* z, size_t count) {
  switch (activation) {
    case NL_SIGMOID:
      return Forward<SigmoidFunction>(x, z, count);
    case NL_SOFTPLUS:
      return Forward<SoftplusFunction>(x, z, count);
    case NL_LOG_SIGMOID:
      return Forward<LogSigmoidFunction>(x, z, count);
    default:
      return Forward<GeluFunction>(x, z, count);
  }
}

void ActivationBackward(int32_t activation, const float* x, const float* dy, float* dx,
                        size_t count) {
  switch (activation) {
    case NL_SIGMOID:
      return Backward<SigmoidFunction>(x, dy, dx, count);
    case NL_SOFTPLUS:
      return Backward<SoftplusFunction>(x, dy, dx, count);
    case NL_LOG_SIGMOID:
      return Backward<LogSigmoidFunction>(x, dy, dx, count);
    default:
      return Backward<GeluFunction>(x, dy, dx, count);
  }
}

void AddScaled(float factor, const float* x, float* z, size_t count) {
  AddScaledTo(factor, x, z, count);
}

void Multiply(const float* x, const float* y, float* z, size_t count) {
  const F32 d;
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, z + i);
  }
  if (i < count) {
    const size_t rest = count - i;
    StorePart(hn::Mul(LoadPart(x + i, rest), LoadPart(y + i, rest)), z + i, rest);
  }
}

void Scale(float factor, const float* x, float* z, size_t count) {
  const F32 d;
  const VecF f = hn::Set(d, factor);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hn::StoreU(hn::Mul(f, hn::LoadU(d, x + i)), d, z + i);
  if (i < count) StorePart(hn::Mul(f, LoadPart(x + i, count - i)), z + i, count - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(ActivationForward);
NL_TARGET_TABLE(ActivationBackward);
NL_TARGET_TABLE(AddScaled);
NL_TARGET_TABLE(Multiply);
NL_TARGET_TABLE(Scale);

namespace {

const nl_elementwise_arguments& Check(const nl_elementwise_arguments* arguments, int64_t begin,
                                      int64_t end, bool needs_y) {
  const auto& a = RequireArguments(arguments, "nl_elementwise_arguments");
  RequireRange(begin, end);
  if (begin < end) {
    RequireNotNull(a.x, "x");
    if (needs_y) RequireNotNull(a.y, "y");
    RequireNotNull(a.z, "z");
  }
  return a;
}

void RequireActivation(int32_t activation) {
  if (activation < NL_SIGMOID || activation > NL_GELU) {
    ThrowValue("activation", activation, "0 to 3");
  }
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_activation_forward(const nl_elementwise_arguments* arguments, int64_t begin,
                              int64_t end) try {
  const auto& a = nl::Check(arguments, begin, end, false);
  nl::RequireActivation(a.activation);
  NL_CALL(ActivationForward)(a.activation, a.x + begin, a.z + begin, end - begin);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

int32_t nl_activation_backward(const nl_elementwise_arguments* arguments, int64_t begin,
                               int64_t end) try {
  const auto& a = nl::Check(arguments, begin, end, true);
  nl::RequireActivation(a.activation);
  NL_CALL(ActivationBackward)
  (a.activation, a.x + begin, a.y + begin, a.z + begin, end - begin);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

int32_t nl_add_scaled(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end) try {
  const auto& a = nl::Check(arguments, begin, end, false);
  NL_CALL(AddScaled)(a.factor, a.x + begin, a.z + begin, end - begin);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

int32_t nl_multiply(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end) try {
  const auto& a = nl::Check(arguments, begin, end, true);
  NL_CALL(Multiply)(a.x + begin, a.y + begin, a.z + begin, end - begin);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

int32_t nl_scale(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end) try {
  const auto& a = nl::Check(arguments, begin, end, false);
  NL_CALL(Scale)(a.factor, a.x + begin, a.z + begin, end - begin);
  return NL_OK;
} catch (...) {
  return nl::Caught();
}

}  // extern "C"

#endif  // HWY_ONCE
