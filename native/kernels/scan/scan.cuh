// Arguments of scan.cu, and what it can do: no momentum, a chunk of at most kScanChunk tokens that begins with the sequence
// (phase 0), keys of at most kScanKeyDim. A block of kScanThreads threads for each (batch, head, kScanColumns value columns):
//   grid = batch · heads · ⌈value_dim / kScanColumns⌉, shared memory ScanSharedBytes(key_dim)
#ifndef NESTED_LEARNING_KERNELS_SCAN_SCAN_CUH_
#define NESTED_LEARNING_KERNELS_SCAN_SCAN_CUH_

#include "cuda/cuda.h"

namespace nested_learning {

constexpr int kScanThreads = 256, kScanChunk = 64, kScanColumns = 64, kScanKeyDim = 128;

// Rows of shared memory are 4 floats longer than a multiple of 32, so that the 8 rows of which a warp reads 4 elements each
// lie in different banks; 8 longer where it reads 8 elements of 4 rows.
constexpr int ScanRow(int columns) { return (columns + 31) / 32 * 32 + 4; }
constexpr int kScanW = kScanColumns + 8;

// K, Q [chunk, Dk]; S [Dk, columns]; W [chunk, columns]; N, M [chunk, chunk]; gates.
constexpr int ScanSharedBytes(int key_dim) {
  const int keys = (key_dim + 15) / 16 * 16;
  return 4 * (2 * kScanChunk * ScanRow(keys) + keys * kScanW + kScanChunk * kScanW +
              2 * kScanChunk * ScanRow(kScanChunk) + 6 * kScanChunk + 4);
}

enum class CudaScanRead : int32_t { kAfter, kBefore, kChunkStart };

// Tokens are rows [B, T, H, ·], states [B, H, Dk, Dv].
struct ScanArguments {
  const float* q;
  const float* k;
  const float* u;
  const float* log_alpha;  // null: 0
  const float* erase;      // null: 0
  const float* theta;      // null: 1
  const float* s0;         // null: 0
  float* o;
  float* s;       // may be s0
  float* states;  // [B, H, chunks, Dk, Dv]: before each chunk; null: not wanted
  float*
      chunk_start;  // [B, H, Dk, Dv]: before the chunk that the next token is of; null: not wanted
  int32_t batch, time, heads, key_dim, value_dim, chunk;
  CudaScanRead read;
  int32_t frozen;  // writes are θ (u − k S_c)
  float scale;
  int32_t reserved;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_SCAN_SCAN_CUH_
