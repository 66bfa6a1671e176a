// The gradients of the states before and after each chunk, from the last chunk to the first, with Y of each.
#ifndef NESTED_LEARNING_KERNELS_SCAN_STATES_INL_CUH_
#define NESTED_LEARNING_KERNELS_SCAN_STATES_INL_CUH_

#include "kernels/scan/scan-inl.cuh"

namespace nested_learning {

// A block keeps its columns of dS and dP in shared memory from the last chunk to the first. In one piece, as it is read from one
// barrier to the next: what stands between two of them may be done in any order.
template <Rounding kRounding, bool kMomentum>
NL_DEVICE void ScanStates(const ScanArguments& a) {
  NL_DYNAMIC_SHARED(float, memory);
  using Shared = ScanShared<kMomentum>;
  constexpr int kColumns = Shared::kColumns, kW = Shared::kW;
  const Shared shared(memory, a.key_dim);
  // s and p hold dS and dP; w holds dO, then Y.
  const ScanPlace place(a, static_cast<int>(blockIdx.x), kColumns);
  const ScanCoefficients co(shared.coefficients, a);
  const int chunks = ChunksOf(a), next_phase = NextPhaseOf(a);
  const bool reads = a.d_o && place.Reads();
  float* const n = a.erase ? shared.n : nullptr;
  float* const m = reads && !co.at_start ? shared.m : nullptr;
  const float* d_next = place.State(a, a.d_next_start);
  float* d_start = place.State(a, a.d_start);
  const auto load_state = [&](float* to, const float* from) {
    LoadState(to, kW, shared.keys, place.State(a, from), a, place);
  };
  const auto store_state = [&](float* to, const float* from) {
    StoreState(to, from, kW, a, place);
  };
  // body(row, column, where it is in a state in global memory) for elements of the block's columns
  const auto for_state = [&](auto body) {
    for (int i = static_cast<int>(threadIdx.x); i < a.key_dim * kColumns; i += kScanThreads) {
      const int d = i / kColumns, j = i % kColumns;
      if (j < place.columns) body(d, j, static_cast<int64_t>(d) * a.value_dim + j);
    }
  };
  // A tile's elements of dS_c, which others of this thread follow.
  const auto add_to_start = [&](const Tile& tile, int i0, int j0) {
    Tile sums = tile;
    ForElements(sums, [&](int i, int j, float& x) {
      if (i0 + i < a.key_dim && j0 + j < place.columns)
        d_start[static_cast<int64_t>(i0 + i) * a.value_dim + j0 + j] += x;
    });
  };

  load_state(shared.s, a.d_s);
  if (kMomentum) load_state(shared.p, a.d_p);
  WaitForRows();
  __syncthreads();
  if (d_next && next_phase == 0)
    for_state([&](int d, int j, int64_t at) { shared.s[d * kW + j] += d_next[at]; });
  if (d_start) {
    const bool continues = d_next && next_phase && chunks <= 1;
    for_state([&](int, int, int64_t at) { d_start[at] = continues ? d_next[at] : 0.f; });
  }

  for (int c = chunks - 1; c >= 0; c--) {
    const ScanTokens tokens(a, place, c);
    const bool frozen_here = a.frozen && !tokens.began_before;
    // Of what the reads at an S_c that is not S₀ take, S₀ has no part.
    const bool reads_state = reads && !(co.at_start && tokens.began_before);
    __syncthreads();
    store_state(place.Saved(a, a.d_states, chunks, c), shared.s);
    if (kMomentum) store_state(place.Saved(a, a.d_momenta, chunks, c), shared.p);
    LoadKeys(shared.k, shared.row, shared.keys, a.k, a, tokens.write, tokens.count);
    LoadKeys(shared.q, shared.row, shared.keys, a.q, a, tokens.read, tokens.count);
    LoadRows(shared.w, kW, kScanChunk, kColumns,
             reads ? a.d_o + tokens.read * a.read_dim + place.read_from : nullptr,
             static_cast<int64_t>(a.heads) * a.read_dim, tokens.count, place.low, place.high);
    LoadGates(co, a, tokens);
    if (c > 0) {
      const ScanTokens next(a, place, c - 1);
      PrefetchKeys(a.k, a, next.write, next.count);
      PrefetchKeys(a.q, a, next.read, next.count);
      if (reads) {
        PrefetchRows(a.d_o + next.read * a.read_dim + place.read_from + place.low,
                     static_cast<int64_t>(a.heads) * a.read_dim, next.count,
                     place.high - place.low);
      }
    }
    WaitForRows();
    __syncthreads();
    if (threadIdx.x == 0) Recur(co, a, tokens);
    PairProducts<kRounding>(n, m, shared.k, shared.q, shared.row, shared.keys);
    __syncthreads();
    ToTriangles(n, m, co, tokens.count, kMomentum);
    __syncthreads();

    // Y before its substitution, K_g dS + K_x dP + Mᵀ dO: a tile a warp, kept until everybody is done with dO.
    constexpr int kAcross = kColumns / kTileColumns;
    static_assert(kScanChunk / kTileRows * kAcross <= kScanThreads / 32, "a tile a warp");
    const int warp = static_cast<int>(threadIdx.x >> 5);
    const int y_row = warp / kAcross * kTileRows, y_column = warp % kAcross * kTileColumns;
    const bool has_tile = y_row < kScanChunk;
    Tile y = {};
    if (has_tile) {
#pragma unroll 1
      for (int which = 0; which < (kMomentum ? 2 : 1); which++) {
        const float* state = which ? shared.p : shared.s;
        MultiplyRows<kRounding>(y, y_row, tokens.count, shared.keys, which ? co.x : co.g,
                                RowsOfA{shared.k + y_row * shared.row, shared.row},
                                [&](int d, int j) { return state[d * kW + y_column + j]; });
      }
      if (m) {
        MultiplyUpper<kRounding>(y, y_row, co.read_row, m,
                                 [&](int t, int j) { return shared.w[t * kW + y_column + j]; });
      }
    }
    __syncthreads();

    // dP ← b_n dS + c_n dP + Q_pᵀ dO, then dS ← a_n dS + Q_sᵀ dO
    const float a_n = co.a[kScanChunk], b_n = co.b[kScanChunk], c_n = co.c[kScanChunk];
    ForTiles(shared.keys, kColumns, [&](int i0, int j0) {
#pragma unroll 1
      for (int which = kMomentum ? 1 : 0; which >= 0; which--) {
        const float* factor = which ? co.read_p : co.read_s;
        Tile read = {};
        if (which ? m != nullptr : reads) {
          Multiply<kRounding>(
              read, kScanChunk,
              [&](int d, int t) { return factor[t] * shared.q[t * shared.row + i0 + d]; },
              [&](int t, int j) { return shared.w[t * kW + j0 + j]; });
        }
        if (which == 0 && reads && !reads_state && d_start) add_to_start(read, i0, j0);
        ForElements(read, [&](int i, int j, float x) {
          const int at = (i0 + i) * kW + j0 + j;
          if (which)
            shared.p[at] = fmaf(b_n, shared.s[at], fmaf(c_n, shared.p[at], x));
          else
            shared.s[at] = fmaf(a_n, shared.s[at], reads_state ? x : 0.f);
        });
      }
    });
    __syncthreads();
    if (has_tile) {
      ForElements(y, [&](int i, int j, float x) { shared.w[(y_row + i) * kW + y_column + j] = x; });
    }
    __syncthreads();
    if (n) SolveUpper(n, shared.w, kW, kColumns);
    StoreTargets(a.y, shared.w, kW, a, place, tokens);

    // dS += K_sᵀ Y, dP += K_pᵀ Y, and dS_c += K_cᵀ Y and (diag(θ) V)ᵀ Y
    ForTiles(shared.keys, kColumns, [&](int i0, int j0) {
      const auto write = [&](int t, int j) { return shared.w[t * kW + j0 + j]; };
#pragma unroll 1
      for (int which = 0; which < (kMomentum ? 2 : 1); which++) {
        if (!a.erase && (which || !frozen_here)) continue;
        const float* factor = which ? co.write_p : co.write_s;
        float* const state = which ? shared.p : shared.s;
        Tile sum = {};
        Multiply<kRounding>(
            sum, kScanChunk,
            [&](int d, int t) { return factor[t] * shared.k[t * shared.row + i0 + d]; }, write);
        ForElements(sum, [&](int i, int j, float x) { state[(i0 + i) * kW + j0 + j] += x; });
      }
#pragma unroll 1
      for (int which = 0; which < 2; which++) {
        if (which ? !a.values : !(a.frozen && tokens.began_before)) continue;
        const ScanMatrix rows =
            which ? ValuesOf(a, tokens) : ScanMatrix{shared.k, shared.row, kScanChunk, shared.keys};
        Tile sum = {};
        Multiply<kRounding>(
            sum, kScanChunk,
            [&](int d, int t) { return (which ? co.theta[t] : -co.theta[t]) * rows(t, i0 + d); },
            write);
        if (!tokens.began_before) {
          ForElements(sum, [&](int i, int j, float x) { shared.s[(i0 + i) * kW + j0 + j] += x; });
        } else if (d_start) {
          add_to_start(sum, i0, j0);
        }
      }
    });
    if (c == chunks - 1 && next_phase && d_next && !tokens.began_before) {
      __syncthreads();
      for_state([&](int d, int j, int64_t at) { shared.s[d * kW + j] += d_next[at]; });
    }
  }
  __syncthreads();
  if (a.d_s0) store_state(place.State(a, a.d_s0), shared.s);
  if (kMomentum && a.d_p0) store_state(place.State(a, a.d_p0), shared.p);
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_SCAN_STATES_INL_CUH_
