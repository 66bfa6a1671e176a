// Products by tiles, for gemm.cu; README.md says how they are organised.
#ifndef NESTED_LEARNING_KERNELS_GEMM_GEMM_INL_CUH_
#define NESTED_LEARNING_KERNELS_GEMM_GEMM_INL_CUH_

#include "cuda/block.cuh"
#include "cuda/functions.cuh"
#include "kernels/gemm/gemm.cuh"

namespace nested_learning {

// Where a block's tile begins.
struct GemmPlace {
  int row, column, batch;
};

template <int kTile>
NL_DEVICE GemmPlace PlaceOf(int m, int n, bool symmetric) {
  const int rows = (m + kTile - 1) / kTile, columns = (n + kTile - 1) / kTile;
  const int tiles = symmetric ? rows * (rows + 1) / 2 : rows * columns;
  const int batch = blockIdx.x / tiles, tile = blockIdx.x % tiles;
  int i, j;
  if (symmetric) {
    // Row by row of the lower triangle; the root may be off by one.
    i = static_cast<int>((sqrtf(fmaf(8, static_cast<float>(tile), 1)) - 1) * 0.5f);
    while ((i + 1) * (i + 2) / 2 <= tile) i++;
    while (i * (i + 1) / 2 > tile) i--;
    j = tile - i * (i + 1) / 2;
  } else {
    // Eight rows of tiles at a time, so that blocks that run together share rows and columns in the cache.
    constexpr int kGroup = 8;
    const int group = tile / (kGroup * columns), within = tile % (kGroup * columns);
    const int height = min(rows - group * kGroup, kGroup);
    i = group * kGroup + within % height;
    j = within / height;
  }
  return {i * kTile, j * kTile, batch};
}

// Loads of the stages to come run while one is multiplied. TTile: Copy(step, shared), Multiply(shared).
template <int kStages, typename TTile>
NL_DEVICE void Pipeline(TTile& tile, float* shared, int steps) {
  int stage = 0, free = 0;
  // The first steps only copy: copies are long, and stand here once.
  for (int step = 1 - kStages; step < steps; step++) {
    if (step >= 0) {
      CopyAsyncWait<kStages - 2>();
      // This step's stage is there for all, and all are done with the last one's, which is free then.
      __syncthreads();
    }
    if (step + kStages - 1 < steps)
      tile.Copy(step + kStages - 1, shared + free * TTile::kStageFloats);
    CopyAsyncCommit();
    free = free + 1 == kStages ? 0 : free + 1;
    if (step < 0) continue;
    tile.Multiply(shared + stage * TTile::kStageFloats);
    stage = stage + 1 == kStages ? 0 : stage + 1;
  }
  // What comes next writes over the stages.
  __syncthreads();
}

// An operand of which this thread copies the same pieces of every stage. Of the operand as stored, kAlongK says that its
// rows lie along k; x is along its other side, m or n.
template <bool kAlongK>
struct GemmOperand {
  const float* from;  // of the tile
  int64_t row;
  int extent;  // left along x from where the tile begins
  int depth;   // k
  bool aligned;

  __device__ __forceinline__ GemmOperand(const float* matrix, int64_t row, int first, int extent,
                                         int depth)
      : from(matrix + (kAlongK ? first * row : first)),
        row(row),
        extent(extent - first),
        depth(depth),
        aligned(IsAligned(matrix, 16) && row % 4 == 0) {}

  // The four elements from (k, x) on along a row, zeros where there are none.
  template <bool kAligned>
  __device__ __forceinline__ void CopyFour(float* to, int k, int x) const {
    const int left = kAlongK ? (x < extent ? depth - k : 0) : (k < depth ? extent - x : 0);
    const int given = max(0, min(left, 4));
    const float* source = from + (kAlongK ? x * row + k : k * row + x);
    if (kAligned) {
      CopyAsync16(to, source, 4 * given);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++) CopyAsync4(to + i, source + i, i < given);
    }
  }
};

// ---- sums on the tensor cores: 2 x 2 warps, each of a quarter of the tile ----

