// Arguments of the scan's kernels. What they can do: keys of at most kScanMaxKeyDim, and chunks of at most kScanChunk tokens but for
// the forward pass of rules to which a chunk means nothing.
//
//   kernel                          blocks                                       bytes of shared memory
//   nl_scan_forward[_momentum]_P    ScanBlocks of ScanColumns                    ScanSharedBytes
//   nl_scan_writes_P                chunks · ScanBlocks of kScanWritesColumns    ScanWritesSharedBytes
//   nl_scan_states[_momentum]_P     ScanBlocks of ScanColumns                    ScanSharedBytes
//   nl_scan_tokens_P                chunks · B · H                               ScanTokensSharedBytes
//   nl_scan_decode                  ScanBlocks of kScanDecodeColumns             0
//
// with P float32, tf32 or bf16 and kScanThreads threads a block, kScanDecodeThreads to decode. Writes, states and tokens, in
// this order, are the backward pass. To decode is the forward pass in float32 without `states`, `values` and ranges of reads.
#ifndef NESTED_LEARNING_KERNELS_SCAN_SCAN_CUH_
#define NESTED_LEARNING_KERNELS_SCAN_SCAN_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

constexpr int kScanThreads = 256, kScanChunk = 64, kScanMaxKeyDim = 128;

// Value columns of a block that has a state: one with its momentum takes the room of two.
constexpr int ScanColumns(bool momentum) { return momentum ? 32 : 64; }
// Value columns of a block of the kernels that have no such state.
constexpr int kScanWritesColumns = 64, kScanTokensColumns = 32;
constexpr int kScanDecodeThreads = 128, kScanDecodeColumns = 32;

// Blocks of which each takes so many value columns of a head; `heads` are those of all batches.
constexpr int ScanBlocks(int heads, int value_dim, int columns) {
  return heads * ((value_dim + columns - 1) / columns);
}

// Rows of shared memory are 4 floats longer than a multiple of 32, so that the 8 rows of which a warp reads 4 elements each
// lie in different banks; 8 longer where it reads 8 elements of 4 rows.
constexpr int ScanRow(int columns) { return (columns + 31) / 32 * 32 + 4; }
constexpr int ScanW(int columns) { return columns + 8; }
constexpr int ScanKeys(int key_dim) { return (key_dim + 15) / 16 * 16; }

constexpr int kScanT = ScanRow(kScanChunk);
// Gates, G_n, X_n and rows' factors [chunk]; a, b, c [chunk + 1].
constexpr int kScanCoefficients = 10 * kScanChunk + 3 * (kScanChunk + 4);

// K [chunk, Dk]; S, P [Dk, columns]; W [chunk, columns]; N [chunk, chunk]; coefficients.
constexpr int ScanWritesFloats(int key_dim, int columns, bool momentum) {
  return kScanChunk * ScanRow(ScanKeys(key_dim)) +
         ScanKeys(key_dim) * ScanW(columns) * (momentum ? 2 : 1) + kScanChunk * ScanW(columns) +
         kScanChunk * kScanT + kScanCoefficients;
}
constexpr int ScanWritesSharedBytes(int key_dim, bool momentum) {
  return 4 * ScanWritesFloats(key_dim, kScanWritesColumns, momentum);
}

// And Q [chunk, Dk]; M [chunk, chunk].
constexpr int ScanSharedBytes(int key_dim, bool momentum) {
  return 4 * (ScanWritesFloats(key_dim, ScanColumns(momentum), momentum) +
              kScanChunk * ScanRow(ScanKeys(key_dim)) + kScanChunk * kScanT);
}

// K, Q [chunk, Dk]; Y, W, dO [chunk, columns] and a state [Dk, columns], later K Kᵀ and Q Kᵀ; another state, later Y Wᵀ and
// dO Wᵀ; coefficients; 7 row sums of up to 4 parts; what reaches α and μ by way of a, b and c; a sum for each warp, three times.
constexpr int ScanTokensSharedBytes(int key_dim) {
  const int keys = (key_dim + 31) / 32 * 32, triangles = 2 * kScanChunk * kScanT;
  const int loaded = (3 * kScanChunk + keys) * ScanRow(kScanTokensColumns);
  return 4 * (2 * kScanChunk * ScanRow(keys) + (loaded > triangles ? loaded : triangles) +
              triangles + kScanCoefficients + 7 * 4 * kScanChunk + 2 * kScanChunk + 24);
}

// As nl_scan_read.
enum class CudaScanRead : int32_t { kAfter, kBefore, kChunkStart };

// Rows of tokens are [B, T, H, ·], a batch after the other by read_tokens · H rows for q and o, by write_tokens · H for the
// rest; states [B, H, Dk, Dv]. Gradients are null where they are not wanted, or zero where they are given.
struct ScanArguments {
  const float* q;
  const float* k;
  const float* u;          // [.., Dv]
  const float* values;     // [.., Dk]: writes are made of values · S_c in place of u; or null
  const float* log_alpha;  // null: 0
  const float* erase;      // null: 0
  const float* mu;         // null: without momentum
  const float* theta;      // null: 1
  const float* s0;         // null: 0
  const float* p0;         // null: 0
  const float* start;      // S_c of the first chunk; null: s0

  float* o;        // [.., read_dim]
  float* s;        // may be s0
  float* p;        // may be p0
  float* states;   // [B, H, chunks, Dk, Dv]: before each chunk; forward null: not wanted
  float* momenta;  // the same of P
  // [B, H, Dk, Dv]: S_c of the chunk that the next token is of; null: not wanted; may be start
  float* next_start;

  const float* d_o;
  const float* d_s;
  const float* d_p;
  const float* d_next_start;
  float* w;  // [.., Dv]: W and Y, which the backward kernels hand on
  float* y;
  float* d_states;  // [B, H, chunks, Dk, Dv]: dL/dS and dL/dP after each chunk, likewise
  float* d_momenta;
  float* d_q;
  float* d_k;
  float* d_u;
  float* d_values;
  float* d_log_alpha;
  float* d_erase;
  float* d_mu;
  float* d_theta;
  float* d_s0;     // may be d_s
  float* d_p0;     // may be d_p
  float* d_start;  // given where `start` is

  int64_t read_tokens, write_tokens;
  int32_t batch, time, heads, key_dim, value_dim;
  int32_t chunk, phase;          // tokens a chunk, and of the first one before the sequence
  int32_t read_first, read_dim;  // the columns of S that reads see
  CudaScanRead read;
  int32_t frozen;  // writes hold −θ k S_c
  // Chunks from one head's `states` and `momenta` to the next one's; 0: those of the tokens
  int32_t state_chunks;
  float scale;
  int32_t reserved;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_SCAN_SCAN_CUH_
