// The scan's backward pass, after W of every chunk is there (scan.cu): the states' gradients from the last chunk to the first,
// with Y of each; then the tokens' gradients of every chunk by itself.
#include "kernels/scan/scan-inl.cuh"

namespace nested_learning {

// A block keeps its columns of dS and dP in shared memory from the last chunk to the first.
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

// States that a chunk's tokens are multiplied with: dS and dP after it, S and P before it, and S_c where it is another one.
enum ScanState { kLeftS, kLeftP, kBeforeS, kBeforeP, kStart, kScanStates };

// Row sums over keys: ⟨v, k⟩, ⟨v', k⟩, κ, κ', ⟨r, q⟩, ⟨r', q⟩, and what of dθ comes through S_c.
enum ScanDot { kDotV, kDotVp, kDotZ, kDotZp, kDotR, kDotRp, kDotTheta, kScanDots };

template <Rounding kRounding>
struct ScanTokenBlock {
  static constexpr int kColumns = kScanTokensColumns, kW = ScanRow(kColumns);
  static constexpr int kAcross = kScanMaxKeyDim / kTileColumns;
  static constexpr int kOwned = 2;
  static_assert(kScanChunk / kTileRows * kAcross == kOwned * (kScanThreads / 32));

  const ScanArguments& a;
  const int chunks, c;
  const ScanPlace place;  // of all value columns
  const ScanTokens tokens;
  const int keys, row;
  float *const k, *const q;                           // [chunk, row]
  float *const y, *const w, *const d_o, *const left;  // [chunk, kW]; left [keys, kW]
  float *const kk, *const qk;  // [chunk, kScanT], in their place when they are done with
  float* const right;          // [keys, kW]
  float *const yw, *const ow;  // [chunk, kScanT], likewise
  const ScanCoefficients co;
  float* const dots;                    // [kScanDots][kAcross][chunk]
  float *const of_alpha, *const of_mu;  // [chunk]
  float* const sums;                    // a float for each warp, three times
  const bool erases, frozen_here, momentum, reads, sees_writes;

  Tile dk[kOwned], dq[kOwned], write_products, read_products;
  float state_dots[3];  // ⟨dS, S⟩, ⟨dS, P⟩, ⟨dP, P⟩

  __device__ __forceinline__ ScanTokenBlock(const ScanArguments& a, float* memory)
      : a(a),
        chunks(ChunksOf(a)),
        c(static_cast<int>(blockIdx.x) / (a.batch * a.heads)),
        place(a, static_cast<int>(blockIdx.x) % (a.batch * a.heads), a.value_dim),
        tokens(a, place, c),
        keys((a.key_dim + 31) / 32 * 32),
        row(ScanRow(keys)),
        k(memory),
        q(k + kScanChunk * row),
        y(q + kScanChunk * row),
        w(y + kScanChunk * kW),
        d_o(w + kScanChunk * kW),
        left(d_o + kScanChunk * kW),
        kk(y),
        qk(kk + kScanChunk * kScanT),
        right(y + max((3 * kScanChunk + keys) * kW, 2 * kScanChunk * kScanT)),
        yw(right),
        ow(yw + kScanChunk * kScanT),
        co(ow + kScanChunk * kScanT, a),
        dots(ow + kScanChunk * kScanT + kScanCoefficients),
        of_alpha(dots + kScanDots * kAcross * kScanChunk),
        of_mu(of_alpha + kScanChunk),
        sums(of_mu + kScanChunk),
        erases(a.erase),
        frozen_here(a.frozen && !tokens.began_before),
        momentum(a.mu),
        reads(a.d_o),
        sees_writes(a.d_o && !co.at_start),
        dk{},
        dq{},
        write_products{},
        read_products{},
        state_dots{} {}

  // The first row and column of this warp's r-th tile of [chunk, keys]; the row is beyond the chunk where there is none. Its sums
  // are in registers, so each use of them by `r` is a branch; the products stand in the code once.
  __device__ __forceinline__ void Owned(int r, int* i0, int* d0) const {
    const int across = keys / kTileColumns;
    const int tile = static_cast<int>(threadIdx.x >> 5) + r * (kScanThreads / 32);
    *i0 = tile / across * kTileRows;
    *d0 = tile % across * kTileColumns;
  }

