// Elementary functions of a vector of floats. Per target. NaN gives NaN.
//
//   function        range           largest error (native/tests/core/math_test.cc holds them to it)
//   Exp             all             2 ulp; 0 where the result would be subnormal, overflow is infinity, Exp(-inf) = 0
//   ExpFlushed      x <= 88         2 ulp and 8e-8 |x| relative; 0 where the result would be subnormal
//   Log1p           x > -1          3 ulp; Log1p(-1) = -inf, below it NaN
//   Sigmoid         all             4 ulp
//   Softplus        all             4 ulp
//   NormalCdf       all             4e-7 relative, and that of rounding x² in e^(-x²/2); 0 below -kNormalEnd
//   Gelu            all             2e-7 (|x| + |result|)
//   GeluGradient    all             4e-7 absolute
//   GeluCurvature   all             4e-7 absolute
//
// In an export (core/export.h) and outside of one: a subnormal x may count as 0, and no other result is subnormal but that of
// Log1p and Gelu where x is.
//
// Beyond ±kNormalEnd GELU, its derivative and its second derivative are what they are at ±∞: 0, but for the derivative 1 on
// the right. What is left out is less than 2^-62, and so zero to the last bit of any sum with a term of 2^-37 or more,
// float32's 24 bits further up; as numbers of their own such tails would make gradients that are subnormal.
#if defined(NESTED_LEARNING_CORE_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_MATH_INL_H_
#undef NESTED_LEARNING_CORE_MATH_INL_H_
#else
#define NESTED_LEARNING_CORE_MATH_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

HWY_INLINE VecF Constant(float value) { return hn::Set(F32(), value); }

// 2^n for integer lanes in -126..127.
HWY_INLINE VecF PowerOfTwo(VecI n) {
  return hn::BitCast(F32(), hn::ShiftLeft<23>(hn::Add(n, hn::Set(I32(), 127))));
}

constexpr float kNormalEnd = 9.5f;

// e^x = 2^n e^r with |r| <= ln 2 / 2, and 0 below lowest, which is -87.33654 (2^-126) or more. No minimum or maximum is
// taken, so that NaN comes through.
HWY_INLINE VecF ExpAbove(float lowest, VecF x) {
  const I32 di;
  // Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits.
  const VecF shift = Constant(12582912.0f);
  const VecF shifted = hn::MulAdd(x, Constant(1.44269504f), shift);
  const VecF n = hn::Sub(shifted, shift);
  // ln 2 in two parts, the first with so few bits that its product with n is exact.
  VecF r = hn::NegMulAdd(n, Constant(0.693359375f), x);
  r = hn::NegMulAdd(n, Constant(-2.12194440e-4f), r);
  VecF p = hn::MulAdd(r, Constant(0.00138144639f), Constant(0.008368780382f));
  p = hn::MulAdd(p, r, Constant(0.04166839426f));
  p = hn::MulAdd(p, r, Constant(0.1666652011f));
  p = hn::MulAdd(p, r, Constant(0.4999999341f));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), Constant(1.0f));
  // 2^n as a product of two, each in range, so that only the last multiplication rounds.
  const VecI i = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, shift));
  const VecI half = hn::ShiftRight<1>(i);
  VecF y = hn::Mul(hn::Mul(p, PowerOfTwo(half)), PowerOfTwo(hn::Sub(i, half)));
  y = hn::IfThenElse(hn::Gt(x, Constant(88.722839f)),
                     Constant(std::numeric_limits<float>::infinity()), y);
  return hn::IfThenZeroElse(hn::Lt(x, Constant(lowest)), y);
}

HWY_INLINE VecF Exp(VecF x) { return ExpAbove(-87.33654f, x); }

// e^(-x²/2) from x², 0 beyond ±kNormalEnd.
HWY_INLINE VecF NormalDensity(VecF square) {
  return ExpAbove(-0.5f * kNormalEnd * kNormalEnd, hn::Mul(square, Constant(-0.5f)));
}

// e^x at two thirds of Exp's cost, for what is summed, as in a softmax: e^x = 2^n 2^r with |r| <= 1/2.
HWY_INLINE VecF ExpFlushed(VecF x) {
  const I32 di;
  const VecF log2_e = Constant(1.44269504f);
  // Exp's shift and 127: the rounded n is in the low bits as the exponent of 2^n.
  const VecF shift = Constant(12583039.0f);
  const VecF shifted = hn::MulAdd(x, log2_e, shift);
  const VecF r = hn::MulSub(x, log2_e, hn::Sub(shifted, shift));
  VecF p = hn::MulAdd(r, Constant(0.001326464487f), Constant(0.00967157648f));
  p = hn::MulAdd(p, r, Constant(0.05550734517f));
  p = hn::MulAdd(p, r, Constant(0.2402224111f));
  p = hn::MulAdd(p, r, Constant(0.6931469769f));
  p = hn::MulAdd(p, r, Constant(1.0f));
  // A product, not a sum of exponents, so that any NaN stays one.
  const VecF power = hn::BitCast(F32(), hn::ShiftLeft<23>(hn::BitCast(di, shifted)));
  return hn::IfThenZeroElse(hn::Lt(x, Constant(-87.33f)), hn::Mul(p, power));
}

