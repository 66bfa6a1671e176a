// Tiles of a product whose operands are pairs of bfloat16, for processors that multiply those (AVX-512 BF16). Highway 1.0.3
// has no such operation for AVX-512, so they are intrinsics, apart from its targets.
#ifndef NESTED_LEARNING_KERNELS_GEMM_BFLOAT16_H_
#define NESTED_LEARNING_KERNELS_GEMM_BFLOAT16_H_

#include <cstddef>

namespace nested_learning {

// Those of the AVX3 target.
constexpr size_t kPairTileRows = 12;
constexpr size_t kPairTileColumns = 32;

// Whether the target in use, the processor and the compiler have them.
bool HasPairTiles();

// A tile of C [rows, columns] = op(A) op(B), or added to it. a [steps, kPairTileRows], b [steps, kPairTileColumns]: a float's
// place holds what stands at 2p (lower half) and at 2p + 1 along k. `lanes` columns are in the last of the tile's vectors.
// The instruction counts subnormal numbers as zeros.
using PairTileFunction = void (*)(bool add, size_t steps, const float* a, const float* b, float* c,
                                  size_t ldc, size_t lanes);

// For 1 .. kPairTileRows rows and 1 or 2 vectors of 16 columns.
PairTileFunction PairTileOf(size_t rows, size_t vectors);

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_GEMM_BFLOAT16_H_