  // Where a token's row of Dk elements stands.
  __device__ __forceinline__ int64_t KeyRow(int64_t first, int t) const {
    return (first + static_cast<int64_t>(t) * a.heads) * a.key_dim;
  }

  __device__ __forceinline__ bool Needs(int state) const {
    switch (state) {
      case kLeftS:
        return true;
      case kLeftP:
        return momentum;
      case kBeforeS:
        return erases || frozen_here || (reads && !(co.at_start && tokens.began_before)) ||
               (a.values && !tokens.began_before);
      case kBeforeP:
        return momentum && (erases || sees_writes);
      default:
        return tokens.began_before;
    }
  }

  __device__ __forceinline__ int NextState(int state) const {
    do state++;
    while (state < kScanStates && !Needs(state));
    return state;
  }

  __device__ __forceinline__ const float* State(int state) const {
    switch (state) {
      case kLeftS:
        return place.Saved(a, static_cast<const float*>(a.d_states), chunks, c);
      case kLeftP:
        return place.Saved(a, static_cast<const float*>(a.d_momenta), chunks, c);
      case kBeforeS:
        return place.Saved(a, static_cast<const float*>(a.states), StateChunksOf(a), c);
      case kBeforeP:
        return place.Saved(a, static_cast<const float*>(a.momenta), StateChunksOf(a), c);
      default:
        return place.State(a, a.start);
    }
  }

  __device__ __forceinline__ void LoadColumns(float* to, int state, int j0) const {
    LoadRows(to, kW, keys, kColumns, State(state) + j0, a.value_dim, a.key_dim, 0,
             min(kColumns, a.value_dim - j0));
  }

  // ⟨of what is in shared memory, of another⟩ over these columns.
  __device__ __forceinline__ float StateDot(const float* state, int other, int j0) const {
    const float* with = State(other) + j0;
    const int columns = min(kColumns, a.value_dim - j0);
    float sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < a.key_dim * kColumns; i += kScanThreads) {
      const int d = i / kColumns, j = i % kColumns;
      if (j < columns)
        sum = fmaf(state[d * kW + j], with[static_cast<int64_t>(d) * a.value_dim + j], sum);
    }
    return sum;
  }

