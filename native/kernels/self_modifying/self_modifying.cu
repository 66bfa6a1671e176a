// What a self-modifying memory makes of a chunk's tokens, and the gradients of it; equations and names in README.md. Products
// with D columns are by tensor cores where operands may be rounded. Those with the gates' two are float32 in every form: they
// are few, and what a chunk keeps of a state is the product of all its α.
#include "cuda/block.cuh"
#include "cuda/functions.cuh"
#include "cuda/tile.cuh"
#include "kernels/self_modifying/self_modifying.cuh"

namespace nested_learning {

constexpr int kRows = kSelfModifyingRows, kWarps = kSelfModifyingThreads / 32;
constexpr int kLaneElements = kSelfModifyingMaxDim / 32;  // of a row, in a lane
static_assert(kRows / kTileRows * (kSelfModifyingMaxDim / kTileColumns) <= kWarps, "a tile a warp");

NL_DEVICE int WarpOfBlock() { return static_cast<int>(threadIdx.x >> 5); }

NL_DEVICE int WholeTiles(int count) { return (count + kTileRows - 1) / kTileRows * kTileRows; }

// The tile of a warp of a block's [kRows, width] products.
struct SelfModifyingTile {
  int row, column;

  __device__ __forceinline__ explicit SelfModifyingTile(int width) {
    const int across = width / kTileColumns;
    row = WarpOfBlock() / across * kTileRows;
    column = WarpOfBlock() % across * kTileColumns;
  }
};

// rows [rows, columns] ← rows that are `stride` apart, zeros beyond `count` rows and `given` columns; there after a wait for the
// thread's copies and a barrier.
NL_DEVICE void CopyRows(float* to, int row, int rows, int columns, const float* from,
                        int64_t stride, int count, int given) {
  for (int i = WarpOfBlock(); i < rows; i += kWarps) {
    for (int j = LaneOfWarp(); j < columns; j += 32) {
      const bool is_given = i < count && j < given;
      CopyAsync4(&to[i * row + j], is_given ? &from[i * stride + j] : from, is_given);
    }
  }
}

// The places of a head's tokens and state.
struct SelfModifyingHead {
  int64_t x, token;  // the chunk's first row in x and in the other arrays
  int64_t s, ds;     // where S_c and dS_c begin
  int stride;        // from a token to the next

  template <typename Arguments>
  __device__ __forceinline__ SelfModifyingHead(const Arguments& a, int head) {
    const int b = head / a.heads, h = head % a.heads;
    x = b * a.x_batch + h;
    token = static_cast<int64_t>(b) * a.rows * a.heads + h;
    s = head * a.s_head;
    ds = static_cast<int64_t>(head) * a.dim * (3 * a.dim + 2);
    stride = a.heads;
  }

