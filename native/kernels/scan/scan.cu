// The scan's forward pass without momentum, a chunk at a time; equations and names in README.md. A block keeps its columns of
// S in shared memory from the first chunk to the last, so that q, k, u and o are all that moves (and the states, where they
// are saved). Products are by tensor cores where operands may be rounded; the triangular solve is float32 in every form.
#include "cuda/functions.cuh"
#include "cuda/tile.cuh"
#include "kernels/scan/scan.cuh"

namespace nested_learning {

constexpr int kScanT = ScanRow(kScanChunk);

// What of a chunk lies in shared memory.
struct ScanShared {
  float *k, *q;                  // [chunk, row]
  float* s;                      // [keys, kScanW]
  float* w;                      // [chunk, kScanW]: U, then W
  float *n, *m;                  // [chunk, kScanT]: K Kᵀ and Q Kᵀ, then N and M
  float *alpha, *erase, *theta;  // [chunk]
  float* kept;                   // a_0 .. a_n
  float* last;                   // G_n [chunk]
  int row, keys;

  __device__ __forceinline__ ScanShared(float* memory, int key_dim) {
    keys = (key_dim + 15) / 16 * 16;
    row = ScanRow(keys);
    k = memory;
    q = k + kScanChunk * row;
    s = q + kScanChunk * row;
    w = s + keys * kScanW;
    n = w + kScanChunk * kScanW;
    m = n + kScanChunk * kScanT;
    alpha = m + kScanChunk * kScanT;
    erase = alpha + kScanChunk;
    theta = erase + kScanChunk;
    last = theta + kScanChunk;
    kept = last + kScanChunk;
  }
};

// rows [chunk, columns] ← rows of a token each, zeros beyond `count` rows and `given` columns
NL_DEVICE void LoadRows(float* to, int row, int columns, const float* from, int64_t stride,
                        int count, int given) {
  for (int i = static_cast<int>(threadIdx.x); i < kScanChunk * columns; i += kScanThreads) {
    const int t = i / columns, d = i % columns;
    to[t * row + d] = t < count && d < given ? from[t * stride + d] : 0.f;
  }
}

template <typename Shared>
NL_DEVICE void StoreState(float* to, const Shared& shared, int key_dim, int value_dim,
                          int columns) {
  for (int i = static_cast<int>(threadIdx.x); i < key_dim * kScanColumns; i += kScanThreads) {
    const int d = i / kScanColumns, j = i % kScanColumns;
    if (j < columns) to[static_cast<int64_t>(d) * value_dim + j] = shared.s[d * kScanW + j];
  }
}

// N_ti = −ε_t G_{t−1,i} ⟨k_t, k_i⟩ for i < t, M_ti = scale · G_ρi ⟨q_t, k_i⟩ for i ≤ ρ, in place, a column a thread; and G_n.
NL_DEVICE void ToTriangles(const ScanShared& shared, const ScanArguments& a, int count) {
  const int i = static_cast<int>(threadIdx.x) % kScanChunk;
  const int which = static_cast<int>(threadIdx.x) / kScanChunk;
  if (which > 1) return;
  float g = 0;
  for (int t = 0; t < kScanChunk; t++) {
    const float before = g;
    if (t < count) g = t == i ? 1.f : shared.alpha[t] * g;
    if (which == 0) {
      float* at = &shared.n[t * kScanT + i];
      *at = i < t && t < count ? -shared.erase[t] * before * *at : 0.f;
    } else {
      float* at = &shared.m[t * kScanT + i];
      const bool after = a.read == CudaScanRead::kAfter;
      *at = (after ? i <= t : i < t) && t < count ? a.scale * (after ? g : before) * *at : 0.f;
    }
  }
  if (which == 0) shared.last[i] = i < count ? g : 0.f;
}

// W ← (I − N)⁻¹ W, 16 rows at a time: a column a thread inside of them, then what they leave to the rows below.
NL_DEVICE void Solve(const ScanShared& shared) {
  constexpr int kRows = 16;
  for (int first = 0; first < kScanChunk; first += kRows) {
    if (threadIdx.x < kScanColumns) {
      float x[kRows];
#pragma unroll
      for (int t = 0; t < kRows; t++) {
        x[t] = shared.w[(first + t) * kScanW + threadIdx.x];
#pragma unroll
        for (int i = 0; i < t; i++)
          x[t] = fmaf(shared.n[(first + t) * kScanT + first + i], x[i], x[t]);
      }
#pragma unroll
      for (int t = 1; t < kRows; t++) shared.w[(first + t) * kScanW + threadIdx.x] = x[t];
    }
    __syncthreads();
    const int below = kScanChunk - first - kRows;
    for (int at = static_cast<int>(threadIdx.x); at < below * kScanColumns; at += kScanThreads) {
      const int t = first + kRows + at / kScanColumns, j = at % kScanColumns;
      float x = shared.w[t * kScanW + j];
#pragma unroll
      for (int i = 0; i < kRows; i++)
        x = fmaf(shared.n[t * kScanT + first + i], shared.w[(first + i) * kScanW + j], x);
      shared.w[t * kScanW + j] = x;
    }
    __syncthreads();
  }
}

template <Rounding kRounding>
NL_DEVICE void ScanForward(const ScanArguments& a) {
  NL_DYNAMIC_SHARED(float, memory);
  const ScanShared shared(memory, a.key_dim);
  const int across = (a.value_dim + kScanColumns - 1) / kScanColumns;
  const int first = static_cast<int>(blockIdx.x) % across * kScanColumns;
  const int h = static_cast<int>(blockIdx.x) / across % a.heads;
  const int b = static_cast<int>(blockIdx.x) / across / a.heads;
  const int columns = min(kScanColumns, a.value_dim - first);
  const int64_t state = static_cast<int64_t>(a.key_dim) * a.value_dim;
  const int64_t head = (static_cast<int64_t>(b) * a.heads + h) * state + first;
  const int64_t key_stride = static_cast<int64_t>(a.heads) * a.key_dim;
  const int64_t value_stride = static_cast<int64_t>(a.heads) * a.value_dim;
  const int chunks = (a.time + a.chunk - 1) / a.chunk;
  const bool writes_read_state = a.erase || a.frozen;

  for (int i = static_cast<int>(threadIdx.x); i < shared.keys * kScanColumns; i += kScanThreads) {
    const int d = i / kScanColumns, j = i % kScanColumns;
    shared.s[d * kScanW + j] = a.s0 && d < a.key_dim && j < columns
                                   ? a.s0[head + static_cast<int64_t>(d) * a.value_dim + j]
                                   : 0.f;
  }

  for (int c = 0; c < chunks; c++) {
    const int start = c * a.chunk, count = min(a.chunk, a.time - start);
    const int64_t token = (static_cast<int64_t>(b) * a.time + start) * a.heads + h;
    __syncthreads();
    if (a.states) {
      StoreState(a.states + ((static_cast<int64_t>(b) * a.heads + h) * chunks + c) * state + first,
                 shared, a.key_dim, a.value_dim, columns);
    }
    if (a.chunk_start && c == chunks - 1 && count < a.chunk)
      StoreState(a.chunk_start + head, shared, a.key_dim, a.value_dim, columns);
    LoadRows(shared.k, shared.row, shared.keys, a.k + token * a.key_dim, key_stride, count,
             a.key_dim);
    LoadRows(shared.q, shared.row, shared.keys, a.q + token * a.key_dim, key_stride, count,
             a.key_dim);
    LoadRows(shared.w, kScanW, kScanColumns, a.u + token * a.value_dim + first, value_stride, count,
             columns);
    if (threadIdx.x < kScanChunk) {
      const int t = static_cast<int>(threadIdx.x);
      const int64_t gate = token + static_cast<int64_t>(t) * a.heads;
      const bool given = t < count;
      shared.alpha[t] = given && a.log_alpha ? Exp(a.log_alpha[gate]) : 1.f;
      shared.erase[t] = given && a.erase ? a.erase[gate] : 0.f;
      shared.theta[t] = given && a.theta ? a.theta[gate] : 1.f;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      float kept = 1;
      shared.kept[0] = kept;
      for (int t = 0; t < kScanChunk; t++) {
        kept *= shared.alpha[t];
        shared.kept[t + 1] = kept;
      }
    }

    const auto key = [&](int t, int d) { return shared.k[t * shared.row + d]; };
    const auto query = [&](int t, int d) { return shared.q[t * shared.row + d]; };
    if (a.erase) {
      ForTiles(kScanChunk, kScanChunk, [&](int row, int column) {
        if (column >= row + kTileRows) return;
        Tile tile = {};
        Multiply<kRounding>(
            tile, shared.keys, [&](int i, int d) { return key(row + i, d); },
            [&](int d, int j) { return key(column + j, d); });
        ForElements(tile,
                    [&](int i, int j, float x) { shared.n[(row + i) * kScanT + column + j] = x; });
      });
    }
    if (a.read != CudaScanRead::kChunkStart) {
      ForTiles(kScanChunk, kScanChunk, [&](int row, int column) {
        if (column >= row + kTileRows) return;
        Tile tile = {};
        Multiply<kRounding>(
            tile, shared.keys, [&](int i, int d) { return query(row + i, d); },
            [&](int d, int j) { return key(column + j, d); });
        ForElements(tile,
                    [&](int i, int j, float x) { shared.m[(row + i) * kScanT + column + j] = x; });
      });
    }
    __syncthreads();

    // W = diag(θ) U − diag(ε_t a_{t−1} + [L2] θ_t) K S₀
    ForTiles(kScanChunk, kScanColumns, [&](int row, int column) {
      Tile tile = {};
      if (writes_read_state) {
        Multiply<kRounding>(
            tile, shared.keys, [&](int i, int d) { return key(row + i, d); },
            [&](int d, int j) { return shared.s[d * kScanW + column + j]; });
      }
      ForElements(tile, [&](int i, int j, float x) {
        const int t = row + i;
        const float theta = shared.theta[t];
        float* w = &shared.w[t * kScanW + column + j];
        const float given = theta * *w;
        const float factor = fmaf(shared.erase[t], shared.kept[t], a.frozen ? theta : 0.f);
        *w = writes_read_state && t < count ? fmaf(-factor, x, given) : given;
      });
    });
    ToTriangles(shared, a, count);
    __syncthreads();
    if (a.erase) Solve(shared);

    // O = scale diag(a_ρ) Q S₀ + M W. The triangle's corner is multiplied as one: 0 · NaN would carry a NaN back to earlier
    // tokens.
    ForTiles(kScanChunk, kScanColumns, [&](int row, int column) {
      if (row >= count) return;
      Tile tile = {};
      Multiply<kRounding>(
          tile, shared.keys, [&](int i, int d) { return query(row + i, d); },
          [&](int d, int j) { return shared.s[d * kScanW + column + j]; });
      ForElements(tile, [&](int i, int, float& x) {
        const int read = a.read == CudaScanRead::kAfter    ? row + i + 1
                         : a.read == CudaScanRead::kBefore ? row + i
                                                           : 0;
        x *= a.scale * shared.kept[read];
      });
      if (a.read != CudaScanRead::kChunkStart) {
        Multiply<kRounding>(
            tile, row, [&](int i, int t) { return shared.m[(row + i) * kScanT + t]; },
            [&](int t, int j) { return shared.w[t * kScanW + column + j]; });
        ForElements(tile, [&](int i, int j, float& x) {
          const int end = a.read == CudaScanRead::kAfter ? i + 1 : i;
          for (int t = 0; t < end; t++) {
            x = fmaf(shared.m[(row + i) * kScanT + row + t],
                     shared.w[(row + t) * kScanW + column + j], x);
          }
        });
      }
      ForElements(tile, [&](int i, int j, float x) {
        if (row + i < count && column + j < columns)
          a.o[(token + static_cast<int64_t>(row + i) * a.heads) * a.value_dim + first + column +
              j] = x;
      });
    });
    __syncthreads();

    // S ← a_n S + (diag(G_n) K)ᵀ W
    ForTiles(shared.keys, kScanColumns, [&](int row, int column) {
      Tile tile;
      ForElements(tile, [&](int i, int j, float& x) {
        x = shared.kept[kScanChunk] * shared.s[(row + i) * kScanW + column + j];
      });
      Multiply<kRounding>(
          tile, kScanChunk, [&](int d, int t) { return shared.last[t] * key(t, row + d); },
          [&](int t, int j) { return shared.w[t * kScanW + column + j]; });
      ForElements(tile,
                  [&](int i, int j, float x) { shared.s[(row + i) * kScanW + column + j] = x; });
    });
  }
  __syncthreads();
  StoreState(a.s + head, shared, a.key_dim, a.value_dim, columns);
  if (a.chunk_start && (chunks == 0 || a.time % a.chunk == 0))
    StoreState(a.chunk_start + head, shared, a.key_dim, a.value_dim, columns);
}

}  // namespace nested_learning

using namespace nested_learning;

extern "C" __global__ void __launch_bounds__(kScanThreads)
    nl_scan_forward_float32(const __grid_constant__ ScanArguments a) {
  ScanForward<Rounding::kNone>(a);
}
NL_KERNEL(nl_scan_forward_float32)

extern "C" __global__ void __launch_bounds__(kScanThreads)
    nl_scan_forward_tf32(const __grid_constant__ ScanArguments a) {
  ScanForward<Rounding::kTf32>(a);
}
NL_KERNEL(nl_scan_forward_tf32)

extern "C" __global__ void __launch_bounds__(kScanThreads)
    nl_scan_forward_bf16(const __grid_constant__ ScanArguments a) {
  ScanForward<Rounding::kBf16>(a);
}
NL_KERNEL(nl_scan_forward_bf16)
