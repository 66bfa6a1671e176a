// The gradients of a chunk's tokens, from the states before and after it, W and Y.
#ifndef NESTED_LEARNING_KERNELS_SCAN_TOKENS_INL_CUH_
#define NESTED_LEARNING_KERNELS_SCAN_TOKENS_INL_CUH_

#include "kernels/scan/scan-inl.cuh"

namespace nested_learning {

// States that a chunk's tokens are multiplied with: dS and dP after it, S and P before it, and S_c where it is another one.
enum ScanState { kLeftS, kLeftP, kBeforeS, kBeforeP, kStart, kScanStates };

// Row sums over keys: ⟨v, k⟩, ⟨v', k⟩, κ, κ', ⟨r, q⟩, ⟨r', q⟩, and what of dθ comes through S_c.
enum ScanDot { kDotV, kDotVp, kDotZ, kDotZp, kDotR, kDotRp, kDotTheta, kScanDots };

template <Rounding kRounding>
struct ScanTokenBlock {
  static constexpr int kColumns = kScanTokensColumns, kW = ScanRow(kColumns);
  static constexpr int kAcross = kScanMaxKeyDim / kTileColumns, kOwned = 2;
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

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_SCAN_TOKENS_INL_CUH_
