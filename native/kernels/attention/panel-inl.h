// What both passes do with a panel of queries: which keys they see, and rows that not all of them take. Per target.
#if defined(NESTED_LEARNING_KERNELS_ATTENTION_PANEL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_ATTENTION_PANEL_INL_H_
#undef NESTED_LEARNING_KERNELS_ATTENTION_PANEL_INL_H_
#else
#define NESTED_LEARNING_KERNELS_ATTENTION_PANEL_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/attention/attention.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

constexpr size_t kPanel = kTileColumns;
static_assert(kWidestPanel % kPanel == 0 && kAttentionQueries % kWidestPanel == 0 &&
              kBackwardQueries % kWidestPanel == 0);

// Up to so many queries leave most of a panel empty.
constexpr size_t kFewQueries = 4;

// Which of the keys j..j+n-1 the queries of a panel see, when its first sees `first` keys in all, the next one more, and so
// on for `count` queries.
struct Visible {
  Visible(size_t j, size_t n, size_t first, size_t count)
      : full(std::min(n, first - std::min(first, j))),
        some(std::min(n, first + count - 1 - std::min(first + count - 1, j))),
        offset_(static_cast<int64_t>(first) - static_cast<int64_t>(j)) {}

  // So many of the panel's first queries do not see key j + i.
  size_t Hidden(size_t i) const {
    return static_cast<size_t>(std::max<int64_t>(0, static_cast<int64_t>(i) + 1 - offset_));
  }
  // Query `lane` sees so many of the keys.
  size_t Seen(size_t lane) const {
    return std::min(
        some, static_cast<size_t>(std::max<int64_t>(0, static_cast<int64_t>(lane) + offset_)));
  }

  size_t full;  // all queries see so many of the keys
  size_t some;  // the last query sees so many

 private:
  int64_t offset_;
};

// c [n] += Σ_p a[p stride] b[p, n].
HWY_INLINE void AddRow(size_t n, size_t k, const float* a, size_t stride, const float* b,
                       size_t ldb, float* c) {
  const F32 d;
  constexpr size_t kVectors = 8;
  size_t i = 0;
  for (; i + kVectors * kLanes <= n; i += kVectors * kLanes) {
    VecF sum[kVectors];
    HWY_UNROLL(8)
    for (size_t j = 0; j < kVectors; ++j) sum[j] = hn::LoadU(d, c + i + j * kLanes);
    for (size_t p = 0; p < k; ++p) {
      const VecF factor = hn::Set(d, a[p * stride]);
      HWY_UNROLL(8)
      for (size_t j = 0; j < kVectors; ++j)
        sum[j] = hn::MulAdd(factor, hn::LoadU(d, b + p * ldb + i + j * kLanes), sum[j]);
    }
    HWY_UNROLL(8)
    for (size_t j = 0; j < kVectors; ++j) hn::StoreU(sum[j], d, c + i + j * kLanes);
  }
  for (; i < n; i += kLanes) {
    const size_t lanes = std::min(kLanes, n - i);
    VecF sum = LoadPart(c + i, lanes);
    for (size_t p = 0; p < k; ++p) {
      sum = hn::MulAdd(hn::Set(d, a[p * stride]), LoadPart(b + p * ldb + i, lanes), sum);
    }
    StorePart(sum, c + i, lanes);
  }
}

// Brings rows nearer while something else is computed.
HWY_INLINE void PrefetchRows(const HeadRows<const float>& rows, size_t first, size_t end,
                             size_t dim) {
  constexpr size_t kLine = 64 / sizeof(float);
  for (size_t i = first; i < end; ++i) {
    for (size_t j = 0; j < dim; j += kLine) hwy::Prefetch(rows.Row(i) + j);
  }
}

// Scores of the keys that not all of a panel's queries see: -infinity where one does not.
HWY_INLINE void Mask(const Visible& visible, float* scores) {
  const F32 d;
  const VecF value = Constant(-std::numeric_limits<float>::infinity());
  for (size_t j = visible.full; j < visible.some; ++j) {
    const size_t hidden = visible.Hidden(j);
    for (size_t i = 0; i < kPanel && i < hidden; i += kLanes) {
      float* to = scores + j * kPanel + i;
      const auto mask = hn::FirstN(d, std::min(kLanes, hidden - i));
      hn::StoreU(hn::IfThenElse(mask, value, hn::LoadU(d, to)), d, to);
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
