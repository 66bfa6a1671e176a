// The backward pass of attention: a range of a head's keys. Per target.
#if defined(NESTED_LEARNING_KERNELS_ATTENTION_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_ATTENTION_BACKWARD_INL_H_
#undef NESTED_LEARNING_KERNELS_ATTENTION_BACKWARD_INL_H_
#else
#define NESTED_LEARNING_KERNELS_ATTENTION_BACKWARD_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/product-inl.h"
#include "core/rows-inl.h"
#include "core/vector-inl.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/panel-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// scores [keys, panel] become p = exp(score - log sum), and dp becomes ds = p (dp - delta).
HWY_INLINE void SoftmaxGradient(size_t keys, const float* log_sums, const float* deltas, float* p,
                                float* ds) {
  const F32 d;
  VecF log_sum[kTileVectors], delta[kTileVectors];
  HWY_UNROLL(2)
  for (size_t i = 0; i < kTileVectors; ++i) {
    log_sum[i] = hn::LoadU(d, log_sums + i * kLanes);
    delta[i] = hn::LoadU(d, deltas + i * kLanes);
  }
  for (size_t j = 0; j < keys; ++j) {
    HWY_UNROLL(2)
    for (size_t i = 0; i < kTileVectors; ++i) {
      float* at = p + j * kBackwardQueries + i * kLanes;
      const VecF e = ExpFlushed(hn::Sub(hn::LoadU(d, at), log_sum[i]));
      hn::StoreU(e, d, at);
      if (ds != nullptr) {
        float* to = ds + j * kBackwardQueries + i * kLanes;
        hn::StoreU(hn::Mul(e, hn::Sub(hn::LoadU(d, to), delta[i])), d, to);
      }
    }
  }
}

// Asks for rows that are wanted soon, a few at each Step between products: the next queries' q and do, and the present
// ones' dq.
struct UpcomingQueries {
  void Step() {
    for (size_t i = 0; i < step && next < end; ++i, ++next) {
      PrefetchRows(q, next + ahead, std::min(time, next + ahead + 1), dk);
      PrefetchRows(d_o, next + ahead, std::min(time, next + ahead + 1), dv);
      if (dq.start != nullptr) PrefetchRows(dq, next, next + 1, dk);
    }
  }

  HeadRows<const float> q, d_o, dq;
  size_t dk, dv, time, ahead;
  size_t step = 0, next = 0, end = 0;
};

// The part of a piece that works on one block of keys, and the gradients that are wanted.
struct BackwardBlock {
  const AttentionBackwardScratch& s;
  size_t dk, dv;
  bool want_q, want_k, want_v;
  UpcomingQueries& upcoming;

  bool want_scores() const { return want_q || want_k; }

  // p and ds of `keys` keys from row `key` of the block, and the panel from `query` on of the queries from `first` on.
  void Scores(size_t key, size_t keys, size_t first, size_t query) const {
    upcoming.Step();
    Panel<false, true>(Into::kSet, keys, kPanel, dk, s.k + key * dk, dk, s.q_panels + query * dk,
                       kPanel, s.p + query, kBackwardQueries);
    if (want_scores()) {
      Panel<false, true>(Into::kSet, keys, kPanel, dv, s.v + key * dv, dv,
                         s.d_o_panels + query * dv, kPanel, s.ds + query, kBackwardQueries);
    }
    SoftmaxGradient(keys, s.log_sums + first + query, s.deltas + first + query, s.p + query,
                    want_scores() ? s.ds + query : nullptr);
  }

  // Every query sees every key.
  void Whole(size_t key, size_t keys, size_t first, size_t queries) const {
    for (size_t i = 0; i < queries; i += kPanel) Scores(key, keys, first, i);
    Add(key, keys, 0, queries);
  }

  // dv += p do;  dk += ds q;  dq += dsᵀ k.
  void Add(size_t key, size_t keys, size_t query, size_t queries) const {
    if (want_v) {
      Product<false, false>(Into::kAdd, keys, dv, queries, s.p + query, kBackwardQueries,
                            s.d_o + query * dv, dv, s.dv + key * dv, dv);
    }
    if (want_k) {
      Product<false, false>(Into::kAdd, keys, dk, queries, s.ds + query, kBackwardQueries,
                            s.q + query * dk, dk, s.dk + key * dk, dk);
    }
    if (want_q) {
      Product<true, false>(Into::kAdd, queries, dk, keys, s.ds + query, kBackwardQueries,
                           s.k + key * dk, dk, s.dq + query * dk, dk);
    }
  }

  // The queries from `query` on see the block's keys as `visible` says.
  void Part(size_t key, size_t first, size_t query, size_t queries, const Visible& visible) const {
    if (visible.some == 0) return;
    Scores(key, visible.some, first, query);
    if (visible.full > 0) Add(key, visible.full, query, queries);
    for (size_t j = visible.full; j < visible.some; ++j) {
      const size_t hidden = visible.Hidden(j), at = j * kBackwardQueries + query + hidden;
      const size_t count = queries - hidden;
      if (want_v)
        AddRow(dv, count, s.p + at, 1, s.d_o + (query + hidden) * dv, dv, s.dv + (key + j) * dv);
      if (want_k)
        AddRow(dk, count, s.ds + at, 1, s.q + (query + hidden) * dk, dk, s.dk + (key + j) * dk);
    }
    if (!want_q) return;
    for (size_t i = 0; i < queries; ++i) {
      const size_t end = visible.Seen(i);
      if (end <= visible.full) continue;
      AddRow(dk, end - visible.full, s.ds + visible.full * kBackwardQueries + query + i,
             kBackwardQueries, s.k + (key + visible.full) * dk, dk, s.dq + (query + i) * dk);
    }
  }
};

