// Causal softmax attention; README.md has the equations and the blocking.
//
//   s = scale q kᵀ;  o = softmax(s) v          q [B,T,H,Dk]  k [B,S,H,Dk]  v [B,S,H,Dv];  query t sees the keys 0..S-T+t
//
// Scores stand transposed, [keys, queries]: a lane is a query, so that maxima and sums need no lane of another. What
// a query does not see is never multiplied, so that a NaN in a key or value reaches no query before it.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/product-inl.h"
#include "core/softmax-inl.h"
#include "core/vector-inl.h"
#include "hwy/cache_control.h"
#include "core/rows-inl.h"
#include "kernels/attention/attention.h"

#include <cmath>
#include <limits>

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

// ---- Forward

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

// ---- Backward

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
struct Upcoming {
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
  Upcoming& upcoming;

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
  Upcoming upcoming = {.q = q,
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

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(AttentionForward);
NL_TARGET_TABLE(AttentionBackward);
NL_TARGET_TABLE(AttentionBackwardSum);

namespace {

const nl_attention_arguments& CheckShape(const nl_attention_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_attention_arguments");
  RequireNotNegative(a.batch, "batch");
  RequireNotNegative(a.time, "time");
  RequireNotNegative(a.heads, "heads");
  RequirePositive(a.key_dim, "key_dim");
  RequirePositive(a.value_dim, "value_dim");
  if (a.keys < a.time) ThrowValue("keys", a.keys, "at least time");
  return a;
}

void RequireInputs(const nl_attention_arguments& a) {
  if (a.time > 0) {
    RequireNotNull(a.q, "q");
    RequireNotNull(a.o, "o");
  }
  RequireNotNull(a.k, "k");
  RequireNotNull(a.v, "v");
}

const nl_attention_gradients& CheckGradients(const nl_attention_gradients* gradients,
                                             const nl_attention_arguments& a,
                                             const AttentionBackwardPlan& plan) {
  const auto& g = RequireArguments(gradients, "nl_attention_gradients");
  if (a.time > 0) {
    RequireNotNull(g.d_o, "d_o");
    RequireNotNull(a.log_sums, "log_sums");
    if (g.dq != nullptr && plan.ranges > 1) RequireNotNull(g.dq_parts, "dq_parts");
  }
  return g;
}

template <class TScratch>
int64_t Workspace(const nl_attention_arguments& a) {
  Arena arena(nullptr);
  TScratch scratch(a, arena);
  static_cast<void>(scratch);
  return static_cast<int64_t>(arena.used());
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_attention_forward_plan(const nl_attention_arguments* arguments, int64_t* pieces,
                                  int64_t* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(pieces, "pieces");
    nl::RequireNotNull(workspace, "workspace");
    *pieces = nl::AttentionForwardPlan(a).pieces();
    *workspace = nl::Workspace<nl::AttentionForwardScratch>(a);
  });
}

int32_t nl_attention_forward(const nl_attention_arguments* arguments, int64_t begin, int64_t end,
                             float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const nl::AttentionForwardPlan plan(a);
    nl::RequireRange(begin, end, plan.pieces());
    if (begin == end) return;
    nl::RequireInputs(a);
    nl::RequireNotNull(workspace, "workspace");
    const auto forward = NL_CALL(AttentionForward);
    for (int64_t piece = begin; piece < end; ++piece) forward(a, plan, piece, workspace);
  });
}

int32_t nl_attention_backward_plan(const nl_attention_arguments* arguments, int64_t* pieces,
                                   int64_t* workspace, int64_t* dq_parts) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(pieces, "pieces");
    nl::RequireNotNull(workspace, "workspace");
    nl::RequireNotNull(dq_parts, "dq_parts");
    const nl::AttentionBackwardPlan plan(a);
    *pieces = plan.pieces();
    *workspace = nl::Workspace<nl::AttentionBackwardScratch>(a);
    *dq_parts = (plan.ranges - 1) * plan.heads * a.time * a.key_dim;
  });
}

int32_t nl_attention_backward(const nl_attention_arguments* arguments,
                              const nl_attention_gradients* gradients, int64_t begin, int64_t end,
                              float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const nl::AttentionBackwardPlan plan(a);
    const auto& g = nl::CheckGradients(gradients, a, plan);
    nl::RequireRange(begin, end, plan.pieces());
    if (begin == end) return;
    if (a.keys > 0) nl::RequireInputs(a);
    nl::RequireNotNull(workspace, "workspace");
    const auto backward = NL_CALL(AttentionBackward);
    for (int64_t piece = begin; piece < end; ++piece) backward(a, g, plan, piece, workspace);
  });
}

int32_t nl_attention_backward_sum(const nl_attention_arguments* arguments,
                                  const nl_attention_gradients* gradients, int64_t begin,
                                  int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const nl::AttentionBackwardPlan plan(a);
    const auto& g = nl::CheckGradients(gradients, a, plan);
    nl::RequireRange(begin, end, int64_t{a.batch} * a.time);
    if (begin == end || g.dq == nullptr) return;
    const auto sum = NL_CALL(AttentionBackwardSum);
    for (int64_t token = begin; token < end; ++token) sum(a, g, plan, token);
  });
}

}  // extern "C"

#endif  // HWY_ONCE
