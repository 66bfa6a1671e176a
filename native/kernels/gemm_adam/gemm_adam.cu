// A weight's gradient and its step of Adam in one: gemm-inl.cuh's tiles of xᵀ dy, of whose sums adam-inl.cuh's step takes four
// at a time from shared memory, so that the gradient is written nowhere. 24 bytes an element, 8 more where a gradient was
// gathered before; both READMEs say the rest.
#include "kernels/adam/adam-inl.cuh"
#include "kernels/gemm/gemm-inl.cuh"
#include "kernels/gemm_adam/gemm_adam.cuh"

namespace nested_learning {

// g = sums (+ g), and the step of it.
template <int kTile, typename TTile>
NL_DEVICE void Commit(const GemmAdamArguments& a, const GemmPlace& place, const TTile& tile,
                      float* shared) {
  const AdamTensor& adam = a.adam;
  const bool aligned = a.n % 4 == 0 && IsAligned(adam);
#pragma unroll 1
  for (int pass = 0; pass < TTile::kPasses; pass++) {
    ForFours(tile, place, a.m, a.n, pass, GemmStaging<kTile>{shared},
             [&](int row, int column, int count, const float* four) {
               const int64_t at = static_cast<int64_t>(row) * a.n + column;
               const bool whole = aligned && count == 4;
               float g[4];
               LoadFour<true>(four, 4, g);
               if (adam.g) {
                 float before[4];
                 LoadFour(whole, adam.g + at, count, before);
#pragma unroll
                 for (int i = 0; i < 4; i++) g[i] += before[i];
                 const float zeros[4] = {};
                 if (adam.constants.clear) StoreFour(whole, adam.g + at, count, zeros);
               }
               if (adam.constants.bfloat16) {
                 if (whole) {
                   StepOfFour<true, true>(adam, at, 4, g, nullptr);
                 } else {
                   StepOfFour<true, false>(adam, at, count, g, nullptr);
                 }
               } else if (whole) {
                 StepOfFour<false, true>(adam, at, 4, g, nullptr);
               } else {
                 StepOfFour<false, false>(adam, at, count, g, nullptr);
               }
             });
  }
}

template <Rounding kPrecision, int kTile>
NL_DEVICE void GemmAdamTensor(const GemmAdamArguments& a) {
  NL_DYNAMIC_SHARED(float, shared);
  using Tile = TensorTile<kPrecision, true, false, kTile>;
  const GemmPlace place = PlaceOf<kTile>(a.m, a.n, false);
  Tile tile = {{a.x, a.m, place.row, a.m, a.k}, {a.dy, a.n, place.column, a.n, a.k}, {}};
  Pipeline<kGemmStages>(tile, shared, (a.k + Tile::kDepth - 1) / Tile::kDepth);
  Commit<kTile>(a, place, tile, shared);
}

template <int kTile>
NL_DEVICE void GemmAdamExact(const GemmAdamArguments& a) {
  NL_DYNAMIC_SHARED(float, shared);
  using Tile = ExactTile<kTile>;
  const GemmPlace place = PlaceOf<kTile>(a.m, a.n, false);
  Tile tile = Tile::Of(place, a.x, a.m, false, a.dy, a.n, false, a.m, a.n, a.k);
  Pipeline<kGemmStages>(tile, shared, (a.k + Tile::kDepth - 1) / Tile::kDepth);
  Commit<kTile>(a, place, tile, shared);
}

}  // namespace nested_learning

using namespace nested_learning;

#define NL_GEMM_ADAM(name, exact, tile, product)                            \
  extern "C" __global__ void __launch_bounds__(GemmThreads(exact, tile), 2) \
      nl_gemm_adam_##name##_##tile(GemmAdamArguments a) {                   \
    product(a);                                                             \
  }                                                                         \
  NL_KERNEL(nl_gemm_adam_##name##_##tile)
NL_GEMM_ADAM(f32, true, 64, GemmAdamExact<64>)
NL_GEMM_ADAM(f32, true, 128, GemmAdamExact<128>)
NL_GEMM_ADAM(tf32, false, 64, (GemmAdamTensor<Rounding::kTf32, 64>))
NL_GEMM_ADAM(tf32, false, 128, (GemmAdamTensor<Rounding::kTf32, 128>))
NL_GEMM_ADAM(bf16, false, 64, (GemmAdamTensor<Rounding::kBf16, 64>))
NL_GEMM_ADAM(bf16, false, 128, (GemmAdamTensor<Rounding::kBf16, 128>))
