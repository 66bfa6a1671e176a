// Products by AMX tiles. Where a processor has them they are tested themselves; everywhere the same kernel over a model of the
// instructions, on every target, which packs the operands.
#include <functional>
#include <thread>

#include "kernels/gemm/amx.h"
#include "kernels/gemm/amx_support.h"
#include "tests/gemm/gemm_testing.h"
#include "tests/gemm/amx/tile_model.h"

using nl_testing::Buffer;
using nl_testing::GemmCase;
using nl_testing::GemmError;
using nl_testing::GemmTensors;
using nl_testing::RoundedToBFloat16;
using nl_testing::TileModel;

namespace {

// What rounding may do to a sum of k products in the kernel's order, beside what C held: of 32 along k those at even places are
// a chain of 16 multiply-adds, whose first is exact, those at odd places another; adding both is one rounding more, and
// adding that to the sums one for each 32. So none of the terms, and not what C held, goes through more than 16 + ⌈k / 32⌉
// roundings of at most 2^-24 each, and (1 + u)^n - 1 <= n u / (1 - n u).
double AmxTolerance(int64_t k, double magnitude) {
  const double roundings = (16 + static_cast<double>((k + 31) / 32)) * 0x1p-24;
  // Results below the least normal number are zeros.
  return roundings / (1 - roundings) * magnitude + static_cast<double>(k + 1) * 0x1p-126;
}

GemmError ErrorOf(const GemmCase& x, const GemmTensors& t) {
  return nl_testing::LargestGemmError(x, t, [&](double terms, double added) {
    // A bias and what the epilogue adds are a rounding each.
    const double magnitude = terms + added;
    return AmxTolerance(x.k, magnitude) + 4 * 0x1p-24 * (magnitude + 3);
  });
}

GemmCase BFloat16Case(int64_t m, int64_t n, int64_t k) {
  GemmCase x = {m, n, k};
  x.precision = NL_PRECISION_BFLOAT16;
  return x;
}

void Check(const GemmCase& x) {
  GemmTensors t(x);
  nl_testing::RunGemm(t.g);
  const GemmError error = ErrorOf(x, t);
  EXPECT_TRUE(error.IsAllowed()) << x.Name() << ": " << error;
  t.c.ExpectGuardsUntouched();
  t.pre.ExpectGuardsUntouched();
}

void CheckSizes() {
  for (int64_t m : {1, 16, 17, 31, 32, 33, 65}) {
    for (int64_t n : {1, 15, 16, 32, 33, 64}) {
      for (int64_t k : {1, 2, 31, 32, 33, 65}) {
        GemmCase x = BFloat16Case(m, n, k);
        const int64_t bits = m + n + k;
        x.transpose_a = (bits & 1) != 0;
        x.transpose_b = (bits & 2) != 0;
        x.accumulate = (bits & 4) != 0;
        Check(x);
      }
    }
  }
  for (int transposes = 0; transposes < 4; ++transposes) {
    GemmCase x = BFloat16Case(70, 39, 47);
    x.transpose_a = (transposes & 1) != 0;
    x.transpose_b = (transposes & 2) != 0;
    Check(x);
    x.accumulate = true;
    Check(x);
  }
}

// More than one block each way and along k, and more than one piece.
void CheckBlocks() {
  for (int transposes = 0; transposes < 4; ++transposes) {
    GemmCase x = BFloat16Case(97, 131, 1027);
    x.transpose_a = (transposes & 1) != 0;
    x.transpose_b = (transposes & 2) != 0;
    x.accumulate = transposes % 2 == 1;
    x.bias = transposes > 1;
    Check(x);
  }
}

void CheckEpilogues() {
  for (int epilogue = NL_EPILOGUE_NONE; epilogue <= NL_EPILOGUE_GELU_GRADIENT; ++epilogue) {
    for (int bits = 0; bits < 16; ++bits) {
      if ((bits & 6) == 6) continue;  // one of them takes what is there
      GemmCase x = BFloat16Case(35, 50, 40);
      x.epilogue = epilogue;
      x.bias = (bits & 1) != 0;
      x.residual = (bits & 2) != 0;
      x.accumulate = (bits & 4) != 0;
      x.keep = (bits & 8) != 0;
      Check(x);
    }
  }
  for (int epilogue : {NL_EPILOGUE_NONE, NL_EPILOGUE_GELU}) {
    for (float scale : {1.0f, -2.5f}) {
      GemmCase x = BFloat16Case(33, 34, 530);
      x.in_place = true;
      x.epilogue = epilogue;
      x.residual_scale = scale;
      Check(x);
    }
  }
}

void CheckSpecialValues() {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // Ties to even, both ways; what overflows; and a subnormal, which counts as zero.
  const float from[] = {1 + 0x1p-8f, 1 + 0x3p-8f, 1 + 0x1.8p-8f, -0x1.ffp127f, infinity, 0x1p-133f};
  const float to[] = {1, 1 + 0x1p-6f, 1 + 0x1p-7f, -infinity, infinity, 0};
  GemmCase x = BFloat16Case(40, 33, 1);
  GemmTensors p(x);
  std::fill_n(p.a.data(), 40, 1.0f);
  std::fill_n(p.b.data(), 33, 1.0f);
  for (int i = 0; i < 6; ++i) p.a[i] = from[i];
  p.a[6] = nan;
  nl_testing::RunGemm(p.g);
  for (int i = 0; i < 40; ++i) {
    for (int j = 0; j < 33; ++j) {
      if (i == 6) {
        EXPECT_TRUE(std::isnan(p.c[i * 33 + j])) << j;
      } else {
        EXPECT_EQ(i < 6 ? to[i] : 1, p.c[i * 33 + j]) << i << ", " << j;
      }
    }
  }
  // Nothing of the zeros that fill tiles up meets an infinity of another row, column or step.
  GemmCase y = BFloat16Case(3, 5, 3);
  GemmTensors q(y);
  q.a[1 * 3 + 2] = infinity;
  q.b[0 * 5 + 4] = -infinity;
  nl_testing::RunGemm(q.g);
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 5; ++j) EXPECT_EQ(i != 1 && j != 4, std::isfinite(q.c[i * 5 + j]));
  }
  // Results that are subnormal, and what C held of that kind, are zeros.
  GemmCase z = BFloat16Case(1, 1, 1);
  z.accumulate = true;
  GemmTensors r(z);
  r.a[0] = 0x1p-70f;
  r.b[0] = 0x1p-70f;
  r.c[0] = 0x1p-130f;
  nl_testing::RunGemm(r.g);
  EXPECT_EQ(0, r.c[0]);
}