// A stage holds operands as they are stored, in float32, and so 16 bytes at a time. Along k: [kTile, 16]. Else:
// [16, kTile] with x XOR 8 (k / 4), which lets a warp read 4 k's by 8 x's from all banks.
//
// Products do not care in which order k's are, if it is the same for A and B: a thread's four k's of a step of 16 are
// 4t .. 4t + 3, in one access along k. They stand for 2t, 2t + 1, 2t + 8, 2t + 9 in bfloat16's product of 16, and for t and
// t + 4 in each of tf32's two products of 8.
template <Rounding kPrecision, bool kTransposeA, bool kTransposeB, int kTile>
struct TensorTile {
  static constexpr int kDepth = kGemmTensorDepth, kThreads = GemmThreads(false, kTile);
  static constexpr int kOperandFloats = kDepth * kTile, kStageFloats = 2 * kOperandFloats;
  static constexpr int kRows = kTile / 2 / 16, kColumns = kTile / 2 / 8;
  static constexpr bool kBf16 = kPrecision == Rounding::kBf16;
  static constexpr int kProducts = kBf16 ? 1 : 2;

  GemmOperand<!kTransposeA> a;
  GemmOperand<kTransposeB> b;
  float sums[kRows][kColumns][4];

  static __device__ __forceinline__ int Row() {
    return (threadIdx.x >> 6) * (kTile / 2) + (threadIdx.x >> 2 & 7);
  }
  static __device__ __forceinline__ int Column() {
    return (threadIdx.x >> 5 & 1) * (kTile / 2) + (threadIdx.x >> 2 & 7);
  }

  template <bool kAlongK, bool kAligned>
  static __device__ __forceinline__ void CopyPieces(const GemmOperand<kAlongK>& operand, int step,
                                                    float* to) {
    constexpr int kRow = kAlongK ? kDepth : kTile;
#pragma unroll
    for (int j = 0; j < kOperandFloats / 4 / kThreads; j++) {
      const int i = threadIdx.x + j * kThreads, r = i / (kRow / 4), c = i % (kRow / 4) * 4;
      if (kAlongK) {
        operand.template CopyFour<kAligned>(to + r * kRow + c, step * kDepth + c, r);
      } else {
        operand.template CopyFour<kAligned>(to + r * kRow + (c ^ r / 4 * 8), step * kDepth + r, c);
      }
    }
  }

  template <bool kAlongK>
  static __device__ __forceinline__ void CopyOperand(const GemmOperand<kAlongK>& operand, int step,
                                                     float* to) {
    if (operand.aligned) {
      CopyPieces<kAlongK, true>(operand, step, to);
    } else {
      CopyPieces<kAlongK, false>(operand, step, to);
    }
  }

  __device__ __forceinline__ void Copy(int step, float* stage) const {
    CopyOperand(a, step, stage);
    CopyOperand(b, step, stage + kOperandFloats);
  }

  // This thread's four k's at x.
  template <bool kAlongK>
  static __device__ __forceinline__ void Load(const float* operand, int x, float v[4]) {
    const int t = threadIdx.x & 3;
    if (kAlongK) {
      LoadFour<true>(operand + x * kDepth + 4 * t, 4, v);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++) v[j] = operand[(4 * t + j) * kTile + (x ^ t * 8)];
    }
  }

  // As operands of the products: k's 0 and 1 of the first product, then 2 and 3; in bfloat16 both pairs of one.
  static __device__ __forceinline__ void Round(const float v[4], unsigned r[2 * kProducts]) {
    if (kBf16) {
      r[0] = PackBf16(v[0], v[1]), r[1] = PackBf16(v[2], v[3]);
    } else {
#pragma unroll
      for (int j = 0; j < 2 * kProducts; j++) r[j] = RoundToTf32(v[j]);
    }
  }

  __device__ __forceinline__ void Multiply(const float* stage) {
    unsigned rows[kRows][kProducts][4];
#pragma unroll
    for (int i = 0; i < kRows; i++) {
      float v[4];
      unsigned upper[2 * kProducts], lower[2 * kProducts];
      Load<!kTransposeA>(stage, Row() + 16 * i, v);
      Round(v, upper);
      Load<!kTransposeA>(stage, Row() + 16 * i + 8, v);
      Round(v, lower);
#pragma unroll
      for (int p = 0; p < kProducts; p++) {
        rows[i][p][0] = upper[2 * p], rows[i][p][1] = lower[2 * p];
        rows[i][p][2] = upper[2 * p + 1], rows[i][p][3] = lower[2 * p + 1];
      }
    }
#pragma unroll
    for (int j = 0; j < kColumns; j++) {
      float v[4];
      unsigned columns[2 * kProducts];
      Load<kTransposeB>(stage + kOperandFloats, Column() + 8 * j, v);
      Round(v, columns);
#pragma unroll
      for (int p = 0; p < kProducts; p++) {
#pragma unroll
        for (int i = 0; i < kRows; i++) {
          if (kBf16) {
            MmaBf16(sums[i][j], rows[i][p], columns, sums[i][j]);
          } else {
            MmaTf32(sums[i][j], rows[i][p], columns + 2 * p, sums[i][j]);
          }
        }
      }
    }
  }

  // All sums stay at once.
  static constexpr int kPasses = 1, kPassRows = kTile;
  static __device__ __forceinline__ int RowOf(int, int staged) { return staged; }

  template <typename TStaging>
  __device__ __forceinline__ void Stage(int, TStaging staging) const {
    const int row = Row(), column = Column() - (threadIdx.x >> 2 & 7) + 2 * (threadIdx.x & 3);
#pragma unroll
    for (int i = 0; i < kRows; i++) {
#pragma unroll
      for (int j = 0; j < kColumns; j++) {
        const float* s = sums[i][j];
        *reinterpret_cast<float2*>(staging.At(row + 16 * i, column + 8 * j)) =
            make_float2(s[0], s[1]);
        *reinterpret_cast<float2*>(staging.At(row + 16 * i + 8, column + 8 * j)) =
            make_float2(s[2], s[3]);
      }
    }
  }
};

