// A few tokens whose states are not saved: a block has its columns of S, P and S_c in registers, so that each element of them is
// fetched once and written once. Token by token, with everything that a token asks of the states in one round of sums:
//
//   q S_t = α q S_{t−1} + q P_t,   q P_t = μ q P_{t−1} + ⟨q, k⟩ w
#include "kernels/scan/scan-inl.cuh"

namespace nested_learning {

constexpr int kDecodeWarps = kScanDecodeThreads / 32;
// A thread has 4 columns of every 16th row.
constexpr int kDecodeGroups = kDecodeWarps * 4, kDecodeRows = kScanMaxKeyDim / kDecodeGroups;

// What is asked of the states, for each column.
enum DecodeDot { kKeyS, kQueryS, kQueryP, kKeyStart, kQueryStart, kDecodeDots };

template <bool kWhole>
struct DecodeBlock {
  const ScanArguments& a;
  const ScanPlace place;
  const int group, column, columns;  // this thread's, of the block's; 4 or fewer

  float s[kDecodeRows][4], p[kDecodeRows][4], start[kDecodeRows][4];

  __device__ __forceinline__ explicit DecodeBlock(const ScanArguments& a)
      : a(a),
        place(a, static_cast<int>(blockIdx.x), kScanDecodeColumns),
        group(static_cast<int>(threadIdx.x >> 5) * 4 + LaneOfWarp() / 8),
        column(LaneOfWarp() % 8 * 4),
        columns(min(place.columns - column, 4)),
        s{},
        p{},
        start{} {}

  __device__ __forceinline__ void Load(float (&state)[kDecodeRows][4], const float* of) const {
    const float* from = place.State(a, of);
    if (!from || columns <= 0) return;
#pragma unroll
    for (int i = 0; i < kDecodeRows; i++) {
      const int d = group + i * kDecodeGroups;
      if (d < a.key_dim)
        LoadFour<kWhole>(from + static_cast<int64_t>(d) * a.value_dim + column, columns, state[i]);
    }
  }

  __device__ __forceinline__ void Store(float* of, const float (&state)[kDecodeRows][4]) const {
    float* to = place.State(a, of);
    if (!to || columns <= 0) return;
#pragma unroll
    for (int i = 0; i < kDecodeRows; i++) {
      const int d = group + i * kDecodeGroups;
      if (d < a.key_dim)
        StoreFour<kWhole>(to + static_cast<int64_t>(d) * a.value_dim + column, columns, state[i]);
    }
  }

  // Σ_d rows[d] state[d] of this thread's columns and rows
  static __device__ __forceinline__ void Add(float (&sums)[4], const float (&rows)[kDecodeRows],
                                             const float (&state)[kDecodeRows][4]) {
#pragma unroll
    for (int i = 0; i < kDecodeRows; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) sums[j] = fmaf(rows[i], state[i][j], sums[j]);
    }
  }