void CheckSymmetric() {
  for (int64_t n : {1, 33, 200}) {
    constexpr int64_t kDepth = 70;
    const Buffer a = Buffer::Uniform(n * kDepth, 1);
    Buffer whole(n * n), half(n * n);
    nl_gemm_arguments g = {};
    g.size = sizeof(g);
    g.precision = NL_PRECISION_BFLOAT16;
    g.transpose_b = 1;
    g.m = g.n = n;
    g.k = kDepth;
    g.a = g.b = a.data();
    g.c = whole.data();
    nl_testing::RunGemm(g);
    g.symmetric = 1;
    g.c = half.data();
    nl_testing::RunGemm(g);
    for (int64_t i = 0; i < n * n; ++i) ASSERT_EQ(whole[i], half[i]) << n << ": " << i;
    half.ExpectGuardsUntouched();
  }
}

// ---- The model, on every target ----

class Amx : public nl_testing::KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    nested_learning::UseAmxTiles(&nl_testing::ModelTiles(), true);
  }
  void TearDown() override {
    nested_learning::UseAmxTiles(nullptr, false);
    // Nothing stays configured in a thread after a call.
    EXPECT_FALSE(TileModel::OfThisThread().configured());
  }
};

TEST_P(Amx, AnySize_MatchesTheReference) { CheckSizes(); }

TEST_P(Amx, ManyBlocks_MatchTheReference) { CheckBlocks(); }

TEST_P(Amx, Epilogues_MatchTheReference) { CheckEpilogues(); }

TEST_P(Amx, Rounding_IsToNearestEvenAndKeepsWhatIsNotFinite) { CheckSpecialValues(); }

TEST_P(Amx, SymmetricProduct_IsMirrored) { CheckSymmetric(); }

TEST_P(Amx, EmptySumsAndProducts_AreWhatOthersGive) {
  GemmCase x = BFloat16Case(5, 20, 0);
  x.bias = true;
  Check(x);
  x.accumulate = true;
  Check(x);
  Check(BFloat16Case(0, 20, 30));
  Check(BFloat16Case(20, 0, 30));
}

TEST_P(Amx, ManyPasses_MatchTheReference) {
  GemmCase x = BFloat16Case(2, 8200, 513);
  x.residual = true;
  Check(x);
}

