// Chunks of tokens as every memory has them: their limits, how a sequence falls into them, and which state a read sees.
#ifndef NESTED_LEARNING_CORE_CHUNK_H_
#define NESTED_LEARNING_CORE_CHUNK_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "core/status.h"
#include "nested_learning.h"

namespace nested_learning {

constexpr size_t kMaxChunk = NL_MAX_CHUNK;
// Where the chunk is not part of the meaning, it is computed in segments of this many tokens: the
// square work inside one stays small beside the work on the state, and the state is still used by
// enough rows at once.
constexpr size_t kSegment = 32;
constexpr size_t kMaxSegments = (kMaxChunk + kSegment - 1) / kSegment;

inline void RequireChunk(int32_t chunk, int32_t phase) {
  if (chunk < 1 || chunk > NL_MAX_CHUNK) {
    ThrowValue("chunk", chunk, ("1 to " + std::to_string(NL_MAX_CHUNK)).c_str());
  }
  if (phase < 0 || phase >= chunk) ThrowValue("phase", phase, "0 to chunk - 1");
}

inline void RequireRead(int32_t read) { RequireOneOf(read, NL_READ_CHUNK_START, "read"); }

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

// What an nl_scan_read means.
struct ReadMode {
  explicit ReadMode(int32_t read)
      : after(read == NL_READ_AFTER), at_start(read == NL_READ_CHUNK_START) {}

  // The row of the coefficients with which token t of a segment reads.
  size_t row(size_t t) const { return at_start ? 0 : t + after; }

  bool after, at_start;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CORE_CHUNK_H_