  // `parts` and `products` have room for each warp.
  __device__ __forceinline__ void Token(int t, float (*parts)[kDecodeWarps][kScanDecodeColumns],
                                        float* products) {
    const int64_t token = (static_cast<int64_t>(place.b) * a.time + t) * a.heads + place.h;
    const int warp = static_cast<int>(threadIdx.x >> 5), lane = LaneOfWarp();
    float k[kDecodeRows], q[kDecodeRows], product = 0;
#pragma unroll
    for (int i = 0; i < kDecodeRows; i++) {
      const int d = group + i * kDecodeGroups;
      k[i] = d < a.key_dim ? a.k[token * a.key_dim + d] : 0.f;
      q[i] = d < a.key_dim ? a.q[token * a.key_dim + d] : 0.f;
      product = fmaf(q[i], k[i], product);
    }
    float dots[kDecodeDots][4] = {};
    Add(dots[kKeyS], k, s);
    Add(dots[kQueryS], q, s);
    Add(dots[kQueryP], q, p);
    Add(dots[kKeyStart], k, start);
    Add(dots[kQueryStart], q, start);
    for (int offset = 8; offset < 32; offset *= 2) {
      product += __shfl_xor_sync(0xffffffffu, product, offset);
#pragma unroll
      for (int dot = 0; dot < kDecodeDots; dot++) {
#pragma unroll
        for (int j = 0; j < 4; j++)
          dots[dot][j] += __shfl_xor_sync(0xffffffffu, dots[dot][j], offset);
      }
    }
    if (lane < 8) {
#pragma unroll
      for (int dot = 0; dot < kDecodeDots; dot++) {
#pragma unroll
        for (int j = 0; j < 4; j++) parts[dot][warp][column + j] = dots[dot][j];
      }
    }
    if (lane == 0) products[warp] = product;
    __syncthreads();

    const float alpha = a.log_alpha ? Exp(a.log_alpha[token]) : 1.f;
    const float erase = a.erase ? a.erase[token] : 0.f, mu = a.mu ? a.mu[token] : 0.f;
    const float theta = a.theta ? a.theta[token] : 1.f;
    product = 0;
    for (int i = 0; i < kDecodeWarps; i++) product += products[i];
    float u[4] = {}, w[4], o[4];
    if (columns > 0) LoadFour<kWhole>(a.u + token * a.value_dim + place.first + column, columns, u);
#pragma unroll
    for (int j = 0; j < 4; j++) {
      float sums[kDecodeDots] = {};
#pragma unroll
      for (int dot = 0; dot < kDecodeDots; dot++) {
        for (int i = 0; i < kDecodeWarps; i++) sums[dot] += parts[dot][i][column + j];
      }
      w[j] = theta * (a.frozen ? u[j] - sums[kKeyStart] : u[j]);
      if (a.erase) w[j] = fmaf(-erase, sums[kKeyS], w[j]);
      float after = product * w[j];
      if (a.mu) after = fmaf(mu, sums[kQueryP], after);
      o[j] = a.scale * (a.read == CudaScanRead::kAfter    ? fmaf(alpha, sums[kQueryS], after)
                        : a.read == CudaScanRead::kBefore ? sums[kQueryS]
                                                          : sums[kQueryStart]);
    }
    if (warp == 0 && lane < 8 && columns > 0)
      StoreFour<kWhole>(a.o + token * a.value_dim + place.first + column, columns, o);
#pragma unroll
    for (int i = 0; i < kDecodeRows; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        p[i][j] = a.mu ? fmaf(mu, p[i][j], k[i] * w[j]) : k[i] * w[j];
        s[i][j] = fmaf(alpha, s[i][j], p[i][j]);
      }
    }
  }

  __device__ __forceinline__ void KeepStart() {
#pragma unroll
    for (int i = 0; i < kDecodeRows; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) start[i][j] = s[i][j];
    }
  }

  __device__ __forceinline__ void Run() {
    // Of two tokens in turn: a warp is never two barriers ahead.
    NL_SHARED(float, parts, [2][kDecodeDots][kDecodeWarps][kScanDecodeColumns]);
    NL_SHARED(float, products, [2][kDecodeWarps]);
    Load(s, a.s0);
    if (a.mu) Load(p, a.p0);
    Load(start, a.start);
    for (int t = 0; t < a.time; t++) {
      if ((a.phase + t) % a.chunk == 0) KeepStart();
      Token(t, parts[t & 1], products[t & 1]);
    }
    if ((a.phase + a.time) % a.chunk == 0) KeepStart();
    Store(a.s, s);
    if (a.mu) Store(a.p, p);
    Store(a.next_start, start);
  }
};

template <bool kWhole>
NL_DEVICE void Decode(const ScanArguments& a) {
  DecodeBlock<kWhole> block(a);
  block.Run();
}

// Whether rows of values and states can be had four elements at a time.
NL_DEVICE bool IsWhole(const ScanArguments& a) {
  return a.value_dim % 4 == 0 && IsAligned(a.u, 16) && IsAligned(a.o, 16) && IsAligned(a.s0, 16) &&
         IsAligned(a.s, 16) && IsAligned(a.p0, 16) && IsAligned(a.p, 16) &&
         IsAligned(a.start, 16) && IsAligned(a.next_start, 16);
}

}  // namespace nested_learning

using namespace nested_learning;

extern "C" __global__ void __launch_bounds__(kScanDecodeThreads)
    nl_scan_decode(const __grid_constant__ ScanArguments a) {
  if (IsWhole(a))
    Decode<true>(a);
  else
    Decode<false>(a);
}
NL_KERNEL(nl_scan_decode)