// A weight's gradient that ends in Adam's step: the bits of the step on the product's own.
TEST_P(Amx, Adam_TakesTheProductsSums) {
  GemmCase x = BFloat16Case(70, 150, 530);
  x.transpose_a = true;
  GemmTensors product(x), committed(x);
  nl_testing::RunGemm(product.g);
  const int64_t count = x.m * x.n;
  Buffer w = Buffer::Uniform(count, 7), m(count), v(count), w2 = w, m2(count), v2(count);
  for (Buffer* moments : {&m, &v, &m2, &v2}) std::fill_n(moments->data(), count, 0.0f);
  nl_adam_arguments adam = {};
  adam.size = sizeof(adam);
  adam.learning_rate = 0.01f;
  adam.epsilon = 1e-8f;
  adam.gradient_scale = 1;
  adam.beta1 = 0.9;
  adam.beta2 = 0.999;
  adam.correction1 = 1 - adam.beta1;
  adam.correction2 = 1 - adam.beta2;
  adam.step = 1;
  adam.w = w.data();
  adam.m = m.data();
  adam.v = v.data();
  adam.g = product.c.data();
  EXPECT_OK(nl_adam_commit(&adam, 0, count));
  adam.w = w2.data();
  adam.m = m2.data();
  adam.v = v2.data();
  adam.g = nullptr;
  committed.g.c = nullptr;
  committed.g.epilogue = NL_EPILOGUE_ADAM;
  committed.g.adam = &adam;
  nl_testing::RunGemm(committed.g);
  for (int64_t i = 0; i < count; ++i) {
    ASSERT_EQ(w[i], w2[i]) << i;
    ASSERT_EQ(m[i], m2[i]) << i;
    ASSERT_EQ(v[i], v2[i]) << i;
  }
}

// The order that README.md promises, without tiles: blocks of k do not show, as each goes on from the sums of the one before.
TEST_P(Amx, Sums_AreInTheDocumentedOrder) {
  GemmCase x = BFloat16Case(37, 41, 1061);
  x.accumulate = true;
  GemmTensors p(x);
  nl_testing::RunGemm(p.g);
  const Buffer a = RoundedToBFloat16(p.a), b = RoundedToBFloat16(p.b);
  for (int64_t i = 0; i < x.m; ++i) {
    for (int64_t j = 0; j < x.n; ++j) {
      float sum = p.before[i * x.n + j];
      for (int64_t at = 0; at < x.k; at += 32) {
        float even = 0, odd = 0;
        for (int64_t k = at; k < std::min(at + 32, x.k); ++k) {
          float& chain = k % 2 == 0 ? even : odd;
          chain = nl_testing::MultiplyAddFlushed(a[i * x.k + k], b[k * x.n + j], chain);
        }
        sum = nl_testing::AddFlushed(sum, nl_testing::AddFlushed(even, odd));
      }
      ASSERT_EQ(sum, p.c[i * x.n + j]) << i << ", " << j;
    }
  }
}

TEST_P(Amx, Threads_DoNotChangeBits) {
  GemmCase x = BFloat16Case(200, 300, 600);
  x.bias = true;
  x.epilogue = NL_EPILOGUE_GELU;
  GemmTensors serial(x), parallel(x);
  nl_testing::RunGemm(serial.g);

  nl_gemm_sizes sizes = {};
  sizes.size = sizeof(sizes);
  ASSERT_EQ(NL_OK, nl_gemm_plan(&parallel.g, &sizes)) << nl_last_error();
  ASSERT_GT(sizes.pieces, 3);
  Buffer packed(sizes.packed);
  constexpr int64_t kThreads = 3;
  const auto share = [&](int64_t pieces, const std::function<void(int64_t)>& run) {
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int64_t piece = t; piece < pieces; piece += kThreads) run(piece);
        EXPECT_FALSE(TileModel::OfThisThread().configured());
      });
    }
    for (std::thread& thread : threads) thread.join();
  };
  for (int64_t pass = 0; pass < sizes.passes; ++pass) {
    share(sizes.pack_pieces, [&](int64_t piece) {
      EXPECT_OK(nl_gemm_pack(&parallel.g, pass, piece, piece + 1, packed.data()));
    });
    share(sizes.pieces, [&](int64_t piece) {
      std::vector<float> workspace(static_cast<size_t>(sizes.workspace));
      EXPECT_OK(nl_gemm(&parallel.g, pass, piece, piece + 1, packed.data(), workspace.data()));
    });
  }
  for (int64_t i = 0; i < x.m * x.n; ++i) ASSERT_EQ(serial.c[i], parallel.c[i]) << i;

  // Calls that copy the operands for themselves.
  std::fill(parallel.c.data(), parallel.c.data() + x.m * x.n, NAN);
  for (int64_t pass = 0; pass < sizes.passes; ++pass) {
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const int64_t begin = sizes.pieces * t / kThreads, end = sizes.pieces * (t + 1) / kThreads;
        std::vector<float> workspace(static_cast<size_t>(sizes.workspace));
        EXPECT_OK(nl_gemm(&parallel.g, pass, begin, end, nullptr, workspace.data()));
        EXPECT_FALSE(TileModel::OfThisThread().configured());
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (int64_t i = 0; i < x.m * x.n; ++i) ASSERT_EQ(serial.c[i], parallel.c[i]) << i;
}

