// A run of tokens of one head that is computed at once: what the forward pass of a deep memory needs, and the backward
// pass computes again. Names as in README.md. Per target.
#if defined(NESTED_LEARNING_KERNELS_DEEP_MEMORY_RUN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_DEEP_MEMORY_RUN_INL_H_
#undef NESTED_LEARNING_KERNELS_DEEP_MEMORY_RUN_INL_H_
#else
#define NESTED_LEARNING_KERNELS_DEEP_MEMORY_RUN_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/math-inl.h"
#include "kernels/deep_memory/deep_memory.h"
#include "kernels/deep_memory/layer-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// The weights of one head: W1 [N, D] and W2 [D, N], and their momenta where there are any.
struct HeadWeights {
  HeadWeights() = default;
  HeadWeights(Arena& arena, const DeepMemoryShape& shape, bool momentum) {
    const size_t ldd = SpreadRow(shape.dim), ldn = SpreadRow(shape.hidden);
    w1 = {arena.Take(shape.hidden * ldd), ldd};
    w2 = {arena.Take(shape.dim * ldn), ldn};
    if (!momentum) return;
    p1 = {arena.Take(shape.hidden * ldd), ldd};
    p2 = {arena.Take(shape.dim * ldn), ldn};
  }

  State w1, w2, p1, p2;
};

// to = the weights at `from`, contiguous; null is zero.
inline void LoadWeights(size_t rows, size_t columns, const float* from, State to) {
  if (to.at == nullptr) return;
  if (from == nullptr) {
    ClearRows(rows, columns, to.at, to.ld);
  } else {
    CopyRows(rows, columns, from, columns, to.at, to.ld);
  }
}

// Null is not wanted.
inline void SaveWeights(size_t rows, size_t columns, State from, float* to) {
  if (to != nullptr) CopyRows(rows, columns, from.at, from.ld, to, columns);
}

template <class T>
T* AtHead(T* tensor, size_t head, size_t size) {
  return tensor == nullptr ? nullptr : tensor + head * size;
}

// y = φ(x), which may be x, and φ'(x).
struct ActivateRow {
  const float* x;
  float *y, *slope;

  template <class TAccess>
  HWY_INLINE void Run(TAccess access, size_t i) {
    VecF derivative;
    const VecF value = Gelu(access(x + i), derivative);
    access(derivative, slope + i);
    access(value, y + i);
  }
};

inline void Activate(size_t rows, size_t columns, const float* x, float* y, float* slope,
                     size_t ld) {
  for (size_t t = 0; t < rows; ++t) {
    ActivateRow row{x + t * ld, y + t * ld, slope + t * ld};
    ForEachVector(columns, row);
  }
}

// Rows of D are ldd apart, rows of N ldn.
struct DeepMemoryRun {
  DeepMemoryRun(Arena& arena, const DeepMemoryShape& shape, size_t longest, bool keeps)
      : coefficients(arena, longest, shape.momentum),
        factors(arena, longest, shape.momentum),
        layer1(arena, {shape.hidden, shape.dim, shape.erases, shape.momentum}, longest, keeps),
        layer2(arena, {shape.dim, shape.hidden, shape.erases, shape.momentum}, longest, keeps),
        ldd(SpreadRow(shape.dim)),
        ldn(SpreadRow(shape.hidden)) {
    theta = arena.Take(longest);
    minus_one = arena.Take(longest);
    step1 = arena.Take(longest);
    step2 = arena.Take(longest);
    k = arena.Take(longest * ldd);
    error = arena.Take(longest * ldd);
    predicted = arena.Take(longest * ldd);
    z = arena.Take(longest * ldn);
    h = arena.Take(longest * ldn);
    slope = arena.Take(longest * ldn);
    read_slope = arena.Take(longest * ldn);
    if (keeps) back = arena.Take(longest * ldn);
  }

