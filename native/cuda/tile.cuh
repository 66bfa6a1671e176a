// Products of a block's matrices in shared memory, into a warp's registers, in the layout of the tensor cores' C.
#ifndef NESTED_LEARNING_CUDA_TILE_CUH_
#define NESTED_LEARNING_CUDA_TILE_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

constexpr int kTileRows = 16, kTileColumns = 32;

// A warp's 16 × 32 sums: those of 8 columns are as tensor_core.h has C.
struct Tile {
  float c[4][4];
};

NL_DEVICE int LaneOfWarp() { return static_cast<int>(threadIdx.x & 31); }

// body(row, column, element) for each of the lane's elements.
template <typename Body>
NL_DEVICE void ForElements(Tile& tile, Body body) {
  const int g = LaneOfWarp() >> 2, t = LaneOfWarp() & 3;
#pragma unroll
  for (int j = 0; j < 4; j++) {
#pragma unroll
    for (int r = 0; r < 4; r++) {
      body(g + (r >> 1) * 8, j * 8 + 2 * t + (r & 1), tile.c[j][r]);
    }
  }
}

// body(row, column, element of one, element of the other) for each of the lane's elements.
template <typename Body>
NL_DEVICE void ForElements(Tile& one, const Tile& other, Body body) {
  const int g = LaneOfWarp() >> 2, t = LaneOfWarp() & 3;
#pragma unroll
  for (int j = 0; j < 4; j++) {
#pragma unroll
    for (int r = 0; r < 4; r++) {
      body(g + (r >> 1) * 8, j * 8 + 2 * t + (r & 1), one.c[j][r], other.c[j][r]);
    }
  }
}

// tile += A [16, depth] B [depth, 32] with a(i, k) and b(k, j) their elements. depth is a multiple of 16.
template <Rounding kRounding, typename A, typename B>
NL_DEVICE void Multiply(Tile& tile, int depth, A a, B b) {
  const int g = LaneOfWarp() >> 2, t = LaneOfWarp() & 3;
  if constexpr (kRounding == Rounding::kNone) {
    for (int k = 0; k < depth; k++) {
      const float low = a(g, k), high = a(g + 8, k);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float left = b(k, j * 8 + 2 * t), right = b(k, j * 8 + 2 * t + 1);
        tile.c[j][0] = fmaf(low, left, tile.c[j][0]);
        tile.c[j][1] = fmaf(low, right, tile.c[j][1]);
        tile.c[j][2] = fmaf(high, left, tile.c[j][2]);
        tile.c[j][3] = fmaf(high, right, tile.c[j][3]);
      }
    }
  } else if constexpr (kRounding == Rounding::kTf32) {
    for (int k = 0; k < depth; k += 8) {
      const unsigned x[4] = {RoundToTf32(a(g, k + t)), RoundToTf32(a(g + 8, k + t)),
                             RoundToTf32(a(g, k + t + 4)), RoundToTf32(a(g + 8, k + t + 4))};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const unsigned y[2] = {RoundToTf32(b(k + t, j * 8 + g)),
                               RoundToTf32(b(k + t + 4, j * 8 + g))};
        MmaTf32(tile.c[j], x, y, tile.c[j]);
      }
    }
  } else {
    for (int k = 0; k < depth; k += 16) {
      const int left = k + 2 * t, right = left + 8;
      const unsigned x[4] = {
          PackBf16(a(g, left), a(g, left + 1)), PackBf16(a(g + 8, left), a(g + 8, left + 1)),
          PackBf16(a(g, right), a(g, right + 1)), PackBf16(a(g + 8, right), a(g + 8, right + 1))};
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const unsigned y[2] = {PackBf16(b(left, j * 8 + g), b(left + 1, j * 8 + g)),
                               PackBf16(b(right, j * 8 + g), b(right + 1, j * 8 + g))};
        MmaBf16(tile.c[j], x, y, tile.c[j]);
      }
    }
  }
}

// tile += diag(factor) other, of the first `rows` rows.
NL_DEVICE void AddRows(Tile& tile, const Tile& other, const float* factor, int rows) {
  const int g = LaneOfWarp() >> 2;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    if (g + half * 8 >= rows) continue;
    const float x = factor[g + half * 8];
#pragma unroll
    for (int j = 0; j < 4; j++) {
      tile.c[j][half * 2] = fmaf(x, other.c[j][half * 2], tile.c[j][half * 2]);
      tile.c[j][half * 2 + 1] = fmaf(x, other.c[j][half * 2 + 1], tile.c[j][half * 2 + 1]);
    }
  }
}

// tile += A B with A [16, 16] of which only the elements that `has`(i, k) are multiplied. float32.
template <typename Has, typename A, typename B>
NL_DEVICE void MultiplyCorner(Tile& tile, Has has, A a, B b) {
  const int g = LaneOfWarp() >> 2, t = LaneOfWarp() & 3;
#pragma unroll 1
  for (int k = 0; k < 16; k++) {
    const bool has_low = has(g, k), has_high = has(g + 8, k);
    const float low = a(g, k), high = a(g + 8, k);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const float left = b(k, j * 8 + 2 * t), right = b(k, j * 8 + 2 * t + 1);
      if (has_low) {
        tile.c[j][0] = fmaf(low, left, tile.c[j][0]);
        tile.c[j][1] = fmaf(low, right, tile.c[j][1]);
      }
      if (has_high) {
        tile.c[j][2] = fmaf(high, left, tile.c[j][2]);
        tile.c[j][3] = fmaf(high, right, tile.c[j][3]);
      }
    }
  }
}

// body(first row, first column) for the tiles of a matrix, each by one warp of the block.
template <typename Body>
NL_DEVICE void ForTiles(int rows, int columns, Body body) {
  const int across = (columns + kTileColumns - 1) / kTileColumns;
  const int tiles = across * ((rows + kTileRows - 1) / kTileRows);
  for (int tile = static_cast<int>(threadIdx.x >> 5); tile < tiles;
       tile += static_cast<int>(blockDim.x >> 5)) {
    body(tile / across * kTileRows, tile % across * kTileColumns);
  }
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CUDA_TILE_CUH_
