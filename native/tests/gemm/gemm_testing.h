// Cases of products: their tensors, calls, and a plain double-precision product that judges them.
#ifndef NESTED_LEARNING_TESTS_GEMM_GEMM_TESTING_H_
#define NESTED_LEARNING_TESTS_GEMM_GEMM_TESTING_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <ostream>
#include <string>

#include "tests/testing.h"

namespace nl_testing {

struct GemmCase {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false, accumulate = false, bias = false, residual = false;
  bool in_place = false;  // the residual is C itself
  int epilogue = NL_EPILOGUE_NONE;
  bool keep = false;  // the pre-activation
  float residual_scale = 1;
  int precision = NL_PRECISION_FLOAT32;

  std::string Name() const {
    return "m " + std::to_string(m) + " n " + std::to_string(n) + " k " + std::to_string(k) + " A" +
           (transpose_a ? "t" : "") + " B" + (transpose_b ? "t" : "") + " epilogue " +
           std::to_string(epilogue) + (accumulate ? " added" : "") +
           (precision == NL_PRECISION_BFLOAT16 ? " bfloat16" : "");
  }
};

// To the nearest number with eight significant bits, ties to even; subnormal numbers count as zeros.
inline float RoundToBFloat16(float x) {
  if (std::abs(x) < std::numeric_limits<float>::min()) return std::copysign(0.0f, x);
  int exponent = 0;
  const float fraction = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, 8)), exponent - 8);
}

inline Buffer RoundedToBFloat16(const Buffer& x) {
  Buffer rounded = x;
  for (int64_t i = 0; i < x.count(); ++i) rounded[i] = RoundToBFloat16(x[i]);
  return rounded;
}

inline double NormalDistribution(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

inline double GeluSlope(double x) {
  return NormalDistribution(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
}

// The operands of a product and what holds them.
struct GemmTensors {
  explicit GemmTensors(const GemmCase& x)
      : a(Buffer::Uniform(x.m * x.k, 1, -1, 1, 1)),
        b(Buffer::Uniform(x.k * x.n, 2, -1, 1, 2)),
        bias(Buffer::Uniform(x.n, 3, -1, 1, 3)),
        residual(Buffer::Uniform(x.m * x.n, 4, -1, 1, 1)),
        c(x.accumulate || x.in_place ? Buffer::Uniform(x.m * x.n, 5, -1, 1, 1)
                                     : Buffer(x.m * x.n, 1)),
        before(c),
        pre(x.epilogue == NL_EPILOGUE_GELU_GRADIENT ? Buffer::Uniform(x.m * x.n, 6, -3, 3, 2)
                                                    : Buffer(x.m * x.n, 2)) {
    g.size = sizeof(g);
    g.precision = x.precision;
    g.transpose_a = x.transpose_a;
    g.transpose_b = x.transpose_b;
    g.epilogue = x.epilogue;
    g.accumulate = x.accumulate;
    g.m = x.m;
    g.n = x.n;
    g.k = x.k;
    g.a = a.data();
    g.b = b.data();
    g.c = c.data();
    g.bias = x.bias ? bias.data() : nullptr;
    g.residual = x.in_place ? c.data() : x.residual ? residual.data() : nullptr;
    g.pre_activation = x.keep || x.epilogue == NL_EPILOGUE_GELU_GRADIENT ? pre.data() : nullptr;
    g.residual_scale = x.residual_scale;
  }

  Buffer a, b, bias, residual, c, before, pre;
  nl_gemm_arguments g = {};
};

// The element whose error is the largest share of what is allowed; above 1, or NaN, the product is wrong.
struct GemmError {
  double share = 0, expected = 0, allowed = 0;
  float actual = 0;
  int64_t row = 0, column = 0;

  bool IsAllowed() const { return share <= 1; }
};

inline std::ostream& operator<<(std::ostream& out, const GemmError& error) {
  return out << "row " << error.row << " column " << error.column << " is " << error.actual
             << ", expected " << error.expected << " within " << error.allowed;
}

// allowed(terms, added): the error that the sum of products may have before its epilogue, from the absolute values of its
// terms and of what is added to them.
template <class TAllowed>
GemmError LargestGemmError(const GemmCase& x, const GemmTensors& t, TAllowed allowed) {
  const bool rounds = x.precision == NL_PRECISION_BFLOAT16;
  const Buffer a = rounds ? RoundedToBFloat16(t.a) : t.a, b = rounds ? RoundedToBFloat16(t.b) : t.b;
  GemmError worst;
  for (int64_t i = 0; i < x.m; ++i) {
    for (int64_t j = 0; j < x.n; ++j) {
      const int64_t at = i * x.n + j;
      const auto see = [&](double expected, float actual, double tolerance) {
        const double share = expected == actual ? 0 : std::abs(expected - actual) / tolerance;
        // Written so that a NaN is the worst.
        if (!(share <= worst.share)) worst = {share, expected, tolerance, actual, i, j};
      };
      double z = 0, terms = 0, added = x.accumulate || x.in_place ? std::abs(t.before[at]) : 0;
      for (int64_t k = 0; k < x.k; ++k) {
        const double term = static_cast<double>(x.transpose_a ? a[k * x.m + i] : a[i * x.k + k]) *
                            (x.transpose_b ? b[j * x.k + k] : b[k * x.n + j]);
        z += term;
        terms += std::abs(term);
      }
      if (x.bias) {
        z += t.bias[j];
        added += std::abs(t.bias[j]);
      }
      // GELU's slopes are below 1.13, and its own error is relative to what it is given.
      const double tolerance = 1.2 * allowed(terms, added);
      if (x.epilogue == NL_EPILOGUE_GELU) {
        if (x.keep) see(z, t.pre[at], tolerance);
        z *= NormalDistribution(z);
      } else if (x.epilogue == NL_EPILOGUE_GELU_GRADIENT) {
        z *= GeluSlope(t.pre[at]);
      }
      if (x.residual) z += x.residual_scale * t.residual[at];
      if (x.accumulate) z += t.before[at];
      if (x.in_place) z += x.residual_scale * t.before[at];
      see(z, t.c[at], tolerance + 4e-7 * std::abs(z));
      if (std::isnan(worst.share)) return worst;
    }
  }
  return worst;
}

// All of a product, piece by piece.
inline void RunGemm(const nl_gemm_arguments& g) {
  nl_gemm_sizes sizes = {};
  sizes.size = sizeof(sizes);
  ASSERT_EQ(NL_OK, nl_gemm_plan(&g, &sizes)) << nl_last_error();
  Buffer packed(sizes.packed, 1), workspace(sizes.workspace, 1);
  // Backwards, as any order must do.
  for (int64_t pass = 0; pass < sizes.passes; ++pass) {
    for (int64_t piece = sizes.pack_pieces; piece-- > 0;) {
      ASSERT_EQ(NL_OK, nl_gemm_pack(&g, pass, piece, piece + 1, packed.data())) << nl_last_error();
    }
    for (int64_t piece = sizes.pieces; piece-- > 0;) {
      ASSERT_EQ(NL_OK, nl_gemm(&g, pass, piece, piece + 1, packed.data(), workspace.data()))
          << nl_last_error();
    }
  }
  packed.ExpectGuardsUntouched();
  workspace.ExpectGuardsUntouched();
}

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_GEMM_GEMM_TESTING_H_
