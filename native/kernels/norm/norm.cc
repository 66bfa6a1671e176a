// Norms of the rows of x [m, n]; README.md has the equations. float32; a row's sums depend on n
// alone. Forward writes y. Backward writes dx, and for each block of rows the sums that make up the
// gain's and bias' gradients.
#include "core/dispatch.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/norm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

struct SumBody {
  const float* x;
  VecF sum;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t j) {
    sum = hn::Add(sum, vector(x + j));
  }
};

// Σ (x − mean)².
struct SquaresBody {
  const float* x;
  VecF mean, sum;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t j) {
    const VecF v = vector.Only(hn::Sub(vector(x + j), mean));
    sum = hn::MulAdd(v, v, sum);
  }
};

struct Moments {
  float mean, scale;  // x̂ = (x − mean) scale
};

// 1 / √(squares / divisor + rest) for the sum of the squares of x − mean. Of a row so small that its squares are not all
// normal numbers they are summed once more, in double, where they and the rest matter.
inline float InverseRoot(float squares, double divisor, double rest, const float* x, float mean,
                         size_t n) {
  double inside = squares / divisor + rest;
  if (inside < 0x1p-80) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
      const double v = static_cast<double>(x[i]) - mean;
      sum += v * v;
    }
    inside = sum / divisor + rest;
  }
  return static_cast<float>(1.0 / std::sqrt(inside));
}

HWY_INLINE Moments MomentsOf(const nl_norm_arguments& a, const float* x) {
  const F32 d;
  const size_t n = static_cast<size_t>(a.columns);
  const float count = static_cast<float>(n);
  const double epsilon = a.epsilon;
  if (a.kind != NL_NORM_LAYER) {
    const bool is_l2 = a.kind == NL_NORM_L2;
    return {0.0f, InverseRoot(Dot(x, x, n), is_l2 ? 1.0 : static_cast<double>(n),
                              is_l2 ? epsilon * epsilon : epsilon, x, 0.0f, n)};
  }
  SumBody sum = {x, hn::Zero(d)};
  ForEachVector(n, sum);
  const float mean = SumLanes(sum.sum) / count;
  SquaresBody squares = {x, hn::Set(d, mean), hn::Zero(d)};
  ForEachVector(n, squares);
  return {mean, InverseRoot(SumLanes(squares.sum), static_cast<double>(n), epsilon, x, mean, n)};
}

struct ForwardBody {
  const float *x, *gain, *bias;
  float* y;
  VecF mean, scale;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t j) {
    VecF v = hn::Mul(hn::Sub(vector(x + j), mean), scale);
    if (gain != nullptr) v = hn::Mul(v, vector(gain + j));
    if (bias != nullptr) v = hn::Add(v, vector(bias + j));
    vector(v, y + j);
  }
};

void NormForward(const nl_norm_arguments& a, int64_t begin, int64_t end) {
  const F32 d;
  for (int64_t i = begin; i < end; ++i) {
    const float* x = a.x + i * a.columns;
    const Moments moments = MomentsOf(a, x);
    ForwardBody body = {x,
                        a.gain,
                        a.bias,
                        a.y + i * a.columns,
                        hn::Set(d, moments.mean),
                        hn::Set(d, moments.scale)};
    ForEachVector(a.columns, body);
  }
}

// Σ g dy, Σ g dy x̂, and the row's part of dgain = Σ dy x̂ and dbias = Σ dy.
struct BackwardSumsBody {
  const float *x, *gain, *dy;
  float *dgain, *dbias;
  bool first;
  VecF mean, scale, sum, product;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t j) {
    const VecF upstream = vector(dy + j);
    const VecF normal = vector.Only(hn::Mul(hn::Sub(vector(x + j), mean), scale));
    VecF g = upstream;
    if (gain != nullptr) g = hn::Mul(g, vector(gain + j));
    sum = hn::Add(sum, g);
    product = hn::MulAdd(g, normal, product);
    if (dgain != nullptr) {
      const VecF v = hn::Mul(upstream, normal);
      vector(first ? v : hn::Add(vector(dgain + j), v), dgain + j);
    }
    if (dbias != nullptr) {
      vector(first ? upstream : hn::Add(vector(dbias + j), upstream), dbias + j);
    }
  }
};

// dx = scale (g dy − mean(g dy) − x̂ c), c = Σ g dy x̂ over n, or over 1 for L2, whose x̂ has
// length 1.
struct BackwardBody {
  const float *x, *gain, *dy;
  float* dx;
  VecF mean, scale, mean_gradient, c;
  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t j) {
    const VecF normal = hn::Mul(hn::Sub(vector(x + j), mean), scale);
    VecF g = vector(dy + j);
    if (gain != nullptr) g = hn::Mul(g, vector(gain + j));
    g = hn::NegMulAdd(normal, c, hn::Sub(g, mean_gradient));
    vector(hn::Mul(g, scale), dx + j);
  }
};

void NormBackward(const nl_norm_arguments& a, int64_t block) {
  const F32 d;
  const float count = static_cast<float>(a.columns);
  const int64_t begin = block * NL_NORM_BLOCK;
  const int64_t end = std::min<int64_t>(a.rows, begin + NL_NORM_BLOCK);
  float* dgain = a.dgain == nullptr ? nullptr : a.dgain + block * a.columns;
  float* dbias = a.dbias == nullptr ? nullptr : a.dbias + block * a.columns;
  for (int64_t i = begin; i < end; ++i) {
    const float* x = a.x + i * a.columns;
    const float* dy = a.dy + i * a.columns;
    const Moments moments = MomentsOf(a, x);
    const VecF mean = hn::Set(d, moments.mean);
    const VecF scale = hn::Set(d, moments.scale);
    BackwardSumsBody sums = {x,          a.gain, dy,    dgain,       dbias,
                             i == begin, mean,   scale, hn::Zero(d), hn::Zero(d)};
    ForEachVector(a.columns, sums);
    if (a.dx == nullptr) continue;
    const float product = SumLanes(sums.product);
    const float mean_gradient = a.kind == NL_NORM_LAYER ? SumLanes(sums.sum) / count : 0.0f;
    BackwardBody body = {x,
                         a.gain,
                         dy,
                         a.dx + i * a.columns,
                         mean,
                         scale,
                         hn::Set(d, mean_gradient),
                         hn::Set(d, a.kind == NL_NORM_L2 ? product : product / count)};
    ForEachVector(a.columns, body);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(NormForward);
NL_TARGET_TABLE(NormBackward);

namespace {

const nl_norm_arguments& Check(const nl_norm_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_norm_arguments");
  RequireOneOf(a.kind, NL_NORM_L2, "kind");
  RequireNotNegative(a.rows, "rows");
  RequireNotNegative(a.columns, "columns");
  RequireElements("rows and columns", {a.rows, a.columns});
  return a;
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_norm_forward(const nl_norm_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments);
    nl::RequireRange(begin, end, a.rows);
    if (begin == end || a.columns == 0) return;
    nl::RequireNotNull(a.x, "x");
    nl::RequireNotNull(a.y, "y");
    NL_CALL(NormForward)(a, begin, end);
  });
}

int32_t nl_norm_backward(const nl_norm_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments);
    nl::RequireRange(begin, end, (a.rows + NL_NORM_BLOCK - 1) / NL_NORM_BLOCK);
    if (begin == end || a.columns == 0) return;
    nl::RequireNotNull(a.x, "x");
    nl::RequireNotNull(a.dy, "dy");
    for (int64_t block = begin; block < end; ++block) NL_CALL(NormBackward)(a, block);
  });
}

}  // extern "C"

#endif  // HWY_ONCE