  // dots[dot] += Σ_d x_td of(t, d) over a tile's columns
  template <typename Of>
  __device__ __forceinline__ void AddDot(int dot, const Tile& tile, int i0, int j0, Of of) const {
    const int g = LaneOfWarp() >> 2, lane = LaneOfWarp() & 3;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int t = i0 + g + half * 8;
      float sum = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        sum = fmaf(tile.c[j][half * 2], of(t, j0 + j * 8 + 2 * lane), sum);
        sum = fmaf(tile.c[j][half * 2 + 1], of(t, j0 + j * 8 + 2 * lane + 1), sum);
      }
      for (int other = 1; other < 4; other *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, other);
      if (lane == 0) dots[(dot * kAcross + j0 / kTileColumns) * kScanChunk + t] += sum;
    }
  }

  __device__ __forceinline__ float Dot(int dot, int t) const {
    float sum = 0;
    for (int i = 0; i < keys / kTileColumns; i++) sum += dots[(dot * kAcross + i) * kScanChunk + t];
    return sum;
  }

  // Z = Y S_cᵀ: dv = diag(θ) Z, and dθ's part ⟨z, v − [frozen] k⟩.
  __device__ __forceinline__ void AddStart(const Tile& z, int i0, int j0, bool is_first) const {
    const ScanMatrix values = ValuesOf(a, tokens);
    AddDot(kDotTheta, z, i0, j0, [&](int t, int d) {
      return (a.values ? values(t, d) : 0.f) - (a.frozen ? k[t * row + d] : 0.f);
    });
    if (!a.d_values) return;
    Tile rows = z;
    ForElements(rows, [&](int i, int j, float x) {
      const int t = i0 + i, d = j0 + j;
      if (t >= tokens.count || d >= a.key_dim) return;
      float* at = &a.d_values[KeyRow(tokens.write, t) + d];
      *at = fmaf(co.theta[t], x, is_first ? 0.f : *at);
    });
  }

  // sums[which] += sign · diag(factor) tile
  __device__ __forceinline__ void AddToOwned(Tile (&sums)[kOwned], int which, Tile& tile,
                                             const float* factor, float sign, int i0) const {
    ForElements(tile, [&](int, int, float& x) { x *= sign; });
    if (which)
      AddRows(sums[1], tile, factor + i0, tokens.count - i0);
    else
      AddRows(sums[0], tile, factor + i0, tokens.count - i0);
  }

  // What these columns of a state add to dk, by way of the writes, and to dq.
  __device__ __forceinline__ void AddState(int which, const float* state, int j0) {
    const bool left = which == kLeftS || which == kLeftP;
    const bool is_start = which == kStart || (which == kBeforeS && !tokens.began_before);
    const bool writes_start = is_start && (a.frozen || a.values);
    const bool writes = left || writes_start || (which != kStart && erases);
    const bool read = !left && (sees_writes ? which != kStart : reads && is_start);
    const int dot = which == kLeftS   ? kDotV
                    : which == kLeftP ? kDotVp
                    : which == kStart ? -1
                                      : (which == kBeforeS ? kDotZ : kDotZp);
    const float* const factor = which == kLeftS     ? co.g
                                : which == kLeftP   ? co.x
                                : which == kBeforeS ? co.write_s
                                : which == kBeforeP ? co.write_p
                                                    : co.theta;
    const float* const read_factor = which == kBeforeP ? co.read_p : co.read_s;
#pragma unroll 1
    for (int r = 0; r < kOwned; r++) {
      int i0, d0;
      Owned(r, &i0, &d0);
      if (i0 >= kScanChunk) break;
#pragma unroll 1
      for (int of_reads = writes ? 0 : 1; of_reads < (read ? 2 : 1); of_reads++) {
        const float* const rows = of_reads ? d_o : left ? w : y;
        const float* const with = of_reads ? q : k;
        Tile x = {};
        Multiply<kRounding>(x, kColumns, RowsOfA{rows + i0 * kW, kW}, RowsOfB{state + d0 * kW, kW});
        const int sums = of_reads ? (!sees_writes ? -1 : which == kBeforeS ? kDotR : kDotRp) : dot;
        if (sums >= 0) AddDot(sums, x, i0, d0, [&](int t, int d) { return with[t * row + d]; });
        if (!of_reads && writes_start) AddStart(x, i0, d0, j0 == 0);
        // Of the start, K_c's factor is −θ.
        if (of_reads) {
          AddToOwned(dq, r, x, read_factor, 1, i0);
        } else if (which != kStart || a.frozen) {
          AddToOwned(dk, r, x, factor, which == kStart ? -1 : 1, i0);
        }
      }
    }
  }

  // dq, dk and the row sums as far as they come through states; Y Wᵀ and dO Wᵀ; dU and its part of dθ.
  __device__ __forceinline__ void ThroughStates() {
    const int64_t value_stride = static_cast<int64_t>(a.heads) * a.value_dim;
    const int warp = static_cast<int>(threadIdx.x >> 5), lane = LaneOfWarp();
    const int i0 = warp / 2 * kTileRows, pair0 = warp % 2 * kTileColumns;
    constexpr int kRows = kScanChunk / (kScanThreads / 32);
    float d_theta[kRows] = {};
    for (int i = static_cast<int>(threadIdx.x); i < kScanDots * kAcross * kScanChunk;
         i += kScanThreads)
      dots[i] = 0;
    for (int j0 = 0; j0 < a.value_dim; j0 += kColumns) {
      const int columns = min(kColumns, a.value_dim - j0), from = j0 - a.read_first;
      const int64_t rows = tokens.write * a.value_dim + j0;
      __syncthreads();
      LoadRows(y, kW, kScanChunk, kColumns, a.y + rows, value_stride, tokens.count, 0, columns);
      LoadRows(w, kW, kScanChunk, kColumns, a.w + rows, value_stride, tokens.count, 0, columns);
      LoadRows(d_o, kW, kScanChunk, kColumns,
               reads ? a.d_o + tokens.read * a.read_dim + from : nullptr,
               static_cast<int64_t>(a.heads) * a.read_dim, tokens.count, max(0, -from),
               min(columns, a.read_dim - from));
      float *here = left, *next = right;
      LoadColumns(here, kLeftS, j0);
      CopyAsyncCommit();
      for (int state = kLeftS; state < kScanStates;) {
        // The next one comes while this one is multiplied.
        const int following = NextState(state);
        if (following < kScanStates) LoadColumns(next, following, j0);
        CopyAsyncCommit();
        CopyAsyncWait<1>();
        __syncthreads();
        if (state == kLeftS) {
          state_dots[0] += StateDot(here, kBeforeS, j0);
          if (momentum) state_dots[1] += StateDot(here, kBeforeP, j0);
        } else if (state == kLeftP) {
          state_dots[2] += StateDot(here, kBeforeP, j0);
        }
        AddState(state, here, j0);
        __syncthreads();
        float* const swapped = here;
        here = next;
        next = swapped;
        state = following;
      }

      if (pair0 < i0 + kTileRows) {
        const RowsOfB write = {w + pair0 * kW, kW};
        if (erases) Multiply<kRounding>(write_products, kColumns, RowsOfA{y + i0 * kW, kW}, write);
        if (sees_writes)
          Multiply<kRounding>(read_products, kColumns, RowsOfA{d_o + i0 * kW, kW}, write);
      }
      if (a.values) continue;
#pragma unroll
      for (int r = 0; r < kRows; r++) {
        const int t = warp * kRows + r;
        if (t >= tokens.count || lane >= columns) continue;
        const int64_t at = rows + t * value_stride + lane;
        const float x = y[t * kW + lane];
        if (a.d_theta) d_theta[r] = fmaf(x, a.u[at], d_theta[r]);
        if (a.d_u) a.d_u[at] = co.theta[t] * x;
      }
    }

    if (a.d_theta) {
#pragma unroll
      for (int r = 0; r < kRows; r++) {
        const float sum = SumOfWarp(d_theta[r]);
        const int t = warp * kRows + r;
        if (lane == 0 && t < tokens.count)
          a.d_theta[tokens.write + static_cast<int64_t>(t) * a.heads] = sum + Dot(kDotTheta, t);
      }
    }
    if (pair0 < i0 + kTileRows) {
      ForElements(write_products, read_products, [&](int i, int j, float& x, float z) {
        yw[(i0 + i) * kScanT + pair0 + j] = x;
        ow[(i0 + i) * kScanT + pair0 + j] = z;
      });
    }
#pragma unroll
    for (int i = 0; i < 3; i++)
      state_dots[i] = SumOfBlock(state_dots[i], sums + i * (kScanThreads / 32));
  }

  // G after token s of the write of token i ≤ s: above the diagonal of yw, transposed. X likewise, of ow.
  __device__ __forceinline__ float G(int s, int i) const {
    return s == i ? 1.f : yw[i * kScanT + s];
  }
  __device__ __forceinline__ float X(int s, int i) const {
    return s == i ? 1.f : ow[i * kScanT + s];
  }

  // G and X, a column a thread.
  __device__ __forceinline__ void Decays() const {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= tokens.count) return;
    float g = 1, x = 1;