// Told by the size of the copies: padded to 32 rows, columns and steps, half a float for each operand.
TEST_P(Amx, SmallProducts_DoNotUseAmx) {
  nested_learning::UseAmxTiles(&nl_testing::ModelTiles(), false);
  const Buffer operands(1);
  Buffer c(1);
  const auto uses = [&](int64_t m, int64_t n, int64_t k) {
    nl_gemm_arguments g = {};
    g.size = sizeof(g);
    g.precision = NL_PRECISION_BFLOAT16;
    g.m = m;
    g.n = n;
    g.k = k;
    g.a = g.b = operands.data();
    g.c = c.data();
    nl_gemm_sizes sizes = {};
    sizes.size = sizeof(sizes);
    EXPECT_OK(nl_gemm_plan(&g, &sizes));
    EXPECT_EQ(1, sizes.passes);
    const auto padded = [](int64_t count) { return (count + 31) / 32 * 32; };
    const bool by_size = sizes.packed == (padded(m) + padded(n)) * padded(k) / 2;
    EXPECT_EQ(by_size, nested_learning::AmxTilesFor(m, n, k) != nullptr);
    return by_size;
  };
  EXPECT_FALSE(uses(1, 2048, 1024));
  EXPECT_FALSE(uses(47, 2048, 1024));
  EXPECT_TRUE(uses(48, 2048, 1024));
  EXPECT_FALSE(uses(4097, 127, 256));
  EXPECT_TRUE(uses(4097, 128, 256));
  EXPECT_FALSE(uses(4097, 1024, 31));
  EXPECT_TRUE(uses(4097, 1024, 32));
  EXPECT_FALSE(uses(63, 256, 256));
  EXPECT_TRUE(uses(65, 256, 256));
}

TEST_P(Amx, Float32Products_DoNotUseAmx) {
  GemmCase x = BFloat16Case(64, 64, 64);
  GemmTensors p(x);
  p.g.precision = NL_PRECISION_FLOAT32;
  nl_gemm_sizes with = {}, without = {};
  with.size = without.size = sizeof(nl_gemm_sizes);
  EXPECT_OK(nl_gemm_plan(&p.g, &with));
  nested_learning::UseAmxTiles(nullptr, false);
  EXPECT_OK(nl_gemm_plan(&p.g, &without));
  EXPECT_EQ(without.packed, with.packed);
}

// Whatever goes wrong in the kernel, an error is all that comes of it.
TEST_P(Amx, Fault_IsAnErrorAndReleasesTheTiles) {
  GemmCase x = BFloat16Case(40, 40, 40);
  GemmTensors p(x);
  nl_testing::RunGemm(p.g);
  nl_gemm_sizes sizes = {};
  sizes.size = sizeof(sizes);
  ASSERT_EQ(NL_OK, nl_gemm_plan(&p.g, &sizes));
  Buffer packed(sizes.packed);
  for (int64_t i = 0; i < sizes.pack_pieces; ++i) {
    ASSERT_EQ(NL_OK, nl_gemm_pack(&p.g, 0, i, i + 1, packed.data()));
  }
  int errors = 0;
  for (const nl_testing::FaultSite& site : nl_testing::FaultSitesPassed()) {
    // Another tile of A is, in one place, that of B: no such instruction.
    if (site.instruction != "tdpbf16ps" || site.operand != 2) continue;
    nl_testing::PlantFault(&site);
    const int32_t status = nl_gemm(&p.g, 0, 0, sizes.pieces, packed.data(), nullptr);
    nl_testing::PlantFault(nullptr);
    EXPECT_FALSE(TileModel::OfThisThread().configured());
    if (status == NL_OK) continue;
    ++errors;
    EXPECT_EQ(NL_INTERNAL_ERROR, status);
    EXPECT_STREQ("#UD tdpbf16ps: a tile is there twice", nl_last_error());
  }
  EXPECT_EQ(1, errors);
}

