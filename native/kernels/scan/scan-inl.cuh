// What the scan's kernels share: a chunk's rows, coefficients and triangles in shared memory, its writes, and products with
// triangles. Equations and names in README.md. Products are by tensor cores where operands may be rounded; substitutions are
// float32 in every form.
#ifndef NESTED_LEARNING_KERNELS_SCAN_SCAN_INL_CUH_
#define NESTED_LEARNING_KERNELS_SCAN_SCAN_INL_CUH_

#include "cuda/block.cuh"
#include "cuda/functions.cuh"
#include "cuda/tile.cuh"
#include "kernels/scan/scan.cuh"

namespace nested_learning {

// A chunk of more than kScanChunk tokens, where its length has no meaning, is computed in pieces of that many.
NL_DEVICE int PiecesOf(const ScanArguments& a) { return (a.chunk + kScanChunk - 1) / kScanChunk; }

// Chunks that states are saved of, and pieces of them all.
NL_DEVICE int SavedChunksOf(const ScanArguments& a) {
  return a.time == 0 ? 0 : (a.phase + a.time + a.chunk - 1) / a.chunk;
}
NL_DEVICE int StateChunksOf(const ScanArguments& a) {
  return a.state_chunks ? a.state_chunks : SavedChunksOf(a);
}
NL_DEVICE int ChunksOf(const ScanArguments& a) {
  if (a.chunk <= kScanChunk) return SavedChunksOf(a);
  return a.time / a.chunk * PiecesOf(a) + (a.time % a.chunk + kScanChunk - 1) / kScanChunk;
}

NL_DEVICE int NextPhaseOf(const ScanArguments& a) { return (a.phase + a.time) % a.chunk; }

// A block's head and value columns.
struct ScanPlace {
  int b, h, first, columns;
  int64_t head;              // b · H + h
  int read_from, low, high;  // column j is read_from + j of reads where low ≤ j < high

  // `block` counts columns, then heads, then batches.
  __device__ __forceinline__ ScanPlace(const ScanArguments& a, int block, int width) {
    const int across = (a.value_dim + width - 1) / width;
    first = block % across * width;
    head = block / across;
    h = static_cast<int>(head % a.heads);
    b = static_cast<int>(head / a.heads);
    columns = min(width, a.value_dim - first);
    read_from = first - a.read_first;
    low = max(0, -read_from);
    high = min(columns, a.read_dim - read_from);
  }

  __device__ __forceinline__ bool Reads() const { return low < high; }

  // The block's columns of a state of its head, or of one that was saved.
  template <typename T>
  __device__ __forceinline__ T* State(const ScanArguments& a, T* of) const {
    return of ? of + head * a.key_dim * a.value_dim + first : nullptr;
  }
  template <typename T>
  __device__ __forceinline__ T* Saved(const ScanArguments& a, T* of, int chunks, int c) const {
    return of ? of + (head * chunks + c) * a.key_dim * a.value_dim + first : nullptr;
  }
};

// A chunk's tokens, or a piece's.
struct ScanTokens {
  int start, count;
  int saved;            // the chunk whose states are saved before its first token; −1 elsewhere
  bool began_before;    // its S_c is given
  int64_t read, write;  // rows of the first token

  __device__ __forceinline__ ScanTokens(const ScanArguments& a, const ScanPlace& place, int c) {
    const int pieces = PiecesOf(a), chunk = c / pieces, piece = c % pieces;
    start = max(0, chunk * a.chunk - a.phase) + piece * kScanChunk;
    count = min(min((chunk + 1) * a.chunk - a.phase, a.time) - start, kScanChunk);
    saved = piece == 0 ? chunk : -1;
    began_before = c == 0 && a.start;
    read = (place.b * a.read_tokens + start) * a.heads + place.h;
    write = (place.b * a.write_tokens + start) * a.heads + place.h;
  }
};

// What of a chunk lies in shared memory.
template <bool kMomentum>
struct ScanShared {
  static constexpr int kColumns = ScanColumns(kMomentum), kW = ScanW(kColumns);
  int keys, row;
  float *k, *q;  // [chunk, row]
  float *s, *p;  // [keys, kW]; p is null without momentum
  float* w;      // [chunk, kW]: U, then W
  float *n, *m;  // [chunk, kScanT]: K Kᵀ and Q Kᵀ, then N and M
  float* coefficients;

