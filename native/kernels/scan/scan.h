// What a piece of a scan looks like to the kernels of every target.
#ifndef NESTED_LEARNING_KERNELS_SCAN_SCAN_H_
#define NESTED_LEARNING_KERNELS_SCAN_SCAN_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/cache_control.h"
#include "core/status.h"
#include "kernels/scan/arena.h"
#include "nested_learning.h"

namespace nested_learning {

constexpr size_t kMaxChunk = NL_MAX_CHUNK;
// Where the chunk is not part of the meaning, it is computed in segments of this many tokens: the
// square work inside one stays small beside the work on the state, and the state is still used by
// enough rows at once.
constexpr size_t kSegment = 32;
constexpr size_t kMaxSegments = (kMaxChunk + kSegment - 1) / kSegment;

// Over how many panels of columns the next segment's rows are asked for.
constexpr size_t kStepsOfSegment = 12;

// Columns of S do not depend on each other given the keys and gates: few heads with wide values are
// cut by columns.
constexpr size_t kEnoughHeads = 8;
constexpr size_t kBlockColumns = 64;

inline void RequireChunk(int32_t chunk, int32_t phase) {
  if (chunk < 1 || chunk > static_cast<int32_t>(kMaxChunk)) ThrowValue("chunk", chunk, "1 to 256");
  RequireOneOf(phase, chunk - 1, "phase", "0 to chunk - 1");
}

// How a sequence falls into chunks when `phase` tokens of its first chunk came before it.
struct ChunkPlan {
  ChunkPlan(int32_t chunk_length, int32_t tokens_before, int32_t tokens)
      : chunk(chunk_length), phase(tokens_before), time(tokens) {}

  size_t count() const { return time == 0 ? 0 : (phase + time + chunk - 1) / chunk; }
  size_t next_phase() const { return (phase + time) % chunk; }
  size_t longest() const { return std::min(chunk, std::max<size_t>(1, time)); }
  size_t begin(size_t index) const { return index == 0 ? 0 : index * chunk - phase; }
  size_t end(size_t index) const { return std::min((index + 1) * chunk - phase, time); }
  // Whether a chunk began before the sequence, so that its S_c is another than its first state.
  bool began_before(size_t index) const { return index == 0 && phase > 0; }

  size_t chunk, phase, time;
};

struct ScanShape {
  explicit ScanShape(const nl_scan_arguments& a)
      : time(a.time),
        dk(a.key_dim),
        dv(a.value_dim),
        plan(a.chunk, a.phase, a.time),
        frozen(a.write == NL_WRITE_FROZEN_L2),
        scales(a.write != NL_WRITE_GIVEN),
        after(a.read == NL_READ_AFTER),
        at_start(a.read == NL_READ_CHUNK_START),
        decays(a.log_alpha != nullptr),
        erases(a.erase != nullptr),
        momentum(a.mu != nullptr),
        scale(a.scale) {}

  size_t segment() const {
    return frozen || at_start ? plan.longest() : std::min(plan.longest(), kSegment);
  }
  // The row of the coefficients with which token t of a segment reads.
  size_t read_row(size_t t) const { return at_start ? 0 : t + after; }

  size_t time, dk, dv;
  ChunkPlan plan;
  bool frozen, scales, after, at_start, decays, erases, momentum;
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

// Asks for the rows of tokens that come next, a few at each Step between the products of the present ones. Rows of one
// head are far apart in memory, so no hardware prefetcher follows them, and a product that meets one waits for it.
class Upcoming {
 public:
  // The row of token 0, or null; `stride` apart.
  void Add(const float* row, size_t stride, size_t columns) {
    if (row != nullptr) streams_[count_++] = {row, stride, columns};
  }

  // The tokens from `first` on, over so many steps.
  void Start(size_t first, size_t count, size_t steps) {
    next_ = first;
    end_ = first + count;
    step_ = (count + steps - 1) / steps;
  }

  void Step() {
    for (size_t i = 0; i < step_ && next_ < end_; ++i, ++next_) {
      for (const Stream* s = streams_; s < streams_ + count_; ++s) {
        const float* row = s->row + next_ * s->stride;
        for (size_t j = 0; j < s->columns; j += 64 / sizeof(float)) hwy::Prefetch(row + j);
      }
    }
  }

 private:
  struct Stream {
    const float* row;
    size_t stride, columns;
  };

  Stream streams_[7];
  size_t count_ = 0, next_ = 0, end_ = 0, step_ = 0;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_SCAN_SCAN_H_