void AttentionBackward(const nl_attention_arguments& a, const nl_attention_gradients& g,
                       const AttentionBackwardPlan& plan, int64_t piece, float* workspace) {
  const size_t dk = static_cast<size_t>(a.key_dim), dv = static_cast<size_t>(a.value_dim);
  const size_t heads = static_cast<size_t>(a.heads), time = static_cast<size_t>(a.time);
  const size_t all_keys = static_cast<size_t>(a.keys), past = all_keys - time;
  const size_t head = static_cast<size_t>(piece / plan.ranges),
               range = static_cast<size_t>(piece % plan.ranges);
  const size_t begin = static_cast<size_t>(plan.starts[range]),
               end = static_cast<size_t>(plan.starts[range + 1]);
  const HeadRows<const float> q(a.q, time, heads, dk, head), k(a.k, all_keys, heads, dk, head);
  const HeadRows<const float> v(a.v, all_keys, heads, dv, head), o(a.o, time, heads, dv, head);
  const HeadRows<const float> d_o(g.d_o, time, heads, dv, head),
      log_sums(a.log_sums, time, heads, 1, head);
  const size_t part = static_cast<size_t>(a.batch) * time * heads * dk;
  float* const dq_start = g.dq == nullptr || range == 0 ? g.dq : g.dq_parts + (range - 1) * part;
  const HeadRows<float> dq(dq_start, time, heads, dk, head);
  const HeadRows<float> gk(g.dk, all_keys, heads, dk, head), gv(g.dv, all_keys, heads, dv, head);
  Arena arena(workspace);
  const AttentionBackwardScratch s(a, arena);
  UpcomingQueries upcoming = {.q = q,
                              .d_o = d_o,
                              .dq = {dq_start, time, heads, dk, head},
                              .dk = dk,
                              .dv = dv,
                              .time = time,
                              .ahead = kBackwardQueries};
  const BackwardBlock block{s, dk, dv, g.dq != nullptr, g.dk != nullptr, g.dv != nullptr, upcoming};

  for (size_t t = AttentionBackwardPlan::FirstQuery(a, plan.starts[range]); t < time; ++t) {
    s.log_sums[t] = *log_sums.Row(t);
    s.deltas[t] = Dot(d_o.Row(t), o.Row(t), dv);
  }
  std::fill_n(s.log_sums + time, kWidestPanel, 0.0f);
  std::fill_n(s.deltas + time, kWidestPanel, 0.0f);

  for (size_t j = begin; j < end; j += kBackwardKeys) {
    const size_t keys = std::min(kBackwardKeys, end - j);
    CopyRows(keys, dk, k.Row(j), k.stride, s.k, dk);
    CopyRows(keys, dv, v.Row(j), v.stride, s.v, dv);
    std::fill_n(s.dk, keys * dk, 0.0f);
    std::fill_n(s.dv, keys * dv, 0.0f);
    for (size_t t = j > past ? j - past : 0; t < time; t += kBackwardQueries) {
      const size_t queries = std::min(kBackwardQueries, time - t);
      for (size_t i = 0; i < queries; ++i) {
        ScaleRow(a.scale, q.Row(t + i), s.q + i * dk, dk);
        std::copy_n(d_o.Row(t + i), dv, s.d_o + i * dv);
      }
      for (size_t i = 0; i < queries; i += kPanel) {
        PackTransposed(std::min(kPanel, queries - i), dk, s.q + i * dk, dk, s.q_panels + i * dk);
        PackTransposed(std::min(kPanel, queries - i), dv, s.d_o + i * dv, dv,
                       s.d_o_panels + i * dv);
      }
      std::fill_n(s.dq, queries * dk, 0.0f);
      upcoming.next = t;
      upcoming.end = t + queries;
      upcoming.step = (kAttentionKeys * kPanel + keys - 1) / keys;

      for (size_t key = 0; key < keys; key += kAttentionKeys) {
        const size_t count = std::min(kAttentionKeys, keys - key);
        // The first of the queries sees so many keys in all.
        const size_t seen = past + t + 1;
        if (seen >= j + key + count) {
          block.Whole(key, count, t, queries);
        } else {
          for (size_t i = 0; i < queries; i += kPanel) {
            const size_t rows = std::min(kPanel, queries - i);
            block.Part(key, t, i, rows, Visible(j + key, count, seen + i, rows));
          }
        }
      }
      if (g.dq == nullptr) continue;
      for (size_t i = 0; i < queries; ++i) {
        if (j == begin) {
          ScaleRow(a.scale, s.dq + i * dk, dq.Row(t + i), dk);
        } else {
          AddScaledTo(a.scale, s.dq + i * dk, dq.Row(t + i), dk);
        }
      }
    }
    for (size_t i = 0; i < keys; ++i) {
      if (g.dk != nullptr) std::copy_n(s.dk + i * dk, dk, gk.Row(j + i));
      if (g.dv != nullptr) std::copy_n(s.dv + i * dv, dv, gv.Row(j + i));
    }
  }
}

void AttentionBackwardSum(const nl_attention_arguments& a, const nl_attention_gradients& g,
                          const AttentionBackwardPlan& plan, int64_t token) {
  const size_t row = static_cast<size_t>(a.heads) * static_cast<size_t>(a.key_dim);
  const size_t part = static_cast<size_t>(a.batch) * static_cast<size_t>(a.time) * row;
  const size_t at = static_cast<size_t>(token) * row;
  for (size_t range = 1; range < static_cast<size_t>(plan.ranges); ++range) {
    // Later ranges are seen by later queries alone.
    if (token % a.time < AttentionBackwardPlan::FirstQuery(a, plan.starts[range])) break;
    AddScaledTo(1, g.dq_parts + (range - 1) * part + at, g.dq + at, row);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