  __device__ __forceinline__ ScanShared(float* memory, int key_dim)
      : keys(ScanKeys(key_dim)),
        row(ScanRow(keys)),
        k(memory),
        q(k + kScanChunk * row),
        s(q + kScanChunk * row),
        p(kMomentum ? s + keys * kW : nullptr),
        w(s + keys * kW * (kMomentum ? 2 : 1)),
        n(w + kScanChunk * kW),
        m(n + kScanChunk * kScanT),
        coefficients(m + kScanChunk * kScanT) {}
};

// [rows, columns] ← rows of `from`, zeros beyond `count` rows, where `from` is null, and outside of elements low .. high − 1 of
// a row. Asynchronous.
NL_DEVICE void LoadRows(float* to, int row, int rows, int columns, const float* from,
                        int64_t stride, int count, int low, int high) {
  const bool aligned = low == 0 && stride % 4 == 0 && IsAligned(from, 16);
  // A power of two of threads a row, four elements each.
  const int shift = columns > 64 ? 5 : columns > 32 ? 4 : columns > 16 ? 3 : 2;
  const int d = (static_cast<int>(threadIdx.x) & ((1 << shift) - 1)) * 4;
  if (d >= columns) return;
  if (!from) count = 0;
#pragma unroll 1
  for (int t = static_cast<int>(threadIdx.x) >> shift; t < rows; t += kScanThreads >> shift) {
    float* at = to + t * row + d;
    const float* source = t < count ? from + t * stride + d : from;
    if (aligned) {
      CopyAsync16(at, source, t < count ? 4 * max(0, min(high - d, 4)) : 0);
    } else {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const bool given = t < count && low <= d + e && d + e < high;
        CopyAsync4(at + e, given ? source + e : source, given);
      }
    }
  }
}

// Asks for `count` rows that are copied later. A kernel that goes from chunk to chunk has no room for two of them, but need not
// wait for memory.
NL_DEVICE void PrefetchRows(const float* from, int64_t stride, int count, int columns) {
  constexpr int kLine = 32;
  const int lines = (columns + kLine - 1) / kLine + 1;
  for (int i = static_cast<int>(threadIdx.x); i < count * lines; i += kScanThreads)
    Prefetch(from + i / lines * stride + min(i % lines * kLine, columns - 1));
}

NL_DEVICE void WaitForRows() {
  CopyAsyncCommit();
  CopyAsyncWait<0>();
}

// A chunk's rows of q or of k, from row `first` on.
NL_DEVICE void LoadKeys(float* to, int row, int keys, const float* of, const ScanArguments& a,
                        int64_t first, int count) {
  LoadRows(to, row, kScanChunk, keys, of + first * a.key_dim,
           static_cast<int64_t>(a.heads) * a.key_dim, count, 0, a.key_dim);
}

NL_DEVICE void PrefetchKeys(const float* of, const ScanArguments& a, int64_t first, int count) {
  PrefetchRows(of + first * a.key_dim, static_cast<int64_t>(a.heads) * a.key_dim, count, a.key_dim);
}

// A chunk's rows of u, the block's columns, in rows of ScanW.
NL_DEVICE void LoadTargets(float* to, int row, const ScanArguments& a, const ScanPlace& place,
                           const ScanTokens& tokens) {
  LoadRows(to, row, kScanChunk, row - 8, a.u + tokens.write * a.value_dim + place.first,
           static_cast<int64_t>(a.heads) * a.value_dim, tokens.count, 0, place.columns);
}

NL_DEVICE void PrefetchTargets(const ScanArguments& a, const ScanPlace& place,
                               const ScanTokens& tokens) {
  PrefetchRows(a.u + tokens.write * a.value_dim + place.first,
               static_cast<int64_t>(a.heads) * a.value_dim, tokens.count, place.columns);
}

// Back to rows like u's.
NL_DEVICE void StoreTargets(float* to, const float* from, int row, const ScanArguments& a,
                            const ScanPlace& place, const ScanTokens& tokens) {
  const int columns = row - 8;
  for (int i = static_cast<int>(threadIdx.x); i < tokens.count * columns; i += kScanThreads) {
    const int t = i / columns, j = i % columns;
    if (j < place.columns) {
      to[(tokens.write + static_cast<int64_t>(t) * a.heads) * a.value_dim + place.first + j] =
          from[t * row + j];
    }
  }
}

// The block's columns of a state, which begin at `from` in memory, in rows of ScanW; zeros where that is null.
NL_DEVICE void LoadState(float* to, int row, int keys, const float* from, const ScanArguments& a,
                         const ScanPlace& place) {
  LoadRows(to, row, keys, row - 8, from, a.value_dim, a.key_dim, 0, place.columns);
}

