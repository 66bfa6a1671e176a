// sums [n] += Σ over rows of x [m, n]: the gradient of a bias. float32, rows in order in blocks of
// 256.
#include "core/dispatch.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/column_sum/column_sum.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// Sums of sums: the error of a bias' gradient should not grow with the length of the stream.
constexpr size_t kSumRows = 256;

// kVectors vectors of columns, the last of them with `lanes` columns when kMasked.
template <size_t kVectors, bool kMasked>
HWY_INLINE void SumColumns(const float* x, size_t ld, size_t rows, float* sums, size_t lanes) {
  const F32 d;
  VecF total[kVectors];
  for (size_t j = 0; j < kVectors; ++j) total[j] = hn::Zero(d);
  for (size_t start = 0; start < rows; start += kSumRows) {
    const size_t end = std::min(rows, start + kSumRows);
    VecF sum[kVectors];
    for (size_t j = 0; j < kVectors; ++j) sum[j] = hn::Zero(d);
    for (size_t i = start; i < end; ++i) {
      for (size_t j = 0; j < kVectors; ++j) {
        const float* from = x + i * ld + j * kLanes;
        sum[j] = hn::Add(sum[j], kMasked ? LoadPart(from, lanes) : hn::LoadU(d, from));
      }
    }
    for (size_t j = 0; j < kVectors; ++j) total[j] = hn::Add(total[j], sum[j]);
  }
  for (size_t j = 0; j < kVectors; ++j) {
    float* to = sums + j * kLanes;
    if (kMasked) {
      StorePart(hn::Add(LoadPart(to, lanes), total[j]), to, lanes);
    } else {
      hn::StoreU(hn::Add(hn::LoadU(d, to), total[j]), d, to);
    }
  }
}

void ColumnSum(const float* x, size_t ld, size_t rows, size_t columns, float* sums) {
  size_t j = 0;
  for (; j + 4 * kLanes <= columns; j += 4 * kLanes) {
    SumColumns<4, false>(x + j, ld, rows, sums + j, kLanes);
  }
  for (; j + kLanes <= columns; j += kLanes) {
    SumColumns<1, false>(x + j, ld, rows, sums + j, kLanes);
  }
  if (j < columns) SumColumns<1, true>(x + j, ld, rows, sums + j, columns - j);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {
NL_TARGET_TABLE(ColumnSum);
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" int32_t nl_column_sum(const nl_column_sum_arguments* arguments, int64_t begin,
                                 int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::RequireArguments(arguments, "nl_column_sum_arguments");
    nl::RequireNotNegative(a.rows, "rows");
    nl::RequireNotNegative(a.columns, "columns");
    nl::RequireElements("rows and columns", {a.rows, a.columns});
    nl::RequireRange(begin, end, (a.columns + NL_COLUMN_BLOCK - 1) / NL_COLUMN_BLOCK);
    if (begin == end || a.rows == 0) return;
    nl::RequireNotNull(a.x, "x");
    nl::RequireNotNull(a.sums, "sums");
    const int64_t first = begin * NL_COLUMN_BLOCK;
    const int64_t last = std::min(a.columns, end * NL_COLUMN_BLOCK);
    NL_CALL(ColumnSum)(a.x + first, a.columns, a.rows, last - first, a.sums + first);
  });
}

#endif  // HWY_ONCE
