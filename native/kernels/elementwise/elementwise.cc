// Activations and the small elementwise operations; README.md has the equations. Every result
// depends on its own inputs alone, so a piece may begin and end anywhere.
#include "core/dispatch.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/elementwise.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

struct SigmoidFunction {
  static HWY_INLINE VecF Value(VecF x) { return Sigmoid(x); }
  // s (1 - s) = u / (1 + u)² with u = e^-|x|, which does not round to 0 on the far right as 1 - s would.
  static HWY_INLINE VecF Slope(VecF x) {
    const VecF one = Constant(1.0f);
    const VecF u = Exp(hn::Neg(hn::Abs(x)));
    const VecF r = hn::Div(one, hn::Add(one, u));
    return hn::Mul(u, hn::Mul(r, r));
  }
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
struct ForwardBody {
  const float* x;
  float* z;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    vector(TFunction::Value(vector(x + i)), z + i);
  }
};

template <class TFunction>
void Forward(const float* x, float* z, size_t count) {
  ForwardBody<TFunction> body = {x, z};
  ForEachVector(count, body);
}

template <class TFunction>
struct BackwardBody {
  const float *x, *dy;
  float* dx;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    vector(hn::Mul(vector(dy + i), TFunction::Slope(vector(x + i))), dx + i);
  }
};

template <class TFunction>
void Backward(const float* x, const float* dy, float* dx, size_t count) {
  BackwardBody<TFunction> body = {x, dy, dx};
  ForEachVector(count, body);
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

struct MultiplyBody {
  const float *x, *y;
  float* z;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    vector(hn::Mul(vector(x + i), vector(y + i)), z + i);
  }
};

void Multiply(const float* x, const float* y, float* z, size_t count) {
  MultiplyBody body = {x, y, z};
  ForEachVector(count, body);
}

struct ScaleBody {
  VecF factor;
  const float* x;
  float* z;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    vector(hn::Mul(factor, vector(x + i)), z + i);
  }
};

void Scale(float factor, const float* x, float* z, size_t count) {
  ScaleBody body = {hn::Set(F32(), factor), x, z};
  ForEachVector(count, body);
}

double SumOfSquares(const float* x, size_t count) {
  const F64 d;
  const hn::Rebind<float, F64> half;
  const size_t lanes = hn::Lanes(d);
  VecD s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  const auto add = [&](VecD sum, const float* from) HWY_ATTR {
    const VecD v = hn::PromoteTo(d, hn::LoadU(half, from));
    return hn::MulAdd(v, v, sum);
  };
  size_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    s0 = add(s0, x + i);
    s1 = add(s1, x + i + lanes);
    s2 = add(s2, x + i + 2 * lanes);
    s3 = add(s3, x + i + 3 * lanes);
  }
  double sum = SumLanes(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)));
  for (; i < count; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

}  // namespace
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
NL_TARGET_TABLE(SumOfSquares);

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

void RequireActivation(int32_t activation) { RequireOneOf(activation, NL_GELU, "activation"); }

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_activation_forward(const nl_elementwise_arguments* arguments, int64_t begin,
                              int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments, begin, end, false);
    nl::RequireActivation(a.activation);
    if (begin == end) return;
    NL_CALL(ActivationForward)(a.activation, a.x + begin, a.z + begin, end - begin);
  });
}

int32_t nl_activation_backward(const nl_elementwise_arguments* arguments, int64_t begin,
                               int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments, begin, end, true);
    nl::RequireActivation(a.activation);
    if (begin == end) return;
    NL_CALL(ActivationBackward)
    (a.activation, a.x + begin, a.y + begin, a.z + begin, end - begin);
  });
}

int32_t nl_add_scaled(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments, begin, end, false);
    if (begin == end) return;
    NL_CALL(AddScaled)(a.factor, a.x + begin, a.z + begin, end - begin);
  });
}

int32_t nl_multiply(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments, begin, end, true);
    if (begin == end) return;
    NL_CALL(Multiply)(a.x + begin, a.y + begin, a.z + begin, end - begin);
  });
}

int32_t nl_scale(const nl_elementwise_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments, begin, end, false);
    if (begin == end) return;
    NL_CALL(Scale)(a.factor, a.x + begin, a.z + begin, end - begin);
  });
}

int32_t nl_sum_of_squares(const float* x, int64_t count, double* sums, int64_t begin, int64_t end) {
  return nl::Export([&] {
    nl::RequireNotNegative(count, "count");
    nl::RequireElements("count", {count});
    nl::RequireRange(begin, end, (count + NL_SUM_BLOCK - 1) / NL_SUM_BLOCK);
    if (begin < end) {
      nl::RequireNotNull(x, "x");
      nl::RequireNotNull(sums, "sums");
    }
    for (int64_t block = begin; block < end; ++block) {
      const int64_t start = block * NL_SUM_BLOCK;
      const int64_t length = std::min<int64_t>(NL_SUM_BLOCK, count - start);
      sums[block] = NL_CALL(SumOfSquares)(x + start, length);
    }
  });
}

}  // extern "C"

#endif  // HWY_ONCE
