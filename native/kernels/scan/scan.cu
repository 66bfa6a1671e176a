// The scan's forward pass, a chunk at a time. A block keeps its columns of S and P in shared memory from the first chunk to the
// last, so that q, k, u and o are all that moves (and the states, where they are saved).
#include "kernels/scan/scan-inl.cuh"

namespace nested_learning {

// O = Q_s S₀ + Q_p P₀ + M W, or scale · Q S_c.
template <Rounding kRounding, bool kMomentum>
NL_DEVICE void Read(const ScanArguments& a, const ScanPlace& place, const ScanTokens& tokens,
                    const ScanCoefficients& co, const ScanShared<kMomentum>& shared) {
  using Shared = ScanShared<kMomentum>;
  const ScanMatrix start{place.State(a, a.start), a.value_dim, a.key_dim, place.columns};
  ForTiles(kScanChunk, Shared::kColumns, [&](int i0, int j0) {
    if (i0 >= tokens.count || j0 >= place.high || j0 + kTileColumns <= place.low) return;
    const RowsOfA query = {shared.q + i0 * shared.row, shared.row};
    Tile sum = {};
    if (co.at_start && tokens.began_before) {
      MultiplyRows<kRounding>(sum, i0, tokens.count, shared.keys, co.read_s, query,
                              [&](int d, int j) { return start(d, j0 + j); });
    } else {
#pragma unroll 1
      for (int which = 0; which < (kMomentum && !co.at_start ? 2 : 1); which++) {
        const float* state = which ? shared.p : shared.s;
        MultiplyRows<kRounding>(sum, i0, tokens.count, shared.keys, which ? co.read_p : co.read_s,
                                query,
                                [&](int d, int j) { return state[d * Shared::kW + j0 + j]; });
      }
    }
    if (!co.at_start) {
      MultiplyLower<kRounding>(sum, i0, co.read_row, shared.m,
                               [&](int i, int j) { return shared.w[i * Shared::kW + j0 + j]; });
    }
    ForElements(sum, [&](int i, int j, float x) {
      if (i0 + i < tokens.count && place.low <= j0 + j && j0 + j < place.high) {
        a.o[(tokens.read + static_cast<int64_t>(i0 + i) * a.heads) * a.read_dim + place.read_from +
            j0 + j] = x;
      }
    });
  });
}

// S ← a_n S + b_n P + K_gᵀ W, then P ← c_n P + K_xᵀ W
template <Rounding kRounding, bool kMomentum>
NL_DEVICE void Advance(const ScanCoefficients& co, const ScanShared<kMomentum>& shared) {
  using Shared = ScanShared<kMomentum>;
  const float a = co.a[kScanChunk], b = co.b[kScanChunk], c = co.c[kScanChunk];
  ForTiles(shared.keys, Shared::kColumns, [&](int i0, int j0) {
#pragma unroll 1
    for (int which = 0; which < (kMomentum ? 2 : 1); which++) {
      const float* factor = which ? co.x : co.g;
      Tile sum = {};
      Multiply<kRounding>(
          sum, kScanChunk,
          [&](int d, int t) { return factor[t] * shared.k[t * shared.row + i0 + d]; },
          [&](int t, int j) { return shared.w[t * Shared::kW + j0 + j]; });
      ForElements(sum, [&](int i, int j, float x) {
        const int at = (i0 + i) * Shared::kW + j0 + j;
        if (which) {
          shared.p[at] = fmaf(c, shared.p[at], x);
        } else {
          if (kMomentum) x = fmaf(b, shared.p[at], x);
          shared.s[at] = fmaf(a, shared.s[at], x);
        }
      });
    }
  });
}

template <Rounding kRounding, bool kMomentum>
NL_DEVICE void ScanForward(const ScanArguments& a) {
  NL_DYNAMIC_SHARED(float, memory);
  using Shared = ScanShared<kMomentum>;
  const Shared shared(memory, a.key_dim);
  const ScanPlace place(a, static_cast<int>(blockIdx.x), Shared::kColumns);
  const ScanCoefficients co(shared.coefficients, a);
  const int chunks = ChunksOf(a), saved_chunks = StateChunksOf(a), next_phase = NextPhaseOf(a);
  float *const n = a.erase ? shared.n : nullptr, *const m = co.at_start ? nullptr : shared.m;
  const auto load_state = [&](float* to, const float* from) {
    LoadState(to, Shared::kW, shared.keys, place.State(a, from), a, place);
  };
  const auto store_state = [&](float* to, const float* from) {
    StoreState(to, from, Shared::kW, a, place);
  };
  const auto load_queries = [&](const ScanTokens& tokens) {
    LoadKeys(shared.q, shared.row, shared.keys, a.q, a, tokens.read, tokens.count);
  };
  // S_c of the chunk that the next token is of is still the first one's.
  const auto keep_start = [&] {
    const float* from = place.State(a, a.start);
    float* to = place.State(a, a.next_start);
    for (int i = static_cast<int>(threadIdx.x); i < a.key_dim * place.columns; i += kScanThreads) {
      const int64_t at = static_cast<int64_t>(i / place.columns) * a.value_dim + i % place.columns;
      to[at] = from[at];
    }
  };

  load_state(shared.s, a.s0);
  if (kMomentum) load_state(shared.p, a.p0);
  if (chunks) load_queries(ScanTokens(a, place, 0));
  WaitForRows();
  for (int c = 0; c < chunks; c++) {
    const ScanTokens tokens(a, place, c);
    __syncthreads();
    if (a.states && tokens.saved >= 0) {
      store_state(place.Saved(a, a.states, saved_chunks, tokens.saved), shared.s);
      if (kMomentum) store_state(place.Saved(a, a.momenta, saved_chunks, tokens.saved), shared.p);
    }
    if (a.next_start && c == chunks - 1 && next_phase && !tokens.began_before)
      store_state(place.State(a, a.next_start), shared.s);
    LoadKeys(shared.k, shared.row, shared.keys, a.k, a, tokens.write, tokens.count);
    if (!a.values) LoadTargets(shared.w, Shared::kW, a, place, tokens);
    LoadGates(co, a, tokens);
    if (c + 1 < chunks) {
      const ScanTokens next(a, place, c + 1);
      PrefetchKeys(a.k, a, next.write, next.count);
      PrefetchKeys(a.q, a, next.read, next.count);
      if (!a.values) PrefetchTargets(a, place, next);
    }
    WaitForRows();
    __syncthreads();

    if (threadIdx.x == 0) Recur(co, a, tokens);
    PairProducts<kRounding>(n, m, shared.k, shared.q, shared.row, shared.keys);
    __syncthreads();

    MakeWrites<kRounding, Shared::kColumns>(a, place, tokens, co, shared.k, shared.s, shared.p,
                                            shared.w);
    ToTriangles(n, m, co, tokens.count, kMomentum);
    __syncthreads();
    if (a.erase) SolveLower(shared.n, shared.w, Shared::kW, Shared::kColumns);

    if (place.Reads()) Read<kRounding, kMomentum>(a, place, tokens, co, shared);
    __syncthreads();
    // The next chunk's come while the states are written.
    if (c + 1 < chunks) load_queries(ScanTokens(a, place, c + 1));
    Advance<kRounding, kMomentum>(co, shared);
  }
  __syncthreads();
  store_state(place.State(a, a.s), shared.s);
  if (kMomentum) store_state(place.State(a, a.p), shared.p);
  if (!a.next_start) return;
  if (next_phase == 0)
    store_state(place.State(a, a.next_start), shared.s);
  else if (chunks <= 1 && a.start)
    keep_start();
}

// W of every chunk by itself, from the states before it, for the backward pass.
template <Rounding kRounding>
NL_DEVICE void ScanWrites(const ScanArguments& a) {
  NL_DYNAMIC_SHARED(float, memory);
  constexpr int kColumns = kScanWritesColumns, kW = ScanW(kColumns);
  const int keys = ScanKeys(a.key_dim), row = ScanRow(keys);
  float *k = memory, *s = k + kScanChunk * row, *p = a.mu ? s + keys * kW : nullptr;
  float* w = s + keys * kW * (a.mu ? 2 : 1);
  float* n = w + kScanChunk * kW;
  const ScanCoefficients co(n + kScanChunk * kScanT, a);
  const int blocks = ScanBlocks(a.batch * a.heads, a.value_dim, kColumns);
  const int c = static_cast<int>(blockIdx.x) / blocks;
  const ScanPlace place(a, static_cast<int>(blockIdx.x) % blocks, kColumns);
  const ScanTokens tokens(a, place, c);

  LoadKeys(k, row, keys, a.k, a, tokens.write, tokens.count);
  LoadState(s, kW, keys, place.Saved(a, a.states, StateChunksOf(a), c), a, place);
  if (p) LoadState(p, kW, keys, place.Saved(a, a.momenta, StateChunksOf(a), c), a, place);
  if (!a.values) LoadTargets(w, kW, a, place, tokens);
  LoadGates(co, a, tokens);
  WaitForRows();
  __syncthreads();
  if (threadIdx.x == 0) Recur(co, a, tokens);
  if (a.erase) PairProducts<kRounding>(n, nullptr, k, nullptr, row, keys);
  __syncthreads();
  MakeWrites<kRounding, kColumns>(a, place, tokens, co, k, s, p, w);
  if (a.erase) ToTriangles(n, nullptr, co, tokens.count, a.mu);
  __syncthreads();
  if (a.erase) SolveLower(n, w, kW, kColumns);
  StoreTargets(a.w, w, kW, a, place, tokens);
}

}  // namespace nested_learning

using namespace nested_learning;

NL_KERNEL_IN_EACH_ROUNDING(nl_scan_forward, kScanThreads, ScanArguments, ScanForward, false)
NL_KERNEL_IN_EACH_ROUNDING(nl_scan_forward_momentum, kScanThreads, ScanArguments, ScanForward, true)
NL_KERNEL_IN_EACH_ROUNDING(nl_scan_writes, kScanThreads, ScanArguments, ScanWrites)
