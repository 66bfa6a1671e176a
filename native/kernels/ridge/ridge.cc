// The two passes of a group of samples over a ridge memory's factor; README.md has the equations. float64, but for w, whose float32
// and what it lacks are added to in float64. Pieces write what no other piece reads or writes.
#include "core/dispatch.h"

#include <algorithm>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ridge/ridge.cc"
#include "hwy/foreach_target.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "core/vector-inl.h"

#ifndef NESTED_LEARNING_RIDGE_ROWS_
#define NESTED_LEARNING_RIDGE_ROWS_

namespace nested_learning {

constexpr int64_t kPanel = NL_RIDGE_PANEL;

inline int64_t RidgePanels(const nl_ridge_arguments& a) {
  return (a.features + kPanel - 1) / kPanel;
}

// Where the rows of a panel begin, each kPanel (panel + 1) long.
inline double* RidgePanel(const nl_ridge_arguments& a, int64_t panel) {
  return a.rows + kPanel * kPanel * (panel * (panel + 1) / 2);
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_RIDGE_ROWS_

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// Float lanes of as many numbers as a vector of doubles has.
using HalfF = hn::Rebind<float, F64>;

constexpr size_t kDoubles = hn::MaxLanes(F64());
// Samples that go over rows together: of four rows as many sums as registers hold beside them.
constexpr int kTogether = HWY_TARGET == HWY_AVX3 ? 4 : 2;

// f of kRows rows and kSamples samples. Each sum has one order whatever goes together.
template <int kRows, int kSamples>
HWY_INLINE void ReadRows(const double* rows, size_t length, const double* x, size_t stride,
                         double* f, size_t samples) {
  const F64 d;
  VecD sums[kRows * kSamples];
  for (auto& sum : sums) sum = hn::Zero(d);
  for (size_t i = 0; i < length; i += kDoubles) {
    VecD keys[kSamples];
    for (int s = 0; s < kSamples; ++s) keys[s] = hn::LoadU(d, x + s * stride + i);
    for (int r = 0; r < kRows; ++r) {
      const VecD element = hn::LoadU(d, rows + r * length + i);
      for (int s = 0; s < kSamples; ++s) {
        sums[r * kSamples + s] = hn::MulAdd(element, keys[s], sums[r * kSamples + s]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int s = 0; s < kSamples; ++s) {
      f[static_cast<size_t>(r) * samples + s] = SumLanes(sums[r * kSamples + s]);
    }
  }
}

void RidgeReadRows(const nl_ridge_arguments& a, int64_t begin, int64_t end) {
  constexpr int64_t kPanels = NL_RIDGE_ROWS / kPanel;
  const size_t samples = static_cast<size_t>(a.samples);
  const size_t stride = static_cast<size_t>(kPanel * RidgePanels(a));
  for (int64_t p = begin * kPanels; p < std::min(end * kPanels, RidgePanels(a)); ++p) {
    const double* rows = RidgePanel(a, p);
    const size_t length = static_cast<size_t>(kPanel * (p + 1));
    double* f = a.f + static_cast<size_t>(kPanel * p) * samples;
    size_t s = 0;
    for (; s + kTogether <= samples; s += kTogether) {
      for (size_t r = 0; r < kPanel; r += 4) {
        ReadRows<4, kTogether>(rows + r * length, length, a.x + s * stride, stride,
                               f + r * samples + s, samples);
      }
    }
    for (; s < samples; ++s) {
      ReadRows<kPanel, 1>(rows, length, a.x + s * stride, stride, f + s, samples);
    }
  }
}

// o of all samples for the outputs from k on: a vector of them, or one.
template <int kSamples>
void ReadOutputs(const nl_ridge_arguments& a, size_t k, bool whole) {
  const F64 d;
  const HalfF half;
  const size_t outputs = static_cast<size_t>(a.outputs);
  const size_t stride = static_cast<size_t>(kPanel * RidgePanels(a));
  VecD sums[kSamples];
  double single[kSamples] = {};
  for (auto& sum : sums) sum = hn::Zero(d);
  for (size_t i = 0; i < static_cast<size_t>(a.features); ++i) {
    const size_t at = i * outputs + k;
    if (whole) {
      const VecD weight = hn::Add(hn::PromoteTo(d, hn::LoadU(half, a.w + at)),
                                  hn::PromoteTo(d, hn::LoadU(half, a.w_low + at)));
      for (int s = 0; s < kSamples; ++s) {
        sums[s] = hn::MulAdd(weight, hn::Set(d, a.x[s * stride + i]), sums[s]);
      }
    } else {
      const double weight = static_cast<double>(a.w[at]) + static_cast<double>(a.w_low[at]);
      for (int s = 0; s < kSamples; ++s) single[s] += weight * a.x[s * stride + i];
    }
  }
  for (int s = 0; s < kSamples; ++s) {
    double* to = a.o + static_cast<size_t>(s) * outputs + k;
    if (whole) {
      hn::StoreU(sums[s], d, to);
    } else {
      *to = single[s];
    }
  }
}

void RidgeReadOutputs(const nl_ridge_arguments& a, int64_t begin, int64_t end) {
  constexpr decltype(&ReadOutputs<1>) kReads[NL_RIDGE_GROUP] = {
      ReadOutputs<1>, ReadOutputs<2>, ReadOutputs<3>, ReadOutputs<4>,
      ReadOutputs<5>, ReadOutputs<6>, ReadOutputs<7>, ReadOutputs<8>};
  const size_t last = static_cast<size_t>(std::min(end * NL_RIDGE_COLUMNS, a.outputs));
  for (size_t k = static_cast<size_t>(begin * NL_RIDGE_COLUMNS); k < last;) {
    const bool whole = k + kDoubles <= last;
    kReads[a.samples - 1](a, k, whole);
    k += whole ? kDoubles : 1;
  }
}

// The columns from `column` on of a panel's rows, kVectors of them, through all samples. gains [samples, NL_RIDGE_COLUMNS].
template <int kVectors>
HWY_INLINE void WritePanel(double* rows, size_t length, size_t column, const double* c,
                           const double* v, size_t samples, double* gains) {
  const F64 d;
  VecD elements[kPanel][kVectors];
  for (int r = 0; r < kPanel; ++r) {
    for (int j = 0; j < kVectors; ++j) {
      elements[r][j] = hn::LoadU(d, rows + r * length + column + j * kDoubles);
    }
  }
  for (size_t s = 0; s < samples; ++s) {
    VecD gain[kVectors];
    double* at = gains + s * NL_RIDGE_COLUMNS;
    for (int j = 0; j < kVectors; ++j) gain[j] = hn::LoadU(d, at + j * kDoubles);
    for (int r = 0; r < kPanel; ++r) {
      const VecD change = hn::Set(d, c[r * samples + s]);
      const VecD write = hn::Set(d, v[r * samples + s]);
      for (int j = 0; j < kVectors; ++j) {
        const VecD before = elements[r][j];
        elements[r][j] = hn::NegMulAdd(change, gain[j], before);
        gain[j] = hn::MulAdd(write, before, gain[j]);
      }
    }
    for (int j = 0; j < kVectors; ++j) hn::StoreU(gain[j], d, at + j * kDoubles);
  }
  for (int r = 0; r < kPanel; ++r) {
    for (int j = 0; j < kVectors; ++j) {
      hn::StoreU(elements[r][j], d, rows + r * length + column + j * kDoubles);
    }
  }
}

// w + w_low += sum over samples of gain e, in one row; gain NL_RIDGE_COLUMNS apart.
void WriteOutputs(const nl_ridge_arguments& a, int64_t row, const double* gains) {
  const F64 d;
  const HalfF half;
  const size_t outputs = static_cast<size_t>(a.outputs);
  float* high = a.w + static_cast<size_t>(row) * outputs;
  float* low = a.w_low + static_cast<size_t>(row) * outputs;
  size_t k = 0;
  for (; k + kDoubles <= outputs; k += kDoubles) {
    VecD sum = hn::Add(hn::PromoteTo(d, hn::LoadU(half, high + k)),
                       hn::PromoteTo(d, hn::LoadU(half, low + k)));
    for (int s = 0; s < a.samples; ++s) {
      sum = hn::MulAdd(hn::Set(d, gains[s * NL_RIDGE_COLUMNS]),
                       hn::LoadU(d, a.e + static_cast<size_t>(s) * outputs + k), sum);
    }
    const auto rounded = hn::DemoteTo(half, sum);
    hn::StoreU(rounded, half, high + k);
    hn::StoreU(hn::DemoteTo(half, hn::Sub(sum, hn::PromoteTo(d, rounded))), half, low + k);
  }
  for (; k < outputs; ++k) {
    double sum = static_cast<double>(high[k]) + static_cast<double>(low[k]);
    for (int s = 0; s < a.samples; ++s) {
      sum += gains[s * NL_RIDGE_COLUMNS] * a.e[static_cast<size_t>(s) * outputs + k];
    }
    high[k] = static_cast<float>(sum);
    low[k] = static_cast<float>(sum - static_cast<double>(high[k]));
  }
}

void RidgeWrite(const nl_ridge_arguments& a, int64_t begin, int64_t end) {
  // Two vectors of eight rows fill the registers of AVX-512; elsewhere one does.
  constexpr int kVectors = HWY_TARGET == HWY_AVX3 ? 2 : 1;
  constexpr size_t kStep = kVectors * kDoubles, kLine = 64 / sizeof(double);
  const size_t samples = static_cast<size_t>(a.samples);
  HWY_ALIGN double gains[NL_RIDGE_GROUP * NL_RIDGE_COLUMNS];
  for (int64_t piece = begin; piece < end; ++piece) {
    const int64_t first = piece * NL_RIDGE_COLUMNS;
    std::fill_n(gains, samples * NL_RIDGE_COLUMNS, 0.0);
    for (int64_t p = first / kPanel; p < RidgePanels(a); ++p) {
      const size_t length = static_cast<size_t>(kPanel * (p + 1));
      const size_t at = static_cast<size_t>(kPanel * p) * samples;
      const size_t columns =
          std::min<size_t>(NL_RIDGE_COLUMNS, length - static_cast<size_t>(first));
      double* rows = RidgePanel(a, p) + first;
      // The next panel's rows are asked for meanwhile: they are pages apart, where no hardware
      // prefetcher follows.
      const double* next = p + 1 < RidgePanels(a) ? RidgePanel(a, p + 1) + first : rows;
      size_t i = 0;
      for (; i + kStep <= columns; i += kStep) {
        for (size_t line = i; line % kLine == 0 && line < i + kStep; line += kLine) {
          for (size_t r = 0; r < kPanel; ++r) hwy::Prefetch(next + r * (length + kPanel) + line);
        }
        WritePanel<kVectors>(rows, length, i, a.f + at, a.v + at, samples, gains + i);
      }
      for (; i < columns; i += kDoubles) {
        WritePanel<1>(rows, length, i, a.f + at, a.v + at, samples, gains + i);
      }
    }
    const int64_t last = std::min(first + NL_RIDGE_COLUMNS, a.features);
    for (int64_t i = first; i < last; ++i) WriteOutputs(a, i, gains + (i - first));
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(RidgeReadRows);
NL_TARGET_TABLE(RidgeReadOutputs);
NL_TARGET_TABLE(RidgeWrite);

namespace {

const nl_ridge_arguments& RequireRidge(const nl_ridge_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_ridge_arguments");
  if (a.samples < 1 || a.samples > NL_RIDGE_GROUP) ThrowValue("samples", a.samples, "1 to 8");
  RequireNotNegative(a.features, "features");
  RequireNotNegative(a.outputs, "outputs");
  RequireElements("features, outputs", {a.features, std::max(a.features, a.outputs), kPanel});
  return a;
}

int64_t Blocks(int64_t count, int64_t block) { return (count + block - 1) / block; }

void RequireWeights(const nl_ridge_arguments& a) {
  if (a.outputs == 0) return;
  RequireNotNull(a.w, "w");
  RequireNotNull(a.w_low, "w_low");
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" int32_t nl_ridge_read_rows(const nl_ridge_arguments* arguments, int64_t begin,
                                      int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::RequireRidge(arguments);
    nl::RequireRange(begin, end, nl::Blocks(a.features, NL_RIDGE_ROWS));
    if (begin == end) return;
    nl::RequireNotNull(a.rows, "rows");
    nl::RequireNotNull(a.x, "x");
    nl::RequireNotNull(a.f, "f");
    NL_CALL(RidgeReadRows)(a, begin, end);
  });
}

extern "C" int32_t nl_ridge_read_outputs(const nl_ridge_arguments* arguments, int64_t begin,
                                         int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::RequireRidge(arguments);
    nl::RequireRange(begin, end, nl::Blocks(a.outputs, NL_RIDGE_COLUMNS));
    if (begin == end) return;
    nl::RequireNotNull(a.o, "o");
    if (a.features > 0) {
      nl::RequireNotNull(a.x, "x");
      nl::RequireWeights(a);
    }
    NL_CALL(RidgeReadOutputs)(a, begin, end);
  });
}

extern "C" int32_t nl_ridge_write(const nl_ridge_arguments* arguments, int64_t begin, int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::RequireRidge(arguments);
    nl::RequireRange(begin, end, nl::Blocks(a.features, NL_RIDGE_COLUMNS));
    if (begin == end) return;
    nl::RequireNotNull(a.rows, "rows");
    nl::RequireNotNull(a.f, "f");
    nl::RequireNotNull(a.v, "v");
    if (a.outputs > 0) nl::RequireNotNull(a.e, "e");
    nl::RequireWeights(a);
    NL_CALL(RidgeWrite)(a, begin, end);
  });
}

#endif  // HWY_ONCE
