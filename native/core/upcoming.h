// Rows that are asked for while others are computed with.
#ifndef NESTED_LEARNING_CORE_UPCOMING_H_
#define NESTED_LEARNING_CORE_UPCOMING_H_

#include <cstddef>

#include "hwy/cache_control.h"

namespace nested_learning {

// Over how many panels of columns the next segment's rows are asked for.
constexpr size_t kStepsOfSegment = 12;

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

#endif  // NESTED_LEARNING_CORE_UPCOMING_H_
