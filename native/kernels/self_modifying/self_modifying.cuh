// Arguments of self_modifying.cu: a chunk's projections by S_c, before the kernels of ../scan/scan.cu, and their gradients, after
// them. Heads of at most kSelfModifyingMaxDim; blocks of kSelfModifyingThreads threads:
//   nl_self_modifying_project_*            grid = SelfModifyingProjectBlocks(heads, count)
//                                          shared memory SelfModifyingProjectSharedBytes(dim)
//   nl_self_modifying_project_backward_*   grid = SelfModifyingProjectBackwardBlocks(heads, dim, count, dx is given)
//                                          shared memory SelfModifyingProjectBackwardSharedBytes(dim)
// with `heads` those of all batches.
#ifndef NESTED_LEARNING_KERNELS_SELF_MODIFYING_SELF_MODIFYING_CUH_
#define NESTED_LEARNING_KERNELS_SELF_MODIFYING_SELF_MODIFYING_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

constexpr int kSelfModifyingThreads = 256, kSelfModifyingMaxDim = 128;
// The tokens of a chunk whose gradients can be taken, those that a block projects, and the columns of dS that one adds to.
constexpr int kSelfModifyingChunk = 64, kSelfModifyingRows = 32, kSelfModifyingColumns = 64;

// Bits of SelfModifyingChunk.flags, as in enum nl_self_modifying_flags.
constexpr int kSelfModifyingNormalizeValues = 1;

// D in whole tiles; rows are longer by 4 or 8 floats for the reasons of scan.cuh.
constexpr int SelfModifyingWidth(int dim) { return (dim + 31) / 32 * 32; }

constexpr int SelfModifyingGroups(int count) {
  return (count + kSelfModifyingRows - 1) / kSelfModifyingRows;
}

// Keys and values of some tokens each.
constexpr int SelfModifyingProjectBlocks(int heads, int count) {
  return heads * 2 * SelfModifyingGroups(count);
}

// dx of some tokens each, then dS of some columns of k or of v.
constexpr int SelfModifyingColumnBlocks(int dim) {
  return 2 * ((dim + kSelfModifyingColumns - 1) / kSelfModifyingColumns);
}
constexpr int SelfModifyingProjectBackwardBlocks(int heads, int dim, int count, bool dx) {
  return heads * ((dx ? SelfModifyingGroups(count) : 0) + SelfModifyingColumnBlocks(dim));
}

// x [rows, D]; S_k or S_v [D, D]; sums of squares and inverse norms.
constexpr int SelfModifyingProjectSharedBytes(int dim) {
  const int width = SelfModifyingWidth(dim);
  return 4 * (kSelfModifyingRows * (width + 4) + (dim + 15) / 16 * 16 * (width + 8) +
              kSelfModifyingRows * (width / 32 + 1));
}

// For dx: half of dz [rows, D], S_k or S_v [D, D], the gates' dz and columns of S. For dS: x [chunk, D], dz [chunk, columns] and
// the gates' dz.
constexpr int SelfModifyingProjectBackwardSharedBytes(int dim) {
  const int width = SelfModifyingWidth(dim);
  const int of_x = (kSelfModifyingRows + width) * (width + 4) + 2 * (kSelfModifyingRows + width);
  const int of_s = kSelfModifyingChunk * (width + 8 + kSelfModifyingColumns + 8 + 2);
  return 4 * (of_x > of_s ? of_x : of_s);
}

// A chunk and its projections. Row t of head h of batch b stands at (b · x_batch + t · heads + h) · D of x, whose pointer is at the
// chunk's first token, and at (b · rows + t) · heads + h of the other tokens' arrays. The forward kernel writes k to gate_inputs.
struct SelfModifyingChunk {
  const float* x;
  const float* s;        // S_c [D, 3D + 2] of each head
  float* k;              // [.., D]
  float* v;              // [.., D]
  float* inverse_norms;  // [.., 2]: r and r_v, 1 where values are not normalised
  float* gate_inputs;    // [.., 2]: z_η and z_α
  int64_t x_batch;       // tokens · heads of a batch of x
  int64_t s_head;        // elements from one head's S_c to the next one's
  int32_t heads, dim, rows, count;
  uint32_t flags;
  float erase_factor, eta_scale;
  int32_t reserved;
};

struct SelfModifyingProjectArguments : SelfModifyingChunk {
  float* theta;  // η
  float* erase;  // erase_factor · η
  float* log_alpha;
  float eta_bias, alpha_bias, norm_epsilon;
  int32_t reserved2;
};

struct SelfModifyingProjectBackwardArguments : SelfModifyingChunk {
  const float* dk;
  const float* dv;
  const float* d_theta;
  const float* d_erase;
  const float* d_log_alpha;
  float* dx;  // in rows like x's; null: not wanted; not x
  float* ds;  // [B, H, D, 3D + 2]: added to, the columns of mem apart
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_SELF_MODIFYING_SELF_MODIFYING_CUH_