// ---- exact sums: warps of 32 rows, threads of 8 rows by 4 or 8 columns ----

// A stage holds [8, kTile] of both operands: 4 more floats a row, so that an operand that lies along k is transposed by
// copies of 4 bytes (a warp's are 8 k's by 4 x's) from whole sectors to all banks.
template <int kTile>
struct ExactTile {
  static constexpr int kDepth = kGemmExactDepth, kThreads = GemmThreads(true, kTile);
  static constexpr int kPitch = kTile + 4;
  static constexpr int kOperandFloats = kDepth * kPitch, kStageFloats = 2 * kOperandFloats;
  static constexpr int kQuads = kTile / 64;  // of a thread's columns
  static constexpr int kWarpColumns = 32 * kQuads, kAcross = kTile / kWarpColumns;

  const float *a, *b;
  int row_a, row_b;
  int m, n, depth;  // m and n from where the tile begins
  bool along_a, along_b, aligned_a, aligned_b;
  float sums[8][kQuads * 4];

  // Of a product of m × n with A and B as stored, in rows of so many elements that lie along k or not.
  static __device__ __forceinline__ ExactTile Of(const GemmPlace& place, const float* a, int row_a,
                                                 bool along_a, const float* b, int row_b,
                                                 bool along_b, int m, int n, int k) {
    return {a + (along_a ? place.row * static_cast<int64_t>(row_a) : place.row),
            b + (along_b ? place.column * static_cast<int64_t>(row_b) : place.column),
            row_a,
            row_b,
            m - place.row,
            n - place.column,
            k,
            along_a,
            along_b,
            IsAligned(a, 16) && row_a % 4 == 0,
            IsAligned(b, 16) && row_b % 4 == 0,
            {}};
  }

  static __device__ __forceinline__ int Row() {
    return (threadIdx.x >> 5) / kAcross * 32 + (threadIdx.x >> 3 & 3) * 4;
  }
  static __device__ __forceinline__ int Column() {
    return (threadIdx.x >> 5) % kAcross * kWarpColumns + (threadIdx.x & 7) * 4;
  }

  __device__ __forceinline__ void CopyOperand(const float* from, int64_t row, int extent,
                                              bool along, bool aligned, int step, float* to) const {
    if (along) {
#pragma unroll
      for (int j = 0; j < kDepth * kTile / kThreads; j++) {
        const int i = threadIdx.x + j * kThreads, k = i & 7, x = i >> 3;
        CopyAsync4(to + k * kPitch + x, from + x * row + step * kDepth + k,
                   x < extent && step * kDepth + k < depth);
      }
      return;
    }
    if (aligned) {
      CopyPieces<true>(from, row, extent, step, to);
    } else {
      CopyPieces<false>(from, row, extent, step, to);
    }
  }

