// What a deep memory looks like to the kernels of every target.
#ifndef NESTED_LEARNING_KERNELS_DEEP_MEMORY_DEEP_MEMORY_H_
#define NESTED_LEARNING_KERNELS_DEEP_MEMORY_DEEP_MEMORY_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/chunk.h"
#include "nested_learning.h"

namespace nested_learning {

// Chunks are computed in runs of at most this many tokens, whose rows of N stay in the second-level cache beside the weights;
// only a chunk's first run starts from the frozen ones.
constexpr size_t kMaxRun = kSegment;
constexpr size_t kMaxRuns = (kMaxChunk + kMaxRun - 1) / kMaxRun;

struct DeepMemoryShape {
  explicit DeepMemoryShape(const nl_deep_memory_arguments& a)
      : dim(a.dim),
        hidden(a.hidden),
        plan(a.chunk, a.phase, a.time),
        token_stride(static_cast<size_t>(a.heads) * a.dim),
        gate_stride(a.heads),
        l2(a.objective == NL_OBJECTIVE_L2),
        residual((a.flags & NL_DEEP_MEMORY_RESIDUAL) != 0),
        read(a.read),
        erases(a.erase != nullptr),
        momentum(a.mu != nullptr),
        norm_epsilon(a.norm_epsilon) {}

  size_t run() const { return std::min(plan.longest(), kMaxRun); }
  size_t weights() const { return dim * hidden; }

  size_t dim, hidden;
  ChunkPlan plan;
  size_t token_stride, gate_stride;  // from a head's token to the next
  bool l2, residual;
  ReadMode read;
  bool erases, momentum;
  float norm_epsilon;
};

// The row of a head's first token, of all B T H.
inline size_t FirstRow(const nl_deep_memory_arguments& a, size_t head) {
  return head / a.heads * a.time * a.heads + head % a.heads;
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_DEEP_MEMORY_DEEP_MEMORY_H_
