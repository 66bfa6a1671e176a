// What a piece of a scan looks like to the kernels of every target.
#ifndef NESTED_LEARNING_KERNELS_SCAN_SCAN_H_
#define NESTED_LEARNING_KERNELS_SCAN_SCAN_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/arena.h"
#include "core/chunk.h"
#include "nested_learning.h"

namespace nested_learning {

// Columns of S do not depend on each other given the keys and gates: few heads with wide values are
// cut by columns.
constexpr size_t kEnoughHeads = 8;
constexpr size_t kBlockColumns = 64;

struct ScanShape {
  explicit ScanShape(const nl_scan_arguments& a)
      : time(a.time),
        dk(a.key_dim),
        dv(a.value_dim),
        plan(a.chunk, a.phase, a.time),
        frozen(a.write == NL_WRITE_FROZEN_L2),
        scales(a.write != NL_WRITE_GIVEN),
        read(a.read),
        decays(a.log_alpha != nullptr),
        erases(a.erase != nullptr),
        momentum(a.mu != nullptr),
        scale(a.scale) {}

  size_t segment() const {
    return frozen || read.at_start ? plan.longest() : std::min(plan.longest(), kSegment);
  }

  size_t time, dk, dv;
  ChunkPlan plan;
  bool frozen, scales;
  ReadMode read;
  bool decays, erases, momentum;
  float scale;
};

// Column blocks of the forward pass.
inline size_t BlockColumns(const nl_scan_arguments& a) {
  const size_t heads = static_cast<size_t>(a.batch) * a.heads;
  return heads >= kEnoughHeads ? std::max<size_t>(1, a.value_dim) : kBlockColumns;
}

inline size_t Blocks(const nl_scan_arguments& a) {
  const size_t block = BlockColumns(a);
  return std::max<size_t>(1, (a.value_dim + block - 1) / block);
}

// One head's tokens: rows of q and k are key_stride apart, of u and o value_stride, gates
// gate_stride.
struct ScanHead {
  ScanHead(const nl_scan_arguments& a, size_t batch_head, size_t first_column)
      : key_stride(static_cast<size_t>(a.heads) * a.key_dim),
        value_stride(static_cast<size_t>(a.heads) * a.value_dim),
        gate_stride(a.heads),
        row(batch_head / a.heads * a.time * a.heads + batch_head % a.heads) {
    q = a.q + row * a.key_dim;
    k = a.k + row * a.key_dim;
    u = a.u + row * a.value_dim + first_column;
    o = a.o == nullptr ? nullptr : a.o + row * a.value_dim + first_column;
    log_alpha = Gate(a.log_alpha);
    erase = Gate(a.erase);
    mu = Gate(a.mu);
    theta = Gate(a.theta);
  }

  const float* Gate(const float* gate) const { return gate == nullptr ? nullptr : gate + row; }
  float* Gate(float* gate) const { return gate == nullptr ? nullptr : gate + row; }

  size_t key_stride, value_stride, gate_stride;
  // The row of the head's first token, of all B T H.
  size_t row;
  const float *q, *k, *u, *log_alpha, *erase, *mu, *theta;
  float* o;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_SCAN_SCAN_H_