NL_TEST_TARGETS(Amx);

// ---- Planted faults ----

// Every instruction of the kernel left out, and every tile operand of it another tile: a product must show it, or an error.
TEST(AmxFaults, EveryPlantedFault_IsSeen) {
  const std::vector<GemmCase> cases = [] {
    // Edges of both kinds, and two whole blocks in a call.
    GemmCase plain = BFloat16Case(72, 40, 70), added = BFloat16Case(32, 64, 33);
    added.accumulate = true;
    return std::vector<GemmCase>{plain, added};
  }();
  nested_learning::UseAmxTiles(&nl_testing::ModelTiles(), true);
  TileModel& model = TileModel::OfThisThread();
  const auto seen = [&] {
    bool wrong = false;
    for (const GemmCase& x : cases) {
      GemmTensors p(x);
      nl_gemm_sizes sizes = {};
      sizes.size = sizeof(sizes);
      EXPECT_OK(nl_gemm_plan(&p.g, &sizes));
      Buffer packed(sizes.packed);
      for (int64_t i = 0; i < sizes.pack_pieces; ++i) {
        EXPECT_OK(nl_gemm_pack(&p.g, 0, i, i + 1, packed.data()));
      }
      wrong |= nl_gemm(&p.g, 0, 0, sizes.pieces, packed.data(), nullptr) != NL_OK ||
               !ErrorOf(x, p).IsAllowed() || model.configured();
      model.Release();
    }
    return wrong;
  };
  EXPECT_FALSE(seen());
  const std::set<nl_testing::FaultSite> sites = nl_testing::FaultSitesPassed();
  std::set<std::string> instructions;
  for (const nl_testing::FaultSite& site : sites) {
    instructions.insert(site.instruction);
    nl_testing::PlantFault(&site);
    EXPECT_TRUE(seen()) << site.instruction << " in line " << site.line
                        << (site.operand == 0 ? " left out"
                                              : ", operand " + std::to_string(site.operand));
    nl_testing::PlantFault(nullptr);
  }
  nested_learning::UseAmxTiles(nullptr, false);
  const std::set<std::string> all = {"ldtilecfg", "tilerelease", "tilezero",
                                     "tileloadd", "tilestored",  "tdpbf16ps"};
  EXPECT_EQ(all, instructions);
  // 2 + 4 tilezero, 8 tileloadd, 4 tilestored and 4 tdpbf16ps, each left out and with each operand another.
  EXPECT_EQ(2u + 2 * (4 + 8 + 4) + 4 * 4, sites.size());
}

// ---- The processor ----

class AmxProcessor : public testing::Test {
 protected:
  void SetUp() override {
    for (int32_t i = 0; i < nl_target_count(); ++i) {
      if (nl_target_supported(i)) {
        ASSERT_EQ(NL_OK, nl_target_choose(i));
      }
    }
    const char* obstacle = nl_amx_obstacle(1);
    if (obstacle != nullptr) GTEST_SKIP() << "AMX: " << obstacle;
    nested_learning::UseAmxTiles(nested_learning::ProcessorsAmxTiles(), true);
  }
  void TearDown() override { nested_learning::UseAmxTiles(nullptr, false); }
};

TEST_F(AmxProcessor, Products_MatchTheReference) {
  CheckSizes();
  CheckBlocks();
  CheckEpilogues();
  CheckSpecialValues();
  CheckSymmetric();
}

// If the order of its sums is another than the manual's, this fails and the bounds of the others still hold.
TEST_F(AmxProcessor, Products_HaveTheModelsBits) {
  GemmCase x = BFloat16Case(97, 131, 1027);
  GemmTensors ours(x), theirs(x);
  nl_testing::RunGemm(ours.g);
  nested_learning::UseAmxTiles(&nl_testing::ModelTiles(), true);
  nl_testing::RunGemm(theirs.g);
  for (int64_t i = 0; i < x.m * x.n; ++i) ASSERT_EQ(theirs.c[i], ours.c[i]) << i;
}

}  // namespace
