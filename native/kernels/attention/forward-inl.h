// The forward pass of attention: a block of a head's queries. Per target.
#if defined(NESTED_LEARNING_KERNELS_ATTENTION_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_ATTENTION_FORWARD_INL_H_
#undef NESTED_LEARNING_KERNELS_ATTENTION_FORWARD_INL_H_
#else
#define NESTED_LEARNING_KERNELS_ATTENTION_FORWARD_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/product-inl.h"
#include "core/rows-inl.h"
#include "core/softmax-inl.h"
#include "core/vector-inl.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/panel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// Scores [keys, panel] become exp(score - maximum) with the maximum so far, and that and the sum so far are brought up to
// date. The result says whether what was summed before has to be scaled, by factors [panel].
HWY_INLINE bool OnlineSoftmax(size_t keys, float* scores, float* maxima, float* sums,
                              float* factors) {
  const F32 d;
  VecF before[kTileVectors], maximum[kTileVectors], sum[kTileVectors];
  HWY_UNROLL(2)
  for (size_t i = 0; i < kTileVectors; ++i) {
    maximum[i] = before[i] = hn::LoadU(d, maxima + i * kLanes);
    sum[i] = hn::Zero(d);
  }
  for (size_t j = 0; j < keys; ++j) {
    HWY_UNROLL(2)
    for (size_t i = 0; i < kTileVectors; ++i) {
      maximum[i] = hn::Max(hn::LoadU(d, scores + j * kPanel + i * kLanes), maximum[i]);
    }
  }
  for (size_t j = 0; j < keys; ++j) {
    HWY_UNROLL(2)
    for (size_t i = 0; i < kTileVectors; ++i) {
      float* at = scores + j * kPanel + i * kLanes;
      const VecF p = ExpFlushed(hn::Sub(hn::LoadU(d, at), maximum[i]));
      sum[i] = hn::Add(sum[i], p);
      hn::StoreU(p, d, at);
    }
  }
  bool scales = false;
  HWY_UNROLL(2)
  for (size_t i = 0; i < kTileVectors; ++i) {
    const VecF factor = ExpFlushed(hn::Sub(before[i], maximum[i]));
    hn::StoreU(hn::MulAdd(hn::LoadU(d, sums + i * kLanes), factor, sum[i]), d, sums + i * kLanes);
    hn::StoreU(maximum[i], d, maxima + i * kLanes);
    hn::StoreU(factor, d, factors + i * kLanes);
    scales |= !hn::AllTrue(d, hn::Eq(factor, Constant(1.0f)));
  }
  return scales;
}

// A block of one head's queries, from `first` on; `past` keys are before the first query's own.
struct ForwardPiece {
  size_t dk, dv, past, first, queries;
  HeadRows<const float> q, k, v;
  const AttentionForwardScratch& s;
  float scale;

  // All of a head's queries where they are few: keys and values are read once, where they lie, and scores stand in rows.
  void Few() const {
    const size_t all_keys = past + queries;
    for (size_t i = 0; i < queries; ++i) ScaleRow(scale, q.Row(i), s.q + i * dk, dk);
    for (size_t j = 0; j < all_keys; j += kAttentionKeys) {
      const size_t keys = std::min(kAttentionKeys, all_keys - j);
      PrefetchRows(v, j, j + keys, dv);
      Product<false, true>(Into::kSet, queries, keys, dk, s.q, dk, k.Row(j), k.stride, s.scores,
                           kAttentionKeys);
      PrefetchRows(k, j + keys, std::min(all_keys, j + keys + kAttentionKeys), dk);
      for (size_t i = 0; i < queries; ++i) {
        if (past + i + 1 <= j) continue;
        const size_t seen = std::min(keys, past + i + 1 - j);
        float* scores = s.scores + i * kAttentionKeys;
        const float maximum = std::max(s.maxima[i], Maximum(scores, seen));
        const float factor = std::exp(s.maxima[i] - maximum);
        s.maxima[i] = maximum;
        s.sums[i] = s.sums[i] * factor + SumOfExponentials<true>(scores, seen, maximum, scores);
        float* o = s.o + i * dv;
        if (j > 0) ScaleRow(factor, o, o, dv);
        Product<false, false>(j > 0 ? Into::kAdd : Into::kSet, 1, dv, seen, scores, kAttentionKeys,
                              v.Row(j), v.stride, o, dv);
      }
    }
  }

