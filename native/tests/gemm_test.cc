#include "testing.h"

using nl_testing::Buffer;

namespace {

struct Case {
  int64_t m, n, k;
  bool transpose_a = false, transpose_b = false, accumulate = false, bias = false, residual = false;
  bool in_place = false;  // the residual is C itself
  int epilogue = NL_EPILOGUE_NONE;
  bool keep = false;  // the pre-activation
};

double Phi(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

double GeluSlope(double x) {
  return Phi(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
}

class Gemm : public nl_testing::KernelTest {
 protected:
  void Check(const Case& x) {
    const Buffer a = Buffer::Uniform(x.m * x.k, 1, -1, 1, 1);
    const Buffer b = Buffer::Uniform(x.k * x.n, 2, -1, 1, 2);
    const Buffer bias = Buffer::Uniform(x.n, 3, -1, 1, 3);
    const Buffer residual = Buffer::Uniform(x.m * x.n, 4, -1, 1, 1);
    Buffer c =
        x.accumulate || x.in_place ? Buffer::Uniform(x.m * x.n, 5, -1, 1, 1) : Buffer(x.m * x.n, 1);
    const Buffer before = c;
    Buffer pre = x.epilogue == NL_EPILOGUE_GELU_GRADIENT ? Buffer::Uniform(x.m * x.n, 6, -3, 3, 2)
                                                         : Buffer(x.m * x.n, 2);
    nl_gemm_arguments g = {};
    g.size = sizeof(g);
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
    int64_t pieces = -1, floats = -1;
    ASSERT_EQ(NL_OK, nl_gemm_plan(&g, &pieces, &floats)) << nl_last_error();
    Buffer workspace(floats, 1);
    // Backwards, as any order must do.
    for (int64_t piece = pieces; piece-- > 0;) {
      ASSERT_EQ(NL_OK, nl_gemm(&g, piece, piece + 1, workspace.data())) << nl_last_error();
    }
    const std::string where = "m " + std::to_string(x.m) + " n " + std::to_string(x.n) + " k " +
                              std::to_string(x.k) + " A" + (x.transpose_a ? "t" : "") + " B" +
                              (x.transpose_b ? "t" : "") + " epilogue " +
                              std::to_string(x.epilogue);
    for (int64_t i = 0; i < x.m && !HasFailure(); ++i) {
      for (int64_t j = 0; j < x.n && !HasFailure(); ++j) {
        double z = 0, magnitude = 0;
        for (int64_t p = 0; p < x.k; ++p) {
          const double term = static_cast<double>(x.transpose_a ? a[p * x.m + i] : a[i * x.k + p]) *
                              (x.transpose_b ? b[j * x.k + p] : b[p * x.n + j]);
          z += term;
          magnitude += std::abs(term);
        }
        if (x.bias) z += bias[j];
        const int64_t at = i * x.n + j;
        // The epilogues' slopes are below 1.13; their own error is relative to what they are given.
        const double tolerance = 1.2 * nl_testing::SumTolerance(x.k + 3, magnitude + 3);
        if (x.epilogue == NL_EPILOGUE_GELU) {
          if (x.keep) nl_testing::ExpectNear(z, pre[at], tolerance, where + " z");
          z *= Phi(z);
        } else if (x.epilogue == NL_EPILOGUE_GELU_GRADIENT) {
          z *= GeluSlope(pre[at]);
        }
        if (x.residual) z += residual[at];
        if (x.accumulate || x.in_place) z += before[at];
        nl_testing::ExpectNear(z, c[at], tolerance + 4e-7 * std::abs(z), where);
      }
    }
    c.ExpectGuardsUntouched();
    pre.ExpectGuardsUntouched();
    workspace.ExpectGuardsUntouched();
  }
};

TEST_P(Gemm, AnySize_MatchesTheReference) {
  for (int64_t m : {1, 2, 3, 8, 9, 13, 48, 49}) {
    for (int64_t n : {1, 5, 16, 17, 33, 64, 65, 129}) {
      for (int64_t k : {1, 7, 16, 33}) {
        for (int transposes = 0; transposes < 4; ++transposes) {
          Case x = {m, n, k};
          x.transpose_a = (transposes & 1) != 0;
          x.transpose_b = (transposes & 2) != 0;
          x.accumulate = (m + n + k) % 2 == 0;
          Check(x);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(Gemm, ManyBlocks_MatchTheReference) {
  for (int transposes = 0; transposes < 4; ++transposes) {
    for (bool bias : {false, true}) {
      Case x = {50, 523, 530};  // more than one block each way, and B copied panel by panel
      x.transpose_a = (transposes & 1) != 0;
      x.transpose_b = (transposes & 2) != 0;
      x.bias = bias;
      x.accumulate = transposes % 2 == 1;
      Check(x);
      x.m = 2;  // flat tiles, or dots
      Check(x);
    }
  }
}

TEST_P(Gemm, Epilogues_MatchTheReference) {
  for (int transposes = 0; transposes < 4; ++transposes) {
    for (int epilogue = NL_EPILOGUE_NONE; epilogue <= NL_EPILOGUE_GELU_GRADIENT; ++epilogue) {
      for (int bits = 0; bits < 16; ++bits) {
        Case x = {19, 70, 300};
        x.transpose_a = (transposes & 1) != 0;
        x.transpose_b = (transposes & 2) != 0;
        x.epilogue = epilogue;
        x.bias = (bits & 1) != 0;
        x.residual = (bits & 2) != 0;
        x.accumulate = (bits & 4) != 0 && !x.residual;
        x.keep = (bits & 8) != 0;
        Check(x);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(Gemm, Residual_MayBeTheOutput) {
  for (int64_t k : {5, 300}) {
    Case x = {60, 70, k};
    x.in_place = true;
    x.bias = true;
    Check(x);
    x.bias = false;
    Check(x);
  }
}

TEST_P(Gemm, EmptySum_GivesTheBias) {
  Case x = {5, 20, 0};
  x.bias = true;
  Check(x);
  x.bias = false;
  Check(x);
  x.accumulate = true;
  Check(x);
}

TEST_P(Gemm, Nan_ReachesItsRowAndNoOther) {
  Buffer a = Buffer::Uniform(3 * 4, 1), b = Buffer::Uniform(4 * 5, 2), c(3 * 5);
  a[1 * 4 + 2] = std::numeric_limits<float>::quiet_NaN();
  nl_gemm_arguments g = {};
  g.size = sizeof(g);
  g.m = 3;
  g.n = 5;
  g.k = 4;
  g.a = a.data();
  g.b = b.data();
  g.c = c.data();
  int64_t pieces, floats;
  EXPECT_OK(nl_gemm_plan(&g, &pieces, &floats));
  Buffer workspace(floats);
  EXPECT_OK(nl_gemm(&g, 0, pieces, workspace.data()));
  for (int64_t i = 0; i < 15; ++i) EXPECT_EQ(i / 5 == 1, std::isnan(c[i])) << i;
}

TEST_P(Gemm, BadArguments_AreRefused) {
  nl_gemm_arguments g = {};
  g.size = sizeof(g);
  g.m = -1;
  int64_t pieces, floats;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_gemm_plan(&g, &pieces, &floats));
  EXPECT_STREQ("m is -1, expected at least 0", nl_last_error());
  g.m = g.n = g.k = 4;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_gemm_plan(&g, &pieces, &floats));
  EXPECT_STREQ("a is null", nl_last_error());
  g.epilogue = 7;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_gemm_plan(&g, &pieces, &floats));
  EXPECT_STREQ("epilogue is 7, expected 0 to 2", nl_last_error());
}

NL_TEST_TARGETS(Gemm);

}  // namespace
