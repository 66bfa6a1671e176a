// Causal softmax attention: how the work is cut, and the scratch memory of a piece.
#ifndef NESTED_LEARNING_KERNELS_ATTENTION_ATTENTION_H_
#define NESTED_LEARNING_KERNELS_ATTENTION_ATTENTION_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/arena.h"
#include "nested_learning.h"

namespace nested_learning {

// Keys of a block of scores.
constexpr size_t kAttentionKeys = 128;
// Most queries of a piece of the forward pass: so often is a block of keys used once it is copied together.
constexpr size_t kAttentionQueries = 256;
// Queries of a block of scores of the backward pass, and the keys that each such block is packed for.
constexpr size_t kBackwardQueries = 64;
constexpr size_t kBackwardKeys = 256;
// Pieces that are enough for any usual number of cores.
constexpr int64_t kAttentionPieces = 16;

// One head's rows of a tensor [B, tokens, H, dim].
template <class T>
struct HeadRows {
  T* start;
  size_t stride;

  HeadRows(T* tensor, size_t tokens, size_t heads, size_t dim, size_t head)
      : start(tensor == nullptr ? nullptr
                                : tensor + (head / heads * tokens * heads + head % heads) * dim),
        stride(heads * dim) {}

  T* Row(size_t token) const { return start + token * stride; }
};

struct AttentionForwardPlan {
  explicit AttentionForwardPlan(const nl_attention_arguments& a)
      : heads(int64_t{a.batch} * a.heads) {
    // Fewer queries where there would be too few pieces.
    queries = kAttentionQueries;
    while (queries > 32 && heads * Blocks(a) < kAttentionPieces) queries /= 2;
    blocks = Blocks(a);
  }

  int64_t Blocks(const nl_attention_arguments& a) const { return (a.time + queries - 1) / queries; }
  int64_t pieces() const { return heads * blocks; }

  int64_t heads, queries, blocks;
};

// Queries of the widest target's panel.
constexpr size_t kWidestPanel = 32;

struct AttentionForwardScratch {
  AttentionForwardScratch(const nl_attention_arguments& a, Arena& arena)
      : q(arena.Take(kAttentionQueries * a.key_dim)),
        k(arena.Take(kAttentionKeys * a.key_dim)),
        v(arena.Take(kAttentionKeys * a.value_dim)),
        scores(arena.Take(kAttentionKeys * kWidestPanel)),
        o(arena.Take(kAttentionQueries * a.value_dim)),
        maxima(arena.Take(kAttentionQueries)),
        sums(arena.Take(kAttentionQueries)) {}

  float* q;  // scale q in panels, each transposed [Dk, panel]
  float* k;  // a block of keys and values, together
  float* v;
  float* scores;  // [keys, panel]
  float* o;
  float* maxima;
  float* sums;
};

// The keys of each head in ranges of about equal work, so many that there are enough pieces.
struct AttentionBackwardPlan {
  explicit AttentionBackwardPlan(const nl_attention_arguments& a)
      : heads(int64_t{a.batch} * a.heads) {
    const int64_t blocks = (a.keys + kAttentionKeys - 1) / kAttentionKeys;
    ranges = heads == 0 ? 1 : std::max<int64_t>(1, std::min(kAttentionPieces / heads, blocks));
    const int64_t past = a.keys - a.time;
    const auto work = [&](int64_t key) { return a.time - std::max<int64_t>(0, key - past); };
    double total = 0;
    for (int64_t j = 0; j < a.keys; j += kAttentionKeys) total += static_cast<double>(work(j));
    starts.push_back(0);
    double done = 0;
    for (int64_t j = 0; j < a.keys; j += kAttentionKeys) {
      const int64_t range = static_cast<int64_t>(starts.size());
      if (range < ranges && j > starts.back() &&
          done >= total * static_cast<double>(range) / ranges)
        starts.push_back(j);
      done += static_cast<double>(work(j));
    }
    ranges = static_cast<int64_t>(starts.size());
    starts.push_back(a.keys);
  }

  int64_t pieces() const { return heads * ranges; }

  // The first query that sees any key of a range.
  static int64_t FirstQuery(const nl_attention_arguments& a, int64_t key) {
    return std::max<int64_t>(0, key - (a.keys - a.time));
  }

  int64_t heads, ranges;
  std::vector<int64_t> starts;  // of the ranges, and the end
};

struct AttentionBackwardScratch {
  AttentionBackwardScratch(const nl_attention_arguments& a, Arena& arena)
      : k(arena.Take(kBackwardKeys * a.key_dim)),
        v(arena.Take(kBackwardKeys * a.value_dim)),
        dk(arena.Take(kBackwardKeys * a.key_dim)),
        dv(arena.Take(kBackwardKeys * a.value_dim)),
        q(arena.Take(kBackwardQueries * a.key_dim)),
        q_panels(arena.Take(kBackwardQueries * a.key_dim)),
        d_o(arena.Take(kBackwardQueries * a.value_dim)),
        d_o_panels(arena.Take(kBackwardQueries * a.value_dim)),
        dq(arena.Take(kBackwardQueries * a.key_dim)),
        p(arena.Take(kAttentionKeys * kBackwardQueries)),
        ds(arena.Take(kAttentionKeys * kBackwardQueries)),
        log_sums(arena.Take(a.time + kWidestPanel)),
        deltas(arena.Take(a.time + kWidestPanel)) {}

  float *k, *v, *dk, *dv;
  float *q, *q_panels;  // scale q as it lies, and in transposed panels
  float *d_o, *d_o_panels;
  float* dq;
  float *p, *ds;             // [keys, queries]
  float *log_sums, *deltas;  // of all queries; deltas = <do, o>
};

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_ATTENTION_ATTENTION_H_