  // Block of keys by block of keys, each copied together and used by panel after panel of the queries.
  void Blocks() const {
    for (size_t i = 0; i < queries; i += kPanel) {
      float* panel = s.q + i * dk;
      PackTransposed(std::min(kPanel, queries - i), dk, q.Row(first + i), q.stride, panel);
      ScaleRow(scale, panel, panel, dk * kPanel);
    }
    const size_t seen = past + first + queries;
    for (size_t j = 0; j < seen; j += kAttentionKeys) {
      const size_t keys = std::min(kAttentionKeys, seen - j);
      CopyRows(keys, dk, k.Row(j), k.stride, s.k, dk);
      CopyRows(keys, dv, v.Row(j), v.stride, s.v, dv);
      // The next block is asked for a few rows at a time.
      const size_t step = (kAttentionKeys * kPanel + queries - 1) / queries;
      size_t next = j + keys;
      for (size_t i = 0; i < queries; i += kPanel, next += step) {
        const size_t rows = std::min(kPanel, queries - i);
        const Visible visible(j, keys, past + first + i + 1, rows);
        PrefetchRows(k, next, std::min(seen, next + step), dk);
        if (visible.some > 0) AddBlock(j == 0, i, rows, visible);
        PrefetchRows(v, next, std::min(seen, next + step), dv);
      }
    }
  }

  // The block of keys in s.k and s.v, for the panel from query i on.
  void AddBlock(bool is_first, size_t i, size_t rows, const Visible& visible) const {
    Panel<false, true>(Into::kSet, visible.some, kPanel, dk, s.k, dk, s.q + i * dk, kPanel,
                       s.scores, kPanel);
    Mask(visible, s.scores);
    HWY_ALIGN float factors[kPanel];
    const bool scales = OnlineSoftmax(visible.some, s.scores, s.maxima + i, s.sums + i, factors);
    float* o = s.o + i * dv;
    if (scales && !is_first) {
      for (size_t r = 0; r < rows; ++r) ScaleRow(factors[r], o + r * dv, o + r * dv, dv);
    }
    Product<true, false>(is_first ? Into::kSet : Into::kAdd, rows, dv, visible.full, s.scores,
                         kPanel, s.v, dv, o, dv);
    for (size_t r = 0; r < rows && visible.full < visible.some; ++r) {
      const size_t end = visible.Seen(r);
      if (end <= visible.full) continue;
      AddRow(dv, end - visible.full, s.scores + visible.full * kPanel + r, kPanel,
             s.v + visible.full * dv, dv, o + r * dv);
    }
  }
};

void AttentionForward(const nl_attention_arguments& a, const AttentionForwardPlan& plan,
                      int64_t piece, float* workspace) {
  const size_t dk = static_cast<size_t>(a.key_dim), dv = static_cast<size_t>(a.value_dim);
  const size_t heads = static_cast<size_t>(a.heads), time = static_cast<size_t>(a.time);
  const size_t keys = static_cast<size_t>(a.keys), head = static_cast<size_t>(piece / plan.blocks);
  // The last block sees most and comes first.
  const size_t first = static_cast<size_t>((plan.blocks - 1 - piece % plan.blocks) * plan.queries);
  const size_t queries = std::min(static_cast<size_t>(plan.queries), time - first);
  Arena arena(workspace);
  const AttentionForwardScratch s(a, arena);
  const ForwardPiece body = {.dk = dk,
                             .dv = dv,
                             .past = keys - time,
                             .first = first,
                             .queries = queries,
                             .q = {a.q, time, heads, dk, head},
                             .k = {a.k, keys, heads, dk, head},
                             .v = {a.v, keys, heads, dv, head},
                             .s = s,
                             .scale = a.scale};
  std::fill_n(s.maxima, kAttentionQueries, -std::numeric_limits<float>::infinity());
  std::fill_n(s.sums, kAttentionQueries, 0.0f);
  if (time <= kFewQueries) {
    body.Few();
  } else {
    body.Blocks();
  }
  const HeadRows<float> o(a.o, time, heads, dv, head), log_sums(a.log_sums, time, heads, 1, head);
  for (size_t i = 0; i < queries; ++i) {
    ScaleRow(1 / s.sums[i], s.o + i * dv, o.Row(first + i), dv);
    if (a.log_sums != nullptr) {
      *log_sums.Row(first + i) =
          static_cast<float>(s.maxima[i] + std::log(static_cast<double>(s.sums[i])));
    }
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
