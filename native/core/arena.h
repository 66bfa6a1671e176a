// Scratch memory: hands out consecutive parts of a caller's workspace. Over a null workspace it only measures, so
// that a layout is written once.
#ifndef NESTED_LEARNING_CORE_ARENA_H_
#define NESTED_LEARNING_CORE_ARENA_H_

#include <cstddef>

namespace nested_learning {

// Rows of scratch matrices are padded to whole vectors of the widest target, which keeps the layout
// the same on all.
constexpr size_t kRowPadding = 16;

constexpr size_t Padded(size_t count) {
  return (count + kRowPadding - 1) / kRowPadding * kRowPadding;
}

// The distance of rows that are read one below the other: an odd number of cache lines, so that a column of them is
// spread over all of a cache's sets.
constexpr size_t SpreadRow(size_t count) {
  const size_t padded = Padded(count);
  return padded / kRowPadding % 2 == 0 ? padded + kRowPadding : padded;
}

class Arena {
 public:
  explicit Arena(float* workspace) : workspace_(workspace) {}

  // Room for `count` floats, undefined contents.
  float* Take(size_t count) {
    float* part = workspace_ == nullptr ? nullptr : workspace_ + used_;
    used_ += Padded(count);
    return part;
  }

  // Room for rows of `columns` padded floats.
  float* Rows(size_t rows, size_t columns) { return Take(rows * Padded(columns)); }

  size_t used() const { return used_; }

 private:
  float* workspace_;
  size_t used_ = 0;
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CORE_ARENA_H_