#pragma unroll 1
    for (int t = i + 1; t < tokens.count; t++) {
      x = momentum ? co.mu[t] * x : 0.f;
      g = fmaf(co.alpha[t], g, x);
      yw[i * kScanT + t] = g;
      ow[i * kScanT + t] = x;
    }
  }

  // What reaches row r of a, or of b, from the token that writes with it, the one that reads and, for the last, the state.
  __device__ __forceinline__ float OfRow(int r, int written, int read, float last) const {
    float sum = r == tokens.count ? last : -co.erase[r] * Dot(written, r);
    const int reader = r - co.read_row;
    if (sees_writes && reader >= 0 && reader < tokens.count)
      sum = fmaf(co.scale, Dot(read, reader), sum);
    return sum;
  }

  // da, db and dc back through their recurrences, and what of dα and dμ is theirs; by one thread.
  __device__ __forceinline__ void RetreatRows() const {
    float da = 0, db = 0, dc = 0;
#pragma unroll 1
    for (int t = tokens.count; t >= 0; t--) {
      if (t < tokens.count) {
        of_alpha[t] = fmaf(da, co.a[t], db * co.b[t]);
        of_mu[t] = dc * co.c[t];
        da *= co.alpha[t];
        db *= co.alpha[t];
        dc *= co.mu[t];
      }
      da += OfRow(t, kDotZ, kDotR, state_dots[0]);
      if (momentum) {
        db += OfRow(t, kDotZp, kDotRp, state_dots[1]);
        dc += (t == tokens.count ? state_dots[2] : 0.f) + (t > 0 ? db : 0.f);
      }
    }
  }

  // D and F in the place of Y Wᵀ and dO Wᵀ; in that of K Kᵀ and Q Kᵀ what reaches G by way of N and of M; dε.
  __device__ __forceinline__ void ToGradientTriangles() const {
    const int warp = static_cast<int>(threadIdx.x >> 5), lane = LaneOfWarp();
    for (int t = warp; t < kScanChunk; t += kScanThreads / 32) {
      float d_erase = 0;
      for (int i = lane; i <= t; i += 32) {
        const int at = t * kScanT + i;
        const bool writes = erases && i < t && t < tokens.count;
        const bool is_read = sees_writes && i < t + co.read_row && t < tokens.count;
        const float before = i < t && t < tokens.count ? G(t - 1, i) : 0.f;
        const float through_n = writes ? kk[at] * yw[at] : 0.f;
        d_erase = fmaf(-before, through_n, d_erase);
        kk[at] = writes ? -co.erase[t] * through_n : 0.f;
        qk[at] = is_read ? co.scale * qk[at] * ow[at] : 0.f;
        const float read = is_read ? (co.read_row ? G(t, i) : before) : 0.f;
        ow[at] = is_read ? co.scale * read * ow[at] : 0.f;
        // The diagonal of yw is not of D.
        if (i < t) yw[at] = writes ? -co.erase[t] * before * yw[at] : 0.f;
      }
      d_erase = SumOfWarp(d_erase);
      if (a.d_erase && lane == 0 && t < tokens.count) {
        float x = fmaf(-co.a[t], Dot(kDotZ, t), d_erase);
        if (momentum) x = fmaf(-co.b[t], Dot(kDotZp, t), x);
        a.d_erase[tokens.write + static_cast<int64_t>(t) * a.heads] = x;
      }
    }
  }

  // dG and dX back through their recurrences, a column a thread: kk ← dG_ti G_{t−1,i}, qk ← dX_ti X_{t−1,i}.
  __device__ __forceinline__ void RetreatDecays() const {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= tokens.count) return;
    float dg = Dot(kDotV, i), dx = momentum ? Dot(kDotVp, i) : 0.f;