NL_DEVICE void StoreState(float* to, const float* from, int row, const ScanArguments& a,
                          const ScanPlace& place) {
  const int columns = row - 8;
  for (int i = static_cast<int>(threadIdx.x); i < a.key_dim * columns; i += kScanThreads) {
    const int d = i / columns, j = i % columns;
    if (j < place.columns) to[static_cast<int64_t>(d) * a.value_dim + j] = from[d * row + j];
  }
}

// A chunk's gates; a_t, b_t, c_t of t = 0 .. n and G_n, X_n that follow from them; and the factors of rows, those of
// K_s, K_p, Q_s and Q_p.
struct ScanCoefficients {
  float *alpha, *erase, *mu, *theta, *g, *x, *write_s, *write_p, *read_s, *read_p, *a, *b, *c;
  float scale;
  int read_row;  // token t reads with row t + read_row of a and b, if not by the chunk's start
  bool at_start;

  __device__ __forceinline__ ScanCoefficients(float* memory, const ScanArguments& arguments)
      : alpha(memory),
        erase(alpha + kScanChunk),
        mu(erase + kScanChunk),
        theta(mu + kScanChunk),
        g(theta + kScanChunk),
        x(g + kScanChunk),
        write_s(x + kScanChunk),
        write_p(write_s + kScanChunk),
        read_s(write_p + kScanChunk),
        read_p(read_s + kScanChunk),
        a(read_p + kScanChunk),
        b(a + kScanChunk + 4),
        c(b + kScanChunk + 4),
        scale(arguments.scale),
        read_row(arguments.read == CudaScanRead::kAfter ? 1 : 0),
        at_start(arguments.read == CudaScanRead::kChunkStart) {}
};

// Beyond the chunk's tokens nothing decays and nothing is written.
NL_DEVICE void LoadGates(const ScanCoefficients& co, const ScanArguments& a,
                         const ScanTokens& tokens) {
  const int t = static_cast<int>(threadIdx.x);
  if (t >= kScanChunk) return;
  const int64_t gate = tokens.write + static_cast<int64_t>(t) * a.heads;
  const bool given = t < tokens.count;
  co.alpha[t] = given && a.log_alpha ? Exp(a.log_alpha[gate]) : 1.f;
  co.erase[t] = given && a.erase ? a.erase[gate] : 0.f;
  co.mu[t] = given && a.mu ? a.mu[gate] : 1.f;
  co.theta[t] = given && a.theta ? a.theta[gate] : 1.f;
}

// a, b, c and the rows' factors, by one thread.
NL_DEVICE void Recur(const ScanCoefficients& co, const ScanArguments& arguments,
                     const ScanTokens& tokens) {
  const bool frozen_here = arguments.frozen && !tokens.began_before, momentum = arguments.mu;
  float a = 1, b = 0, c = 1;
#pragma unroll 1
  for (int t = 0; t <= kScanChunk; t++) {
    co.a[t] = a;
    co.b[t] = b;
    co.c[t] = c;
    const int reader = t - co.read_row;
    if (0 <= reader && reader < kScanChunk) {
      co.read_s[reader] = co.at_start ? co.scale : co.scale * a;
      co.read_p[reader] = co.scale * b;
    }
    if (t == kScanChunk) break;
    co.write_s[t] = -fmaf(co.erase[t], a, frozen_here ? co.theta[t] : 0.f);
    co.write_p[t] = -co.erase[t] * b;
    if (t < tokens.count) {
      a *= co.alpha[t];
      if (momentum) {
        c *= co.mu[t];
        b = fmaf(co.alpha[t], b, c);
      }
    }
  }
}

// n ← K Kᵀ and m ← Q Kᵀ [chunk, chunk] of those that are not null, tiles of their lower triangles.
template <Rounding kRounding>
NL_DEVICE void PairProducts(float* n, float* m, const float* k, const float* q, int row,
                            int depth) {
#pragma unroll 1
  for (int which = 0; which < 2; which++) {
    float* const out = which ? m : n;
    const float* const rows = which ? q : k;
    if (!out) continue;
    ForTiles(kScanChunk, kScanChunk, [&](int i0, int j0) {
      if (j0 >= i0 + kTileRows) return;
      Tile tile = {};
      Multiply<kRounding>(tile, depth, RowsOfA{rows + i0 * row, row}, RowsOfB{k + j0 * row, row});
      ForElements(tile, [&](int i, int j, float x) { out[(i0 + i) * kScanT + j0 + j] = x; });
    });
  }
}