  template <bool kAligned>
  __device__ __forceinline__ void CopyPieces(const float* from, int64_t row, int extent, int step,
                                             float* to) const {
#pragma unroll
    for (int j = 0; j < kDepth * kTile / 4 / kThreads; j++) {
      const int i = threadIdx.x + j * kThreads, k = i / (kTile / 4), x = i % (kTile / 4) * 4;
      const int given = step * kDepth + k < depth ? max(0, min(extent - x, 4)) : 0;
      const float* source = from + (step * kDepth + k) * row + x;
      if (kAligned) {
        CopyAsync16(to + k * kPitch + x, source, 4 * given);
      } else {
#pragma unroll
        for (int e = 0; e < 4; e++) CopyAsync4(to + k * kPitch + x + e, source + e, e < given);
      }
    }
  }

  __device__ __forceinline__ void Copy(int step, float* stage) const {
    CopyOperand(a, row_a, m, along_a, aligned_a, step, stage);
    CopyOperand(b, row_b, n, along_b, aligned_b, step, stage + kOperandFloats);
  }

  __device__ __forceinline__ void Multiply(const float* stage) {
    const float* rows = stage + Row();
    const float* columns = stage + kOperandFloats + Column();
#pragma unroll
    for (int k = 0; k < kDepth; k++) {
      float x[8], y[kQuads * 4];
      LoadFour<true>(rows + k * kPitch, 4, x);
      LoadFour<true>(rows + k * kPitch + 16, 4, x + 4);
#pragma unroll
      for (int q = 0; q < kQuads; q++) LoadFour<true>(columns + k * kPitch + 32 * q, 4, y + 4 * q);
#pragma unroll
      for (int i = 0; i < 8; i++) {
#pragma unroll
        for (int j = 0; j < kQuads * 4; j++) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
      }
    }
  }

  // Half of the sums at a time, 16 rows of each warp, in no more than the stages have.
  static constexpr int kPasses = 2, kPassRows = kTile / 2;
  static __device__ __forceinline__ int RowOf(int pass, int staged) {
    return staged / 16 * 32 + pass * 16 + staged % 16;
  }

  template <typename TStaging>
  __device__ __forceinline__ void Stage(int pass, TStaging staging) const {
    if (pass == 0) {
      StageHalf<0>(staging);
    } else {
      StageHalf<1>(staging);
    }
  }

  template <int kPass, typename TStaging>
  __device__ __forceinline__ void StageHalf(TStaging staging) const {
    const int row = Row() / 32 * 16 + Row() % 32;
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int q = 0; q < kQuads; q++)
        StoreFour<true>(staging.At(row + i, Column() + 32 * q), 4, sums[4 * kPass + i] + 4 * q);
    }
  }
};

// ---- the epilogue ----

// Sums in shared memory. What is added to columns keeps fours together, and lets a warp write pairs of 8 rows, read a row
// or read 8 rows by 4 columns from all banks.
template <int kTile>
struct GemmStaging {
  float* shared;

  __device__ __forceinline__ float* At(int row, int column) const {
    return shared + row * kTile + (column ^ ((row & 3) * 8 + (row >> 2 & 1) * 4));
  }
};

// Sums of a pass by way of shared memory: body(row, column, count, four) for the fours of C that are this thread's, of which
// `count` exist.
template <int kTile, typename TTile, typename Body>
NL_DEVICE void ForFours(const TTile& tile, const GemmPlace& place, int m, int n, int pass,
                        GemmStaging<kTile> staging, Body body) {
  if (pass) __syncthreads();
  tile.Stage(pass, staging);
  __syncthreads();
#pragma unroll 1
  for (int i = threadIdx.x; i < TTile::kPassRows * (kTile / 4); i += TTile::kThreads) {
    const int staged = i / (kTile / 4), c = i % (kTile / 4) * 4;
    const int row = place.row + TTile::RowOf(pass, staged), column = place.column + c;
    if (row < m && column < n) body(row, column, min(n - column, 4), staging.At(staged, c));
  }
}