// log(1 + x) = e ln 2 + log(1 + m), with 1 + m in [3/4, 3/2) found without rounding x away.
HWY_INLINE VecF Log1p(VecF x) {
  const I32 di;
  const VecF one = Constant(1.0f);
  const VecF s = hn::Add(one, x);
  // The exponent of s / 0.75.
  const VecI offset = hn::Sub(hn::BitCast(di, s), hn::Set(di, 0x3F400000));
  const VecI exponent = hn::ShiftRight<23>(offset);
  const VecF e = hn::ConvertTo(F32(), exponent);
  // 2^-e (1 + x) - 1, as 2^-e x + (2^-e - 1). At e = 127 or more, 2^-e is no normal number: halve twice.
  const VecI half = hn::ShiftRight<1>(exponent);
  const VecF a = PowerOfTwo(hn::Neg(half));
  const VecF b = PowerOfTwo(hn::Sub(half, exponent));
  const VecF m = hn::MulAdd(hn::Mul(x, a), b, hn::Sub(hn::Mul(a, b), one));
  const VecF z = hn::Div(m, hn::Add(Constant(2.0f), m));
  const VecF z2 = hn::Mul(z, z);
  VecF p = hn::MulAdd(z2, Constant(0.2409851704f), Constant(0.2850712907f));
  p = hn::MulAdd(p, z2, Constant(0.4000086076f));
  p = hn::MulAdd(p, z2, Constant(0.666666631f));
  // 2 atanh(z) = m - z (m - z2 p): exact to first order in m.
  const VecF log_m = hn::NegMulAdd(z, hn::NegMulAdd(z2, p, m), m);
  VecF y = hn::MulAdd(e, Constant(0.693359375f), hn::MulAdd(e, Constant(-2.12194440e-4f), log_m));
  // Infinity, and NaN, come through; -1 gives -infinity and less than that NaN.
  const VecF infinity = Constant(std::numeric_limits<float>::infinity());
  y = hn::IfThenElse(hn::Lt(x, infinity), y, x);
  y = hn::IfThenElse(hn::Eq(x, Constant(-1.0f)), hn::Neg(infinity), y);
  return hn::IfThenElse(hn::Lt(x, Constant(-1.0f)),
                        Constant(std::numeric_limits<float>::quiet_NaN()), y);
}

// 1 / (1 + e^-x), from e^-|x| so that nothing overflows.
HWY_INLINE VecF Sigmoid(VecF x) {
  const VecF one = Constant(1.0f);
  const VecF u = Exp(hn::Neg(hn::Abs(x)));
  const VecF numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(F32())), u, one);
  return hn::Div(numerator, hn::Add(one, u));
}

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|).
HWY_INLINE VecF Softplus(VecF x) {
  const VecF positive = hn::IfThenElse(hn::Lt(x, hn::Zero(F32())), hn::Zero(F32()), x);
  return hn::Add(positive, Log1p(Exp(hn::Neg(hn::Abs(x)))));
}

// density = e^(-x²/2), and Φ(x) from it: the tail Φ(-|x|) is density · t (1/2 + s Q(s)) with t = 1 / (1 + 0.35 |x|) and
// s = t - 1, which is exact at 0.
HWY_INLINE VecF NormalCdf(VecF x, VecF& density) {
  const VecF one = Constant(1.0f);
  density = NormalDensity(hn::Mul(x, x));
  const VecF t = hn::Div(one, hn::MulAdd(hn::Abs(x), Constant(0.35f), one));
  const VecF s = hn::Sub(t, one);
  VecF p = Constant(-0.02890108081f);
  p = hn::MulAdd(p, s, Constant(-0.08832413756f));
  p = hn::MulAdd(p, s, Constant(-0.06271866503f));
  p = hn::MulAdd(p, s, Constant(0.01712135245f));
  p = hn::MulAdd(p, s, Constant(-0.06371309179f));
  p = hn::MulAdd(p, s, Constant(-0.1025244896f));
  p = hn::MulAdd(p, s, Constant(0.2610605086f));
  p = hn::MulAdd(p, s, Constant(0.6398329176f));
  p = hn::MulAdd(p, s, Constant(0.5f));
  const VecF tail = hn::Mul(density, hn::Mul(t, p));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(F32())), tail, hn::Sub(one, tail));
}

HWY_INLINE VecF NormalCdf(VecF x) {
  VecF density;
  return NormalCdf(x, density);
}

// x Φ(x), 0 where Φ(x) is: at −∞ too.
HWY_INLINE VecF Gelu(VecF x) {
  const VecF cdf = NormalCdf(x);
  return hn::IfThenZeroElse(hn::Eq(cdf, hn::Zero(F32())), hn::Mul(x, cdf));
}

// Gelu's derivative Φ(x) + x φ(x), φ(x) = e^(-x²/2) / √(2π), from Φ(x) and e^(-x²/2); Φ(x) where φ(x) is 0, at ±∞ too.
HWY_INLINE VecF GeluGradient(VecF x, VecF cdf, VecF density) {
  const VecF slope = hn::MulAdd(hn::Mul(x, Constant(0.3989422804f)), density, cdf);
  return hn::IfThenElse(hn::Eq(density, hn::Zero(F32())), cdf, slope);
}

HWY_INLINE VecF GeluGradient(VecF x) {
  VecF density;
  const VecF cdf = NormalCdf(x, density);
  return GeluGradient(x, cdf, density);
}

// Gelu, and its derivative into slope.
HWY_INLINE VecF Gelu(VecF x, VecF& slope) {
  VecF density;
  const VecF cdf = NormalCdf(x, density);
  slope = GeluGradient(x, cdf, density);
  return hn::IfThenZeroElse(hn::Eq(cdf, hn::Zero(F32())), hn::Mul(x, cdf));
}

// GELU's second derivative (2 - x²) φ(x), 0 where φ(x) is.
HWY_INLINE VecF GeluCurvature(VecF x) {
  const VecF square = hn::Mul(x, x);
  const VecF density = NormalDensity(square);
  const VecF curvature =
      hn::Mul(hn::Sub(Constant(2.0f), square), hn::Mul(Constant(0.3989422804f), density));
  return hn::IfThenZeroElse(hn::Eq(density, hn::Zero(F32())), curvature);
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