// From the products, in place, of those that are not null: N_ti = −ε_t G_{t−1,i} ⟨k_t, k_i⟩ for i < t and
// M_ti = scale · G_ρi ⟨q_t, k_i⟩ for i ≤ ρ, a column a thread; and G_n, X_n.
NL_DEVICE void ToTriangles(float* n, float* m, const ScanCoefficients& co, int count,
                           bool momentum) {
  const int i = static_cast<int>(threadIdx.x) % kScanChunk;
  const int which = static_cast<int>(threadIdx.x) / kScanChunk;
  if (which > 1) return;
  float g = 0, x = 0;
#pragma unroll 1
  for (int t = 0; t < kScanChunk; t++) {
    const float before = g;
    if (t < count && t >= i) {
      x = t == i ? 1.f : momentum ? co.mu[t] * x : 0.f;
      g = t == i ? 1.f : fmaf(co.alpha[t], g, x);
    }
    if (which == 0 && n) {
      float* at = &n[t * kScanT + i];
      *at = i < t && t < count ? -co.erase[t] * before * *at : 0.f;
    } else if (which == 1 && m) {
      float* at = &m[t * kScanT + i];
      *at = i < t + co.read_row && t < count ? co.scale * (co.read_row ? g : before) * *at : 0.f;
    }
  }
  if (which == 0) {
    co.g[i] = i < count ? g : 0.f;
    co.x[i] = i < count ? x : 0.f;
  }
}

constexpr int kSolveRows = 16;

// W ← (I − N)⁻¹ W, 16 rows at a time: a column a thread inside of them, then what they leave to the rows below.
NL_DEVICE void SolveLower(const float* n, float* w, int row, int columns) {
#pragma unroll 1
  for (int first = 0; first < kScanChunk; first += kSolveRows) {
    if (static_cast<int>(threadIdx.x) < columns) {
      float x[kSolveRows];
#pragma unroll
      for (int t = 0; t < kSolveRows; t++) {
        x[t] = w[(first + t) * row + threadIdx.x];
#pragma unroll
        for (int i = 0; i < t; i++) x[t] = fmaf(n[(first + t) * kScanT + first + i], x[i], x[t]);
      }
#pragma unroll
      for (int t = 1; t < kSolveRows; t++) w[(first + t) * row + threadIdx.x] = x[t];
    }
    __syncthreads();
    const int below = kScanChunk - first - kSolveRows;
    for (int at = static_cast<int>(threadIdx.x); at < below * columns; at += kScanThreads) {
      const int t = first + kSolveRows + at / columns, j = at % columns;
      float x = w[t * row + j];
#pragma unroll
      for (int i = 0; i < kSolveRows; i++)
        x = fmaf(n[t * kScanT + first + i], w[(first + i) * row + j], x);
      w[t * row + j] = x;
    }
    __syncthreads();
  }
}

// W ← (I − N)⁻ᵀ W, likewise from the last rows up.
NL_DEVICE void SolveUpper(const float* n, float* w, int row, int columns) {
#pragma unroll 1
  for (int first = kScanChunk - kSolveRows; first >= 0; first -= kSolveRows) {
    if (static_cast<int>(threadIdx.x) < columns) {
      float x[kSolveRows];
#pragma unroll
      for (int t = kSolveRows - 1; t >= 0; t--) {
        x[t] = w[(first + t) * row + threadIdx.x];
#pragma unroll
        for (int i = kSolveRows - 1; i > t; i--)
          x[t] = fmaf(n[(first + i) * kScanT + first + t], x[i], x[t]);
      }
#pragma unroll
      for (int t = 0; t < kSolveRows - 1; t++) w[(first + t) * row + threadIdx.x] = x[t];
    }
    __syncthreads();
    for (int at = static_cast<int>(threadIdx.x); at < first * columns; at += kScanThreads) {
      const int t = at / columns, j = at % columns;
      float x = w[t * row + j];
#pragma unroll
      for (int i = 0; i < kSolveRows; i++)
        x = fmaf(n[(first + i) * kScanT + t], w[(first + i) * row + j], x);
      w[t * row + j] = x;
    }
    __syncthreads();
  }
}

// sum += diag(factor) A B, of rows from i0 on that are tokens. The factor is of the sums, so that operands are rounded as they are.
template <Rounding kRounding, typename A, typename B>
NL_DEVICE void MultiplyRows(Tile& sum, int i0, int count, int depth, const float* factor, A a,
                            B b) {
  Tile part = {};
  Multiply<kRounding>(part, depth, a, b);
  AddRows(sum, part, factor + i0, count - i0);
}