// Four elements of C from `at` on, of which `count` exist; `whole`: all do and are aligned.
NL_DEVICE void FinishFour(const GemmArguments& a, int64_t at, int column, int count, bool whole,
                          float v[4]) {
#pragma unroll
  for (int i = 0; i < 4; i++) v[i] *= a.scale;
  if (a.bias) {
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] += i < count ? a.bias[column + i] : 0.0f;
  }
  if (a.epilogue != CudaEpilogue::kNone) {
    const bool gradient = a.epilogue == CudaEpilogue::kGeluGradient;
    float z[4] = {v[0], v[1], v[2], v[3]};
    if (gradient) {
      LoadFour(whole, a.pre_activation + at, count, z);
    } else if (a.pre_activation) {
      StoreFour(whole, a.pre_activation + at, count, z);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float y = GeluOrDerivative(z[i], gradient);
      v[i] = gradient ? v[i] * y : y;
    }
  }
  if (a.residual) {
    float r[4];
    LoadFour(whole, a.residual + at, count, r);
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] = fmaf(a.residual_scale, r[i], v[i]);
  }
  if (a.accumulate) {
    float c[4];
    LoadFour(whole, a.c + at, count, c);
#pragma unroll
    for (int i = 0; i < 4; i++) v[i] += c[i];
  }
  StoreFour(whole, a.c + at, count, v);
}

template <int kTile, typename TTile>
NL_DEVICE void Finish(const GemmArguments& a, const GemmPlace& place, const TTile& tile,
                      float* shared) {
  const GemmStaging<kTile> staging = {shared};
  const int64_t base = place.batch * a.batch_c;
  const bool aligned =
      IsAligned(a.c + base, 16) && IsAligned(a.residual ? a.residual + base : a.c, 16) &&
      IsAligned(a.pre_activation ? a.pre_activation + base : a.c, 16) && a.row_c % 4 == 0;
  const bool mirrored = a.symmetric && place.row != place.column;
  // The passes differ in what is staged alone: unrolled, the rest would stand there twice.
#pragma unroll 1
  for (int pass = 0; pass < TTile::kPasses; pass++) {
    ForFours(tile, place, a.m, a.n, pass, staging,
             [&](int row, int column, int count, float* four) {
               float v[4];
               LoadFour<true>(four, 4, v);
               FinishFour(a, base + static_cast<int64_t>(row) * a.row_c + column, column, count,
                          aligned && count == 4, v);
               if (mirrored) StoreFour<true>(four, 4, v);
             });
    if (!mirrored) continue;
    __syncthreads();
    // A warp writes 8 elements of 4 rows of the mirrored tile.
#pragma unroll 1
    for (int i = threadIdx.x; i < TTile::kPassRows * kTile; i += TTile::kThreads) {
      const int staged = i % 8 + i / 32 % (TTile::kPassRows / 8) * 8;
      const int c = i / 8 % 4 + i / (4 * TTile::kPassRows) * 4;
      const int row = place.row + TTile::RowOf(pass, staged), column = place.column + c;
      if (row < a.m && column < a.n)
        a.c[base + static_cast<int64_t>(column) * a.row_c + row] = *staging.At(staged, c);
    }
  }
}

template <Rounding kPrecision, bool kTransposeA, bool kTransposeB, int kTile>
NL_DEVICE void GemmTensor(const GemmArguments& a) {
  NL_DYNAMIC_SHARED(float, shared);
  using Tile = TensorTile<kPrecision, kTransposeA, kTransposeB, kTile>;
  const GemmPlace place = PlaceOf<kTile>(a.m, a.n, a.symmetric);
  Tile tile = {{a.a + place.batch * a.batch_a, a.row_a, place.row, a.m, a.k},
               {a.b + place.batch * a.batch_b, a.row_b, place.column, a.n, a.k},
               {}};
  Pipeline<kGemmStages>(tile, shared, (a.k + Tile::kDepth - 1) / Tile::kDepth);
  Finish<kTile>(a, place, tile, shared);
}

template <int kTile>
NL_DEVICE void GemmExact(const GemmArguments& a) {
  NL_DYNAMIC_SHARED(float, shared);
  using Tile = ExactTile<kTile>;
  const GemmPlace place = PlaceOf<kTile>(a.m, a.n, a.symmetric);
  const float* from_a = a.a + place.batch * a.batch_a;
  const float* from_b = a.b + place.batch * a.batch_b;
  Tile tile = Tile::Of(place, from_a, a.row_a, !a.transpose_a, from_b, a.row_b, a.transpose_b, a.m,
                       a.n, a.k);
  Pipeline<kGemmStages>(tile, shared, (a.k + Tile::kDepth - 1) / Tile::kDepth);
  Finish<kTile>(a, place, tile, shared);
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_GEMM_GEMM_INL_CUH_