  // Everything but the last layer's read and the state behind: for `count` tokens from `first`, with the frozen weights and
  // W1_cᵀ, from the state before them, which is the frozen one when `at_frozen`.
  void Load(const DeepMemoryShape& shape, const nl_deep_memory_arguments& a, size_t row,
            size_t first, size_t count, const HeadWeights& frozen, const float* frozen1_transposed,
            const HeadWeights& state, bool at_frozen, Upcoming& upcoming) {
    start = first;
    length = count;
    Gates(shape, a, row + first * shape.gate_stride);
    const size_t token = row * shape.dim + first * shape.token_stride;
    CopyRows(count, shape.dim, a.k + token, shape.token_stride, k, ldd);
    CopyRows(count, shape.dim, a.q + token, shape.token_stride, layer2.q, ldd);

    Tiles hidden(upcoming);
    hidden.Product(k, ldd, frozen.w2.at, frozen.w2.ld, shape.dim).Store(z, ldn);
    hidden.Run(count, shape.hidden);
    Activate(count, shape.hidden, z, h, slope, ldn);
    layer1.UnitKeys(h, count, shape.norm_epsilon);
    layer2.UnitKeys(k, count, shape.norm_epsilon);
    for (size_t t = 0; t < count; ++t) {
      step1[t] = -theta[t] * layer1.norm[t];
      step2[t] = -theta[t] * layer2.norm[t];
    }
    layer1.Erase(coefficients, factors, state.w1, state.p1, at_frozen ? predicted : nullptr, count,
                 upcoming);
    layer2.Erase(coefficients, factors, state.w2, state.p2, at_frozen ? z : nullptr, count,
                 upcoming);

    // e = [k + h W1_c] − v, and the writes on W1.
    Tiles writes1(upcoming);
    if (shape.l2) {
      writes1.Product(h, ldn, frozen.w1.at, frozen.w1.ld, shape.hidden).Store(predicted, ldd);
      if (shape.residual) writes1.AddRows(nullptr, k, ldd);
    } else if (shape.erases && at_frozen) {
      Tiles erased(upcoming);
      erased.Product(h, ldn, frozen.w1.at, frozen.w1.ld, shape.hidden).Store(predicted, ldd);
      erased.Run(count, shape.dim);
    }
    writes1.AddRows(minus_one, a.v + token, shape.token_stride).Store(error, ldd).Scale(step1);
    layer1.Write(writes1, coefficients, factors, count);
    writes1.Run(count, shape.dim);

    // (e W1_cᵀ) ∘ φ'(z), and the writes on W2.
    Tiles writes2(upcoming);
    writes2.Product(error, ldd, frozen1_transposed, ldn, shape.dim);
    if (back != nullptr) writes2.Store(back, ldn);
    writes2.Times(step2, slope, ldn);
    layer2.Write(writes2, coefficients, factors, count);
    writes2.Run(count, shape.hidden);

    // What the last layer reads with: φ of the other's read.
    Tiles reads(upcoming);
    if (shape.read.at_start) {
      reads.Product(layer2.q, ldd, frozen.w2.at, frozen.w2.ld, shape.dim);
    } else {
      layer2.PrepareRead(coefficients, factors, shape.read.after, count, upcoming);
      layer2.Read(reads, factors, shape.read.after, state.w2, state.p2);
    }
    reads.Store(layer1.q, ldn).Run(count, shape.hidden);
    Activate(count, shape.hidden, layer1.q, layer1.q, read_slope, ldn);
    if (!shape.read.at_start)
      layer1.PrepareRead(coefficients, factors, shape.read.after, count, upcoming);
  }

  // O = [Q] + φ(..) W1, rows `stride` apart.
  void Read(const DeepMemoryShape& shape, const HeadWeights& frozen, const HeadWeights& state,
            float* o, size_t stride, Upcoming& upcoming) const {
    Tiles reads(upcoming);
    if (shape.read.at_start) {
      reads.Product(layer1.q, ldn, frozen.w1.at, frozen.w1.ld, shape.hidden);
    } else {
      layer1.Read(reads, factors, shape.read.after, state.w1, state.p1);
    }
    if (shape.residual) reads.AddRows(nullptr, layer2.q, ldd);
    reads.Store(o, stride).Run(length, shape.dim);
  }

  // The state behind, which may be the one before.
  void Advance(const HeadWeights& state, const HeadWeights& next, Upcoming& upcoming) const {
    layer1.Advance(coefficients, length, state.w1, state.p1, next.w1, next.p1, upcoming);
    layer2.Advance(coefficients, length, state.w2, state.p2, next.w2, next.p2, upcoming);
  }

  size_t start = 0, length = 0;
  Coefficients coefficients;
  RunFactors factors;
  MemoryLayer layer1, layer2;  // W1's and W2's
  size_t ldd, ldn;
  float *theta, *minus_one;  // [n]
  float *step1, *step2;      // −θ times the norm of h, and of k
  float *k, *error;          // [n, D]: copied so that rows are close together; e
  float* predicted;          // h W1_c
  float *z, *h, *slope;      // [n, N]: k W2_c, φ and φ' of it
  float* read_slope;         // φ' of what layer 2 read
  float* back = nullptr;     // e W1_cᵀ; the backward pass alone

 private:
  void Gates(const DeepMemoryShape& shape, const nl_deep_memory_arguments& a, size_t gate) const {
    for (size_t t = 0; t < length; ++t, gate += shape.gate_stride) {
      coefficients.alpha[t] = a.log_alpha == nullptr ? 0.0f : a.log_alpha[gate];
      theta[t] = a.theta == nullptr ? 1.0f : a.theta[gate];
      factors.erase[t] = a.erase == nullptr ? 0.0f : a.erase[gate];
      if (shape.momentum) coefficients.mu[t] = a.mu[gate];
    }
    std::fill_n(minus_one, length, -1.0f);
    for (size_t t = 0; t < length; t += kLanes) {
      const size_t lanes = std::min(kLanes, length - t);
      StorePart(Exp(LoadPart(coefficients.alpha + t, lanes)), coefficients.alpha + t, lanes);
    }
    ComputeCoefficients(coefficients, length);
    factors.Compute(coefficients, length, ReadRow(shape.read.after, 0));
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