// A triangle is multiplied as a triangle: 0 · NaN would carry a NaN from a later token to an earlier one, or back.
//
// sum += rows i0 .. i0 + 15 of T X, with T [chunk, kScanT] for j < i + diagonal.
template <Rounding kRounding, typename X>
NL_DEVICE void MultiplyLower(Tile& sum, int i0, int diagonal, const float* t, X x) {
  const RowsOfA rows = {t + i0 * kScanT, kScanT};
  Multiply<kRounding>(sum, i0, rows, x);
  MultiplyCorner(
      sum, [&](int i, int k) { return k < i + diagonal; },
      [&](int i, int k) { return rows(i, i0 + k); }, [&](int k, int j) { return x(i0 + k, j); });
}

// The same of Tᵀ X.
template <Rounding kRounding, typename X>
NL_DEVICE void MultiplyUpper(Tile& sum, int i0, int diagonal, const float* t, X x) {
  const int after = i0 + kTileRows;
  Multiply<kRounding>(
      sum, kScanChunk - after, [&](int i, int k) { return t[(after + k) * kScanT + i0 + i]; },
      [&](int k, int j) { return x(after + k, j); });
  MultiplyCorner(
      sum, [&](int i, int k) { return i < k + diagonal; },
      [&](int i, int k) { return t[(i0 + k) * kScanT + i0 + i]; },
      [&](int k, int j) { return x(i0 + k, j); });
}

// A matrix in shared or global memory, of which what lies outside is zero.
struct ScanMatrix {
  const float* at;
  int64_t row;
  int rows, columns;

  __device__ __forceinline__ float operator()(int i, int j) const {
    return i < rows && j < columns ? at[i * row + j] : 0.f;
  }
};

NL_DEVICE ScanMatrix ValuesOf(const ScanArguments& a, const ScanTokens& tokens) {
  return {a.values + tokens.write * a.key_dim, static_cast<int64_t>(a.heads) * a.key_dim,
          tokens.count, a.key_dim};
}

// W ← diag(θ) U + K_s S₀ + K_c S_c + K_p P₀ of a block's columns; w holds U, p is null without momentum.
template <Rounding kRounding, int kColumns>
NL_DEVICE void MakeWrites(const ScanArguments& a, const ScanPlace& place, const ScanTokens& tokens,
                          const ScanCoefficients& co, const float* k, const float* s,
                          const float* p, float* w) {
  constexpr int kW = ScanW(kColumns);
  const int keys = ScanKeys(a.key_dim), row = ScanRow(keys);
  const bool began_before = tokens.began_before;
  ForTiles(kScanChunk, kColumns, [&](int i0, int j0) {
    Tile sum = {};
    if (!a.values) {
      ForElements(
          sum, [&](int i, int j, float& x) { x = co.theta[i0 + i] * w[(i0 + i) * kW + j0 + j]; });
    }
#pragma unroll 1
    for (int which = 0; which < (p ? 2 : 1); which++) {
      if (!a.erase && (which || !a.frozen || began_before)) continue;
      const float* state = which ? p : s;
      MultiplyRows<kRounding>(sum, i0, tokens.count, keys, which ? co.write_p : co.write_s,
                              RowsOfA{k + i0 * row, row},
                              [&](int d, int j) { return state[d * kW + j0 + j]; });
    }
    // What S_c takes part in by itself: −diag(θ) K S_c, where it is another state, and diag(θ) V S_c.
    const ScanMatrix start =
        began_before ? ScanMatrix{place.State(a, a.start), a.value_dim, a.key_dim, place.columns}
                     : ScanMatrix{s, kW, keys, kColumns};
#pragma unroll 1
    for (int which = 0; which < 2; which++) {
      if (which ? !a.values : !(a.frozen && began_before)) continue;
      const ScanMatrix rows = which ? ValuesOf(a, tokens) : ScanMatrix{k, row, kScanChunk, keys};
      Tile part = {};
      Multiply<kRounding>(
          part, keys, [&](int i, int d) { return rows(i0 + i, d); },
          [&](int d, int j) { return start(d, j0 + j); });
      ForElements(sum, part, [&](int i, int, float& x, float y) {
        if (i0 + i < tokens.count) x = fmaf(which ? co.theta[i0 + i] : -co.theta[i0 + i], y, x);
      });
    }
    ForElements(sum, [&](int i, int j, float x) { w[(i0 + i) * kW + j0 + j] = x; });
  });
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_SCAN_SCAN_INL_CUH_
