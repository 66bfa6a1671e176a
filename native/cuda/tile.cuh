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

// An operand as it lies in shared memory, along k in rows that begin on 16 bytes: A's elements a(i, k), or B's b(k, j). Multiply
// takes a lane's by ldmatrix, four at once; rows of 4 floats more than a multiple of 32 are in different banks then.
struct RowsOfA {
  const float* at;
  int row;

  __device__ __forceinline__ float operator()(int i, int k) const { return at[i * row + k]; }
};
struct RowsOfB {
  const float* at;
  int row;

  __device__ __forceinline__ float operator()(int k, int j) const { return at[j * row + k]; }
};

NL_DEVICE void LoadMatrices(const float* row, float x[4]) {
  unsigned r[4];
  LoadMatrix4(r, row);
#pragma unroll
  for (int i = 0; i < 4; i++) x[i] = __uint_as_float(r[i]);
}

// Elements (g, t), (g + 8, t), (g, t + 4) and (g + 8, t + 4) of A's 8 columns from k on.
template <typename A>
NL_DEVICE void LoadA(const A& a, int k, float x[4]) {
  const int g = LaneOfWarp() >> 2, t = LaneOfWarp() & 3;
#pragma unroll
  for (int i = 0; i < 4; i++) x[i] = a(g + (i & 1) * 8, k + t + (i >> 1) * 4);
}
NL_DEVICE void LoadA(const RowsOfA& a, int k, float x[4]) {
  LoadMatrices(a.at + (LaneOfWarp() & 15) * a.row + k + (LaneOfWarp() >> 4) * 4, x);
}

// Elements (t, g), (t + 4, g), (t, g + 8) and (t + 4, g + 8) of B's 8 rows from k on and columns from j on.
template <typename B>
NL_DEVICE void LoadB(const B& b, int k, int j, float x[4]) {
  const int g = LaneOfWarp() >> 2, t = LaneOfWarp() & 3;
#pragma unroll
  for (int i = 0; i < 4; i++) x[i] = b(k + t + (i & 1) * 4, j + g + (i >> 1) * 8);
}
NL_DEVICE void LoadB(const RowsOfB& b, int k, int j, float x[4]) {
  const int lane = LaneOfWarp();
  LoadMatrices(b.at + (j + (lane & 7) + (lane >> 4) * 8) * b.row + k + (lane >> 3 & 1) * 4, x);
}

// tile += A [16, depth] B [depth, 32] with a(i, k) and b(k, j) their elements. depth is a multiple of 16.
//
// A product does not care in which order its k's are: bfloat16's 2t, 2t + 1, 2t + 8 and 2t + 9 are those that tf32's two
// products of 8 have in a lane, t, t + 4, t + 8 and t + 12.
template <Rounding kRounding, typename A, typename B>
NL_DEVICE void Multiply(Tile& tile, int depth, A a, B b) {
  if constexpr (kRounding == Rounding::kNone) {
    const int g = LaneOfWarp() >> 2, t = LaneOfWarp() & 3;
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
      float of_a[4];
      LoadA(a, k, of_a);
      const unsigned x[4] = {RoundToTf32(of_a[0]), RoundToTf32(of_a[1]), RoundToTf32(of_a[2]),
                             RoundToTf32(of_a[3])};
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        float of_b[4];
        LoadB(b, k, j * 8, of_b);
        const unsigned y[4] = {RoundToTf32(of_b[0]), RoundToTf32(of_b[1]), RoundToTf32(of_b[2]),
                               RoundToTf32(of_b[3])};
        MmaTf32(tile.c[j], x, y, tile.c[j]);
        MmaTf32(tile.c[j + 1], x, y + 2, tile.c[j + 1]);
      }
    }
  } else {
    for (int k = 0; k < depth; k += 16) {
      float of_a[2][4];
      LoadA(a, k, of_a[0]);
      LoadA(a, k + 8, of_a[1]);
      const unsigned x[4] = {PackBf16(of_a[0][0], of_a[0][2]), PackBf16(of_a[0][1], of_a[0][3]),
                             PackBf16(of_a[1][0], of_a[1][2]), PackBf16(of_a[1][1], of_a[1][3])};
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        float of_b[2][4];
        LoadB(b, k, j * 8, of_b[0]);
        LoadB(b, k + 8, j * 8, of_b[1]);
#pragma unroll
        for (int right = 0; right < 2; right++) {
          const unsigned y[2] = {PackBf16(of_b[0][2 * right], of_b[0][2 * right + 1]),
                                 PackBf16(of_b[1][2 * right], of_b[1][2 * right + 1])};
          MmaBf16(tile.c[j + right], x, y, tile.c[j + right]);
        }
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

// Kernels name_float32, name_tf32 and name_bf16 of the template body<Rounding, ...>(const arguments&).
#define NL_KERNEL_IN_EACH_ROUNDING(name, threads, arguments, body, ...)           \
  NL_ROUNDED_KERNEL(name##_float32, kNone, threads, arguments, body, __VA_ARGS__) \
  NL_ROUNDED_KERNEL(name##_tf32, kTf32, threads, arguments, body, __VA_ARGS__)    \
  NL_ROUNDED_KERNEL(name##_bf16, kBf16, threads, arguments, body, __VA_ARGS__)
#define NL_ROUNDED_KERNEL(name, rounding, threads, arguments, body, ...)       \
  extern "C" __global__ void __launch_bounds__(threads)                        \
      name(const __grid_constant__ arguments a) {                              \
    ::nested_learning::body<Rounding::rounding __VA_OPT__(, ) __VA_ARGS__>(a); \
  }                                                                            \
  NL_KERNEL(name)

#endif  // NESTED_LEARNING_CUDA_TILE_CUH_
