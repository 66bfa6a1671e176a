// What a processor with AMX can do at most, and how much of it a product reaches, on one thread. Not a test, and left out unless
// asked for:
//   artifacts/native-build/release/native/tests/amx_tests --gtest_also_run_disabled_tests --gtest_filter='AmxPeak.*'
#include <chrono>
#include <cstdio>

#include "tests/testing.h"
#include "kernels/gemm/amx.h"
#include "kernels/gemm/amx_support.h"

#if defined(NL_AMX_COMPILED)
#include <immintrin.h>
#endif

using nl_testing::Buffer;

namespace {

template <class TAction>
double LeastSeconds(int rounds, TAction action) {
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    action();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    least = std::min(least, time.count());
  }
  return least;
}

#if defined(NL_AMX_COMPILED)

// Four independent sums, as the kernel has them, and nothing loaded.
__attribute__((target("amx-tile,amx-bf16"))) void MultiplyInRegisters(int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
}

#endif

TEST(AmxPeak, DISABLED_OfTilesInRegistersAndOfProducts) {
#if defined(NL_AMX_COMPILED)
  const char* obstacle = nl_amx_obstacle(1);
  if (obstacle != nullptr) GTEST_SKIP() << "AMX: " << obstacle;
  constexpr int64_t kCount = 1 << 20;
  constexpr double kFlops = 4.0 * kCount * 2 * 16 * 16 * 32;
  double peak;
  {
    const nested_learning::AmxScope tiles(nested_learning::ProcessorsAmxTiles());
    peak = kFlops / LeastSeconds(10, [] { MultiplyInRegisters(kCount); });
  }
  std::printf("tiles in registers: %.0f GFLOP/s\n", peak * 1e-9);
  for (int64_t size : {256, 512, 1024, 2048}) {
    const Buffer a = Buffer::Uniform(size * size, 1), b = Buffer::Uniform(size * size, 2);
    Buffer c(size * size);
    nl_gemm_arguments g = {};
    g.size = sizeof(g);
    g.precision = NL_PRECISION_BFLOAT16;
    g.m = g.n = g.k = size;
    g.a = a.data();
    g.b = b.data();
    g.c = c.data();
    nl_gemm_sizes sizes = {};
    sizes.size = sizeof(sizes);
    ASSERT_EQ(NL_OK, nl_gemm_plan(&g, &sizes)) << nl_last_error();
    Buffer packed(sizes.packed), workspace(sizes.workspace);
    double copying = 0;
    const double seconds = LeastSeconds(10, [&] {
      copying = 0;
      for (int64_t pass = 0; pass < sizes.passes; ++pass) {
        copying += LeastSeconds(
            1, [&] { EXPECT_OK(nl_gemm_pack(&g, pass, 0, sizes.pack_pieces, packed.data())); });
        EXPECT_OK(nl_gemm(&g, pass, 0, sizes.pieces, packed.data(), workspace.data()));
      }
    });
    const double flops = 2.0 * static_cast<double>(size) * static_cast<double>(size * size);
    std::printf("product of %d cubed: %.0f GFLOP/s, %.0f %% of it; copying %.0f %% of the time\n",
                static_cast<int>(size), flops / seconds * 1e-9, 100 * flops / seconds / peak,
                100 * copying / seconds);
  }
#else
  GTEST_SKIP() << "AMX: not in this build";
#endif
}

}  // namespace