  __device__ __forceinline__ int64_t At(int t) const {
    return token + static_cast<int64_t>(t) * stride;
  }
};

// η, ε, log α and the inputs of `count` tokens from `first` on, a token a warp.
NL_DEVICE void Gates(const SelfModifyingProjectArguments& a, const SelfModifyingHead& head,
                     const float* x, int row, int first, int count) {
  const int columns = 3 * a.dim + 2;
  const float* s = a.s + head.s + 3 * a.dim;
  float of_eta[kLaneElements], of_alpha[kLaneElements];
#pragma unroll
  for (int n = 0; n < kLaneElements; n++) {
    const int d = LaneOfWarp() + 32 * n;
    of_eta[n] = d < a.dim ? s[d * columns] : 0.f;
    of_alpha[n] = d < a.dim ? s[d * columns + 1] : 0.f;
  }
  for (int t = WarpOfBlock(); t < count; t += kWarps) {
    float eta = 0, alpha = 0;
#pragma unroll
    for (int n = 0; n < kLaneElements; n++) {
      const int d = LaneOfWarp() + 32 * n;
      if (d >= a.dim) break;
      eta = fmaf(x[t * row + d], of_eta[n], eta);
      alpha = fmaf(x[t * row + d], of_alpha[n], alpha);
    }
    eta = SumOfWarp(eta) + a.eta_bias;
    alpha = SumOfWarp(alpha) + a.alpha_bias;
    if (LaneOfWarp() == 0) {
      const int64_t token = head.At(first + t);
      const float rate = Softplus(eta) * a.eta_scale;
      a.theta[token] = rate;
      a.erase[token] = a.erase_factor * rate;
      a.log_alpha[token] = -Softplus(-alpha);
      a.gate_inputs[2 * token] = eta;
      a.gate_inputs[2 * token + 1] = alpha;
    }
  }
}

// k = r x S_k and the gates, or v = x S_v or its norm, of kRows tokens.
template <Rounding kRounding>
NL_DEVICE void Project(const SelfModifyingProjectArguments& a) {
  NL_DYNAMIC_SHARED(float, memory);
  const int width = SelfModifyingWidth(a.dim), depth = WholeTiles(a.dim), across = width / 32;
  const int x_row = width + 4, s_row = width + 8, columns = 3 * a.dim + 2;
  float* x = memory;                        // [kRows, D]
  float* s = x + kRows * x_row;             // [D, D]
  float* squares = s + depth * s_row;       // [kRows, across]
  float* norms = squares + kRows * across;  // [kRows]

  const int work = static_cast<int>(blockIdx.x) / 2, groups = SelfModifyingGroups(a.count);
  const int part = static_cast<int>(blockIdx.x) % 2;  // keys, values
  const int first = work % groups * kRows, count = min(kRows, a.count - first);
  const SelfModifyingHead head(a, work / groups);
  const bool normalizes = part == 0 || (a.flags & kSelfModifyingNormalizeValues) != 0;

  const int64_t stride = static_cast<int64_t>(a.heads) * a.dim;
  CopyRows(x, x_row, kRows, depth, a.x + head.x * a.dim + first * stride, stride, count, a.dim);
  CopyRows(s, s_row, depth, width, a.s + head.s + part * a.dim, columns, a.dim, a.dim);
  CopyAsyncCommit();
  CopyAsyncWait<0>();
  __syncthreads();

  if (part == 0) Gates(a, head, x, x_row, first, count);
  const SelfModifyingTile at(width);
  const bool has_tile = at.row < count;
  Tile tile = {};
  if (has_tile) {
    Multiply<kRounding>(tile, depth, RowsOfA{x + at.row * x_row, x_row},
                        [&](int d, int j) { return s[d * s_row + at.column + j]; });
    // A lane has elements of two rows, as have the other three of its four.
    float upper = 0, lower = 0;
    ForElements(tile, [&](int i, int, float y) {
      if (i < 8)
        upper = fmaf(y, y, upper);
      else
        lower = fmaf(y, y, lower);
    });
    for (int offset = 2; offset; offset >>= 1) {
      upper += __shfl_xor_sync(0xffffffffu, upper, offset);
      lower += __shfl_xor_sync(0xffffffffu, lower, offset);
    }
    if (LaneOfWarp() % 4 == 0) {
      float* to = &squares[(at.row + LaneOfWarp() / 4) * across + at.column / kTileColumns];
      to[0] = upper;
      to[8 * across] = lower;
    }
  }
  __syncthreads();
  if (static_cast<int>(threadIdx.x) < count) {
    const int t = static_cast<int>(threadIdx.x);
    float sum = a.norm_epsilon * a.norm_epsilon;
    for (int n = 0; n < across; n++) sum += squares[t * across + n];
    norms[t] = normalizes ? 1 / sqrtf(sum) : 1.f;
    a.inverse_norms[2 * head.At(first + t) + part] = norms[t];
  }
  __syncthreads();
  if (!has_tile) return;
  float* to = part == 0 ? a.k : a.v;
  ForElements(tile, [&](int i, int j, float y) {
    const int t = at.row + i, d = at.column + j;
    if (t < count && d < a.dim) to[head.At(first + t) * a.dim + d] = norms[t] * y;
  });
}

// Columns of dx̂ = r (dk − ⟨dk, k⟩ k), or of dx̂_v = dv or r_v (dv − ⟨dv, v⟩ v), a token a warp; zeros beyond `count` tokens and
// D columns.
NL_DEVICE void ProjectionGradients(const SelfModifyingProjectBackwardArguments& a,
                                   const SelfModifyingHead& head, int part, float* to, int row,
                                   int rows, int column, int columns, int first, int count) {
  const float *dy = part == 0 ? a.dk : a.dv, *y = part == 0 ? a.k : a.v;
  const bool normalizes = part == 0 || (a.flags & kSelfModifyingNormalizeValues) != 0;
  for (int t = WarpOfBlock(); t < rows; t += kWarps) {
    const int64_t token = head.At(first + t);
    float x[kLaneElements], dx[kLaneElements], along = 0;
#pragma unroll
    for (int n = 0; n < kLaneElements; n++) {
      const int d = LaneOfWarp() + 32 * n;
      const bool is_given = t < count && d < a.dim;
      dx[n] = is_given ? dy[token * a.dim + d] : 0.f;
      x[n] = is_given && normalizes ? y[token * a.dim + d] : 0.f;
    }
    if (normalizes) {
#pragma unroll
      for (int n = 0; n < kLaneElements; n++) along = fmaf(dx[n], x[n], along);
      along = SumOfWarp(along);
      const float r = t < count ? a.inverse_norms[2 * token + part] : 0.f;
#pragma unroll
      for (int n = 0; n < kLaneElements; n++) dx[n] = r * fmaf(-along, x[n], dx[n]);
    }
#pragma unroll
    for (int n = 0; n < kLaneElements; n++) {
      const int j = LaneOfWarp() + 32 * n - column;
      if (j >= 0 && j < columns) to[t * row + j] = dx[n];
    }
  }
}

// dz_η = dη s_η sigmoid(z_η) with dη = dθ + c dε, dz_α = dlog α sigmoid(−z_α) [count, 2], a token a thread.
NL_DEVICE void GateGradients(const SelfModifyingProjectBackwardArguments& a,
                             const SelfModifyingHead& head, float* to, int first, int count) {
  const int t = static_cast<int>(threadIdx.x);
  if (t >= count) return;
  const int64_t token = head.At(first + t);
  const float d_eta = fmaf(a.erase_factor, a.d_erase[token], a.d_theta[token]);
  to[2 * t] = d_eta * a.eta_scale * Sigmoid(a.gate_inputs[2 * token]);
  to[2 * t + 1] = a.d_log_alpha[token] * Sigmoid(-a.gate_inputs[2 * token + 1]);
}

// dx = dz S_cᵀ of kRows tokens.
template <Rounding kRounding>
NL_DEVICE void TokenGradients(const SelfModifyingProjectBackwardArguments& a,
                              const SelfModifyingHead& head, int first, float* memory) {
  const int width = SelfModifyingWidth(a.dim), depth = WholeTiles(a.dim), row = width + 4;
  const int columns = 3 * a.dim + 2, count = min(kRows, a.count - first);
  float* dz = memory;                   // [kRows, D]
  float* s = dz + kRows * row;          // [D, D]
  float* gates = s + width * row;       // [kRows, 2]
  float* of_gates = gates + 2 * kRows;  // [D, 2]: S_η and S_α
  const float* state = a.s + head.s;
  const SelfModifyingTile at(width);
  Tile tile = {};
  for (int part = 0; part < 2; part++) {
    CopyRows(s, row, width, depth, state + part * a.dim, columns, a.dim, a.dim);
    if (part == 0) {
      CopyRows(of_gates, 2, width, 2, state + 3 * a.dim, columns, a.dim, 2);
      GateGradients(a, head, gates, first, count);
    }
    CopyAsyncCommit();
    ProjectionGradients(a, head, part, dz, row, kRows, 0, depth, first, count);
    CopyAsyncWait<0>();
    __syncthreads();
    if (at.row < count) {
      Multiply<kRounding>(tile, depth, RowsOfA{dz + at.row * row, row},
                          RowsOfB{s + at.column * row, row});
    }
    __syncthreads();
  }
  if (at.row >= count) return;
  ForElements(tile, [&](int i, int j, float y) {
    const int t = at.row + i, d = at.column + j;
    if (t >= count || d >= a.dim) return;
    y = fmaf(gates[2 * t], of_gates[2 * d], y);
    y = fmaf(gates[2 * t + 1], of_gates[2 * d + 1], y);
    a.dx[(head.x + static_cast<int64_t>(first + t) * a.heads) * a.dim + d] = y;
  });
}

// dS_c += xᵀ dz in kSelfModifyingColumns columns of k or of v, and with the first of k in those of the gates.
template <Rounding kRounding>
NL_DEVICE void StateGradients(const SelfModifyingProjectBackwardArguments& a,
                              const SelfModifyingHead& head, int block, float* memory) {
  constexpr int kRow = kSelfModifyingColumns + 8;
  const int width = SelfModifyingWidth(a.dim), depth = WholeTiles(a.count), row = width + 8;
  const int part = block % 2, first = block / 2 * kSelfModifyingColumns;
  const int given = min(kSelfModifyingColumns, a.dim - first), columns = 3 * a.dim + 2;
  float* x = memory;                               // [chunk, D]
  float* dz = x + kSelfModifyingChunk * row;       // [chunk, columns]
  float* gates = dz + kSelfModifyingChunk * kRow;  // [chunk, 2]
  float* ds = a.ds + head.ds;
  const int64_t stride = static_cast<int64_t>(a.heads) * a.dim;
  CopyRows(x, row, depth, WholeTiles(a.dim), a.x + head.x * a.dim, stride, a.count, a.dim);
  CopyAsyncCommit();
  ProjectionGradients(a, head, part, dz, kRow, depth, first, SelfModifyingWidth(given), 0, a.count);
  if (block == 0) GateGradients(a, head, gates, 0, a.count);
  CopyAsyncWait<0>();
  __syncthreads();

  ForTiles(a.dim, given, [&](int above, int left) {
    Tile tile = {};
    Multiply<kRounding>(
        tile, depth, [&](int d, int t) { return x[t * row + above + d]; },
        [&](int t, int j) { return dz[t * kRow + left + j]; });
    ForElements(tile, [&](int i, int j, float y) {
      const int d = above + i;
      if (d < a.dim && left + j < given)
        ds[static_cast<int64_t>(d) * columns + part * a.dim + first + left + j] += y;
    });
  });
  if (block > 0) return;
  for (int i = static_cast<int>(threadIdx.x); i < 2 * a.dim; i += kSelfModifyingThreads) {
    float sum = 0;
    for (int t = 0; t < a.count; t++) sum = fmaf(x[t * row + i / 2], gates[2 * t + i % 2], sum);
    ds[static_cast<int64_t>(i / 2) * columns + 3 * a.dim + i % 2] += sum;
  }
}

template <Rounding kRounding>
NL_DEVICE void ProjectBackward(const SelfModifyingProjectBackwardArguments& a) {
  NL_DYNAMIC_SHARED(float, memory);
  const int groups = a.dx ? SelfModifyingGroups(a.count) : 0;
  const int blocks = groups + SelfModifyingColumnBlocks(a.dim);
  const int block = static_cast<int>(blockIdx.x) % blocks;
  const SelfModifyingHead head(a, static_cast<int>(blockIdx.x) / blocks);
  if (block < groups)
    TokenGradients<kRounding>(a, head, block * kRows, memory);
  else
    StateGradients<kRounding>(a, head, block - groups, memory);
}

}  // namespace nested_learning

using namespace nested_learning;

NL_KERNEL_IN_EACH_ROUNDING(nl_self_modifying_project, kSelfModifyingThreads,
                           SelfModifyingProjectArguments, Project)
NL_KERNEL_IN_EACH_ROUNDING(nl_self_modifying_project_backward, kSelfModifyingThreads,
                           SelfModifyingProjectBackwardArguments, ProjectBackward)
