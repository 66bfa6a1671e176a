#include "tests/gemm/gemm_testing.h"

using nl_testing::Buffer;
using nl_testing::GemmCase;
using nl_testing::GemmTensors;

namespace {

// Whether the target in use multiplies pairs of bfloat16: AVX3 on a processor with AVX-512 BF16.
bool MultipliesBFloat16() {
#if defined(__x86_64__) && defined(__GNUC__)
  int32_t target = 0;
  EXPECT_EQ(NL_OK, nl_target_current(&target)) << nl_last_error();
  return std::string(nl_target_name(target)) == "AVX3" && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

class Gemm : public nl_testing::KernelTest {
 protected:
  void Check(const GemmCase& x) {
    GemmTensors t(x);
    nl_testing::RunGemm(t.g);
    const auto error = nl_testing::LargestGemmError(
        x, t, [&](double terms, double) { return nl_testing::SumTolerance(x.k + 3, terms + 3); });
    EXPECT_TRUE(error.IsAllowed()) << x.Name() << ": " << error;
    t.c.ExpectGuardsUntouched();
    t.pre.ExpectGuardsUntouched();
  }

  // On operands made here; of a symmetric product both are the same.
  void ExpectOwnCopiesAreRight(nl_gemm_arguments g) {
    const Buffer a = Buffer::Uniform(g.m * g.k, 1), b = Buffer::Uniform(g.k * g.n, 2);
    const Buffer before = Buffer::Uniform(g.m * g.n, 3);
    Buffer shared = before;
    g.a = a.data();
    g.b = g.symmetric ? a.data() : b.data();
    g.c = shared.data();
    nl_testing::RunGemm(g);
    nl_gemm_sizes sizes = {};
    sizes.size = sizeof(sizes);
    ASSERT_EQ(NL_OK, nl_gemm_plan(&g, &sizes)) << nl_last_error();
    for (int64_t calls : {int64_t{1}, int64_t{3}, sizes.pieces}) {
      Buffer own = before, workspace(sizes.workspace, 1);
      g.c = own.data();
      for (int64_t pass = 0; pass < sizes.passes; ++pass) {
        for (int64_t call = calls; call-- > 0;) {
          ASSERT_EQ(NL_OK, nl_gemm(&g, pass, sizes.pieces * call / calls,
                                   sizes.pieces * (call + 1) / calls, nullptr, workspace.data()))
              << nl_last_error();
        }
      }
      workspace.ExpectGuardsUntouched();
      own.ExpectGuardsUntouched();
      ASSERT_EQ(0, std::memcmp(shared.data(), own.data(), g.m * g.n * sizeof(float)))
          << g.m << " x " << g.n << " x " << g.k << " in " << calls << " calls, precision "
          << g.precision << ", symmetric " << g.symmetric << ", epilogue " << g.epilogue;
    }
  }
};

TEST_P(Gemm, AnySize_MatchesTheReference) {
  for (int64_t m : {1, 2, 3, 8, 9, 13, 48, 49}) {
    for (int64_t n : {1, 5, 16, 17, 33, 64, 65, 129}) {
      for (int64_t k : {1, 7, 16, 33}) {
        for (int transposes = 0; transposes < 4; ++transposes) {
          GemmCase x = {m, n, k};
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
      GemmCase x = {50, 523, 530};  // more than one block each way, and B copied panel by panel
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
        if ((bits & 6) == 6) continue;  // one of them takes what is there
        // Operands where they lie; and packed, which takes its time, with one pair of transposes each.
        for (const GemmCase& size : {GemmCase{19, 70, 300}, GemmCase{50, 150, 561}}) {
          if (size.m > 20 && transposes != ((bits + epilogue) % 2 != 0 ? 3 : 0)) continue;
          GemmCase x = size;
          x.transpose_a = (transposes & 1) != 0;
          x.transpose_b = (transposes & 2) != 0;
          x.epilogue = epilogue;
          x.bias = (bits & 1) != 0;
          x.residual = (bits & 2) != 0;
          x.accumulate = (bits & 4) != 0;
          x.keep = (bits & 8) != 0;
          Check(x);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_P(Gemm, Residual_MayBeTheOutput) {
  for (const GemmCase& size :
       {GemmCase{60, 70, 5}, GemmCase{60, 70, 300}, GemmCase{60, 140, 600}}) {
    for (int epilogue : {NL_EPILOGUE_NONE, NL_EPILOGUE_GELU}) {
      for (float scale : {1.0f, -2.5f}) {
        for (bool bias : {false, true}) {
          GemmCase x = size;
          x.in_place = true;
          x.epilogue = epilogue;
          x.residual_scale = scale;
          x.bias = bias;
          Check(x);
        }
      }
    }
  }
}

TEST_P(Gemm, ScaledResidual_MatchesTheReference) {
  for (const GemmCase& size : {GemmCase{7, 20, 30}, GemmCase{60, 140, 600}}) {
    GemmCase x = size;
    x.residual = true;
    x.residual_scale = 3.5f;
    Check(x);
  }
}

TEST_P(Gemm, ManyPasses_MatchTheReference) {
  GemmCase x = {49, 2001, 2100};
  x.transpose_b = true;
  x.bias = true;
  x.residual = true;
  Check(x);
}

TEST_P(Gemm, VectorsAndFewRows_MatchTheReference) {
  for (const GemmCase& size :
       {GemmCase{530, 1, 77}, GemmCase{1, 1, 300}, GemmCase{1, 700, 301}, GemmCase{8, 700, 301},
        GemmCase{16, 700, 301}, GemmCase{17, 700, 301}}) {
    for (int bits = 0; bits < 16; ++bits) {
      GemmCase x = size;
      x.transpose_a = (bits & 1) != 0;
      x.transpose_b = (bits & 2) != 0;
      x.accumulate = (bits & 4) != 0;
      x.bias = (bits & 8) != 0;
      Check(x);
    }
  }
}

TEST_P(Gemm, BFloat16_RoundsTheOperands) {
  for (const GemmCase& size : {GemmCase{1, 1, 1}, GemmCase{3, 5, 7}, GemmCase{13, 33, 300},
                               GemmCase{70, 150, 530}, GemmCase{25, 65, 1027}}) {
    for (int transposes = 0; transposes < 4; ++transposes) {
      GemmCase x = size;
      x.transpose_a = (transposes & 1) != 0;
      x.transpose_b = (transposes & 2) != 0;
      x.precision = NL_PRECISION_BFLOAT16;
      x.bias = true;
      x.epilogue = NL_EPILOGUE_GELU;
      Check(x);
    }
  }
}

TEST_P(Gemm, BFloat16_ManyPasses_MatchTheReference) {
  GemmCase x = {2, 8001, 1101};
  x.precision = NL_PRECISION_BFLOAT16;
  x.residual = true;
  Check(x);
}

// Pairs of them in a float's place; copies of float32 elsewhere.
TEST_P(Gemm, BFloat16_IsMultipliedInPairsWhereTheProcessorCan) {
  nl_gemm_arguments g = {};
  g.size = sizeof(g);
  g.m = g.n = g.k = 192;
  const Buffer operands = Buffer::Uniform(g.m * g.k, 1);
  Buffer c(g.m * g.n);
  g.a = g.b = operands.data();
  g.c = c.data();
  int64_t packed[2];
  for (int32_t precision : {NL_PRECISION_FLOAT32, NL_PRECISION_BFLOAT16}) {
    g.precision = precision;
    nl_gemm_sizes sizes = {};
    sizes.size = sizeof(sizes);
    ASSERT_EQ(NL_OK, nl_gemm_plan(&g, &sizes)) << nl_last_error();
    packed[precision] = sizes.packed;
  }
  EXPECT_EQ(packed[0], packed[1] * (MultipliesBFloat16() ? 2 : 1));
}

TEST_P(Gemm, BFloat16_RoundsToNearestEvenAndKeepsWhatIsNotFinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // Ties to even, both ways; what overflows; what is left alone; and what counts as zero, being subnormal.
  const float from[] = {1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1.8p-8f, -0x1.ffp127f, infinity, 0x1p-133f};
  const float to[] = {1, 1 + 0x1p-6f, 1 + 0x1p-7f, -infinity, infinity, 0};
  Buffer a(7), b(1), c(7);
  for (int i = 0; i < 6; ++i) a[i] = from[i];
  a[6] = nan;
  b[0] = 1;
  nl_gemm_arguments g = {};
  g.size = sizeof(g);
  g.precision = NL_PRECISION_BFLOAT16;
  g.m = 7;
  g.n = g.k = 1;
  g.a = a.data();
  g.b = b.data();
  g.c = c.data();
  nl_testing::RunGemm(g);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(to[i], c[i]) << i;
  EXPECT_TRUE(std::isnan(c[6]));
}

TEST_P(Gemm, SymmetricProduct_IsMirrored) {
  for (int64_t n : {1, 5, 97, 200, 450}) {
    for (bool transpose_a : {false, true}) {
      const int64_t k = 70;
      const Buffer a = Buffer::Uniform(n * k, 1);
      Buffer residual = Buffer::Uniform(n * n, 2);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < i; ++j) residual[j * n + i] = residual[i * n + j];
      }
      Buffer whole(n * n), half(n * n);
      nl_gemm_arguments g = {};
      g.size = sizeof(g);
      g.transpose_a = transpose_a;
      g.transpose_b = !transpose_a;
      g.m = g.n = n;
      g.k = k;
      g.a = g.b = a.data();
      g.residual = residual.data();
      g.residual_scale = 0.5f;
      g.c = whole.data();
      nl_testing::RunGemm(g);
      g.symmetric = 1;
      g.c = half.data();
      nl_testing::RunGemm(g);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < n; ++j) {
          ASSERT_EQ(half[i * n + j], half[j * n + i]) << n << ": " << i << ", " << j;
          nl_testing::ExpectNear(whole[i * n + j], half[i * n + j],
                                 2 * nl_testing::SumTolerance(k + 1, k), "an element");
        }
      }
      half.ExpectGuardsUntouched();
    }
  }
}

// Calls that copy operands for themselves, however the pieces are shared out among them, do what shared copies do.
TEST_P(Gemm, OwnCopies_GiveTheBitsOfSharedOnes) {
  // Several blocks of k; and more columns, or rows, than a call keeps copies of.
  for (const GemmCase& size : {GemmCase{13, 33, 300}, GemmCase{50, 150, 1100},
                               GemmCase{48, 2100, 42}, GemmCase{2100, 128, 33}}) {
    for (int bits = 0; bits < 8; ++bits) {
      nl_gemm_arguments g = {};
      g.size = sizeof(g);
      g.transpose_a = bits & 1;
      g.transpose_b = (bits & 2) != 0;
      g.precision = (bits & 4) != 0 ? NL_PRECISION_BFLOAT16 : NL_PRECISION_FLOAT32;
      // Sums wait in the workspace where GELU of them is added to C.
      g.accumulate = bits % 3 == 0;
      g.epilogue = bits % 2 == 0 ? NL_EPILOGUE_GELU : NL_EPILOGUE_NONE;
      g.m = size.m;
      g.n = size.n;
      g.k = size.k;
      ExpectOwnCopiesAreRight(g);
      if (HasFailure()) return;
    }
  }
  for (int64_t n : {5, 200, 450}) {
    for (int transposed = 0; transposed < 2; ++transposed) {
      nl_gemm_arguments g = {};
      g.size = sizeof(g);
      g.symmetric = 1;
      g.transpose_a = transposed;
      g.transpose_b = !transposed;
      g.m = g.n = n;
      g.k = 90;
      ExpectOwnCopiesAreRight(g);
    }
  }
}

TEST_P(Gemm, EmptySum_GivesTheBias) {
  GemmCase x = {5, 20, 0};
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
  nl_testing::RunGemm(g);
  for (int64_t i = 0; i < 15; ++i) EXPECT_EQ(i / 5 == 1, std::isnan(c[i])) << i;
}

TEST_P(Gemm, Batches_GiveWhatTheirProductsDo) {
  constexpr int64_t kBatch = 3;
  for (const GemmCase& x : {GemmCase{1, 1, 1}, GemmCase{5, 7, 3}, GemmCase{25, 33, 40},
                            GemmCase{64, 64, 64}, GemmCase{13, 65, 300}, GemmCase{4, 5, 0}}) {
    for (int bits = 0; bits < 8; ++bits) {
      const Buffer a = Buffer::Uniform(kBatch * x.m * x.k, 1, -1, 1, 1);
      const Buffer b = Buffer::Uniform(kBatch * x.k * x.n, 2, -1, 1, 2);
      const Buffer before = Buffer::Uniform(kBatch * x.m * x.n, 3);
      Buffer c(kBatch * x.m * x.n, 3), single(x.m * x.n);
      nl_gemm_arguments g = {};
      g.size = sizeof(g);
      g.transpose_a = bits & 1;
      g.transpose_b = bits & 2;
      g.accumulate = bits & 4;
      g.m = x.m;
      g.n = x.n;
      g.k = x.k;
      g.a = a.data();
      g.b = b.data();
      g.c = c.data();
      if (g.accumulate) c = before;
      EXPECT_OK(nl_batched_gemm(&g, kBatch, 2, kBatch));
      EXPECT_OK(nl_batched_gemm(&g, kBatch, 0, 2));
      for (int64_t i = 0; i < kBatch; ++i) {
        g.a = a.data() + i * x.m * x.k;
        g.b = b.data() + i * x.k * x.n;
        g.c = single.data();
        if (g.accumulate)
          std::memcpy(g.c, before.data() + i * x.m * x.n, x.m * x.n * sizeof(float));
        nl_testing::RunGemm(g);
        for (int64_t e = 0; e < x.m * x.n; ++e) {
          nl_testing::ExpectNear(single[e], c[i * x.m * x.n + e],
                                 2 * nl_testing::SumTolerance(x.k + 1, x.k + 1), "an element");
        }
      }
      c.ExpectGuardsUntouched();
    }
  }
}

TEST_P(Gemm, BadArguments_AreRefused) {
  nl_gemm_arguments g = {};
  nl_gemm_sizes sizes = {};
  g.size = sizeof(g);
  sizes.size = sizeof(sizes);
  const auto refused = [&](const char* message) {
    EXPECT_EQ(NL_INVALID_ARGUMENT, nl_gemm_plan(&g, &sizes));
    EXPECT_STREQ(message, nl_last_error());
  };
  g.m = -1;
  refused("m is -1, expected at least 0");
  g.m = g.n = g.k = 4;
  refused("a is null");
  g.epilogue = 7;
  refused("epilogue is 7, expected 0 to 3");
  g.epilogue = 0;
  g.precision = 2;
  refused("precision is 2, expected 0 or 1");
  g.precision = 0;
  g.symmetric = 1;
  g.n = 5;
  refused("n is 5, expected m, as the product is symmetric");
  Buffer x(25);
  g.n = 4;
  g.a = g.b = x.data();
  g.c = x.data();
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_batched_gemm(&g, 1, 0, 1));
  EXPECT_STREQ(
      "a bias, epilogue, residual, precision or symmetry is given, expected none in a batch",
      nl_last_error());
  g.symmetric = 0;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_batched_gemm(&g, 1, 0, 2));
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_gemm(&g, 1, 0, 1, nullptr, nullptr));
  EXPECT_STREQ("pass is 1, expected one of the plan's", nl_last_error());
}

NL_TEST_TARGETS(Gemm);

}  // namespace