#pragma unroll 1
    for (int t = tokens.count - 1; t > i; t--) {
      const int at = t * kScanT + i;
      const float through_m = qk[at], through_n = kk[at];
      if (co.read_row) dg += through_m;
      if (momentum) {
        dx += dg;
        qk[at] = dx * X(t - 1, i);
        dx *= co.mu[t];
      }
      kk[at] = dg * G(t - 1, i);
      dg = fmaf(co.alpha[t], dg, co.read_row ? through_n : through_n + through_m);
    }
  }

  // dlog α and dμ.
  __device__ __forceinline__ void DecayGradients() const {
    const int warp = static_cast<int>(threadIdx.x >> 5), lane = LaneOfWarp();
    for (int t = warp; t < tokens.count; t += kScanThreads / 32) {
      float alpha = 0, mu = 0;
      for (int i = lane; i < t; i += 32) {
        alpha += kk[t * kScanT + i];
        if (momentum) mu += qk[t * kScanT + i];
      }
      alpha = SumOfWarp(alpha);
      mu = SumOfWarp(mu);
      if (lane) continue;
      const int64_t gate = tokens.write + static_cast<int64_t>(t) * a.heads;
      if (a.d_log_alpha) a.d_log_alpha[gate] = co.alpha[t] * (alpha + of_alpha[t]);
      if (a.d_mu) a.d_mu[gate] = mu + of_mu[t];
    }
  }

  // dK += (D + Dᵀ) K + Fᵀ Q, dQ += F K, and the rows are done.
  __device__ __forceinline__ void ThroughTriangles() {
#pragma unroll 1
    for (int r = 0; r < kOwned; r++) {
      int i0, d0;
      Owned(r, &i0, &d0);
      if (i0 >= kScanChunk) break;
      const auto key = [&](int t, int d) { return k[t * row + d0 + d]; };
      Tile x, z;
#pragma unroll
      for (int j = 0; j < 4; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          x.c[j][e] = r ? dk[1].c[j][e] : dk[0].c[j][e];
          z.c[j][e] = r ? dq[1].c[j][e] : dq[0].c[j][e];
        }
      }
      if (erases) {
        Multiply<kRounding>(
            x, kScanChunk,
            [&](int i, int t) {
              return t == i0 + i ? 0.f : yw[max(i0 + i, t) * kScanT + min(i0 + i, t)];
            },
            key);
      }
      if (sees_writes) {
        MultiplyLower<kRounding>(z, i0, co.read_row, ow, key);
        MultiplyUpper<kRounding>(x, i0, co.read_row, ow,
                                 [&](int t, int d) { return q[t * row + d0 + d]; });
      }
      ForElements(x, z, [&](int i, int j, float x, float z) {
        const int t = i0 + i, d = d0 + j;
        if (t >= tokens.count || d >= a.key_dim) return;
        if (a.d_k) a.d_k[KeyRow(tokens.write, t) + d] = x;
        if (a.d_q) a.d_q[KeyRow(tokens.read, t) + d] = z;
      });
    }
  }

  __device__ __forceinline__ void Run() {
    LoadKeys(k, row, keys, a.k, a, tokens.write, tokens.count);
    LoadKeys(q, row, keys, a.q, a, tokens.read, tokens.count);
    LoadGates(co, a, tokens);
    __syncthreads();
    // The rows come with the first states.
    if (threadIdx.x == 0) Recur(co, a, tokens);
    // G_n and X_n, which states need; the rest of G and X has no room yet.
    ToTriangles(nullptr, nullptr, co, tokens.count, momentum);
    // Its last sums are the block's, so that everybody is done with what comes before them.
    ThroughStates();
    Decays();
    if (threadIdx.x == kScanThreads - 1) RetreatRows();
    PairProducts<kRounding>(erases ? kk : nullptr, sees_writes ? qk : nullptr, k, q, row, keys);
    __syncthreads();
    ToGradientTriangles();
    __syncthreads();
    RetreatDecays();
    ThroughTriangles();
    __syncthreads();
    DecayGradients();
  }
};

template <Rounding kRounding>
NL_DEVICE void ScanTokensBackward(const ScanArguments& a) {
  NL_DYNAMIC_SHARED(float, memory);
  ScanTokenBlock<kRounding> block(a, memory);
  block.Run();
}

}  // namespace nested_learning

using namespace nested_learning;

NL_KERNEL_IN_EACH_ROUNDING(nl_scan_states, kScanThreads, ScanArguments, ScanStates, false)
NL_KERNEL_IN_EACH_ROUNDING(nl_scan_states_momentum, kScanThreads, ScanArguments, ScanStates, true)
NL_KERNEL_IN_EACH_ROUNDING(nl_scan_tokens, kScanThreads, ScanArguments, ScanTokensBackward)
