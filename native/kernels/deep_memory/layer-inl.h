// One layer of a deep memory over a run of tokens: the scan of ../scan/README.md, whose names these are, with unit keys,
// queries and writes u that the other parts make, and coefficients that both layers share. Per target.
#if defined(NESTED_LEARNING_KERNELS_DEEP_MEMORY_LAYER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_DEEP_MEMORY_LAYER_INL_H_
#undef NESTED_LEARNING_KERNELS_DEEP_MEMORY_LAYER_INL_H_
#else
#define NESTED_LEARNING_KERNELS_DEEP_MEMORY_LAYER_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "hwy/highway.h"
#include "core/arena.h"
#include "core/coefficients-inl.h"
#include "core/product-inl.h"
#include "core/rows-inl.h"
#include "core/states-inl.h"
#include "core/tiles-inl.h"
#include "core/upcoming.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

struct LayerShape {
  size_t dk, dv;
  bool erases, momentum;
};

// Row factors that both layers share, [n] each.
struct RunFactors {
  RunFactors(Arena& arena, size_t longest, bool momentum) {
    erase = arena.Take(longest);
    minus_erase = arena.Take(longest);
    erase_w = arena.Take(longest);
    read_w = arena.Take(longest);
    if (momentum) {
      erase_p = arena.Take(longest);
      read_p = arena.Take(longest);
    }
  }

  // From erase and the coefficients. Reads take the factors of row t + read.
  void Compute(const Coefficients& x, size_t n, size_t read) const {
    for (size_t t = 0; t < n; ++t) {
      minus_erase[t] = -erase[t];
      erase_w[t] = -erase[t] * x.a[t];
      read_w[t] = x.a[t + read];
      if (x.momentum()) {
        erase_p[t] = -erase[t] * x.b[t];
        read_p[t] = x.b[t + read];
      }
    }
  }

  float *erase, *minus_erase;
  float *erase_w, *erase_p = nullptr;  // −ε a and −ε b
  float *read_w, *read_p = nullptr;    // a_ρ and b_ρ
};

struct SquaresOfRow {
  const float* x;
  VecF sum;

  template <class TAccess>
  HWY_INLINE void Run(TAccess access, size_t i) {
    const VecF v = access(x + i);
    sum = hn::MulAdd(v, v, sum);
  }
};

struct MemoryLayer {
  MemoryLayer(Arena& arena, const LayerShape& layer, size_t longest, bool keeps_products)
      : shape(layer), ldk(SpreadRow(layer.dk)), ldv(SpreadRow(layer.dv)), ldt(Padded(longest)) {
    norm = arena.Take(longest);
    inverse_norm = arena.Take(longest);
    erase_w = arena.Take(longest);
    keys = arena.Take(longest * ldk);
    q = arena.Take(longest * ldk);
    w = arena.Take(longest * ldv);
    gw = arena.Take(longest * ldv);
    transposed = arena.Rows(layer.dk, longest);
    m = arena.Rows(longest, longest);
    if (layer.erases) {
      n = arena.Rows(longest, longest);
      own_erased = arena.Take(longest * ldv);
      if (layer.momentum) erased_p = arena.Take(longest * ldv);
    }
    if (layer.momentum) {
      scaled_q = arena.Take(longest * ldk);
      xw = arena.Take(longest * ldv);
    }
    if (keeps_products) {
      qk = arena.Rows(longest, longest);
      if (layer.erases) kk = arena.Rows(longest, longest);
    }
  }

  // The unit rows of inputs x [length, Dk] as keys.
  void UnitKeys(const float* x, size_t length, float epsilon) const {
    for (size_t t = 0; t < length; ++t) {
      SquaresOfRow squares{x + t * ldk, hn::Zero(F32())};
      ForEachVector(shape.dk, squares);
      norm[t] = std::sqrt(SumLanes(squares.sum) + epsilon * epsilon);
      inverse_norm[t] = 1.0f / norm[t];
      ScaleRow(inverse_norm[t], x + t * ldk, keys + t * ldk, shape.dk);
    }
  }

  // The keys' triangle, and what they read of W and P to erase it. `inputs_w` is the layer's input times W where that is
  // there already; null where W is not the frozen one.
  void Erase(const Coefficients& x, const RunFactors& factors, State weights, State momentum,
             const float* inputs_w, size_t length, Upcoming& upcoming) {
    Transpose(length, shape.dk, keys, ldk, transposed, ldt);
    if (!shape.erases) return;
    Tiles products(upcoming);
    products.Product(keys, ldk, transposed, ldt, shape.dk);
    if (kk != nullptr) products.Store(kk, ldt);
    products.Times(factors.minus_erase, x.g_row(0), x.ld).Store(n, ldt);
    products.RunLower(length);

    erased = inputs_w;
    for (size_t t = 0; t < length; ++t) {
      erase_w[t] = factors.erase_w[t] * (inputs_w == nullptr ? 1.0f : inverse_norm[t]);
    }
    if (inputs_w == nullptr) {
      Tiles reads(upcoming);
      reads.Product(keys, ldk, weights.at, weights.ld, shape.dk).Store(own_erased, ldv);
      reads.Run(length, shape.dv);
      erased = own_erased;
    }
    if (shape.momentum) {
      Tiles reads(upcoming);
      reads.Product(keys, ldk, momentum.at, momentum.ld, shape.dk).Store(erased_p, ldv);
      reads.Run(length, shape.dv);
    }
  }

  // Terms after u: W = (I − N)⁻¹ (u − diag(ε a) K W − diag(ε b) K P), and what Advance takes of it.
  void Write(Tiles& writes, const Coefficients& x, const RunFactors& factors, size_t length) const {
    if (shape.erases) {
      writes.AddRows(erase_w, erased, ldv);
      if (shape.momentum) writes.AddRows(factors.erase_p, erased_p, ldv);
      writes.SolveLower(n, ldt, w, ldv);
    }
    writes.Store(w, ldv).Store(gw, ldv, x.g_row(length));
    if (shape.momentum) writes.Store(xw, ldv, x.x_row(length));
  }

  // Once the queries are there: Qp and M.
  void PrepareRead(const Coefficients& x, const RunFactors& factors, bool after, size_t length,
                   Upcoming& upcoming) const {
    static constexpr float kOne = 1;
    if (shape.momentum) {
      for (size_t t = 0; t < length; ++t) {
        ScaleRow(factors.read_p[t], q + t * ldk, scaled_q + t * ldk, shape.dk);
      }
    }
    Tiles products(upcoming);
    products.Product(q, ldk, transposed, ldt, shape.dk);
    if (qk != nullptr) products.Store(qk, ldt);
    products.TimesScaled(kOne, x.g_row(ReadRow(after, 0)), x.ld).Store(m, ldt);
    products.RunLower(length);
  }

  // Terms of a read: diag(a_ρ) Q W + diag(b_ρ) Q P + M Writes.
  void Read(Tiles& reads, const RunFactors& factors, bool after, State weights,
            State momentum) const {
    reads.Product(q, ldk, weights.at, weights.ld, shape.dk).Scale(factors.read_w);
    if (shape.momentum) reads.Product(scaled_q, ldk, momentum.at, momentum.ld, shape.dk);
    reads.Lower(m, ldt, w, ldv, !after);
  }

  // The states behind, as AdvanceStates.
  void Advance(const Coefficients& x, size_t length, State weights, State momentum, State next_w,
               State next_p, Upcoming& upcoming) const {
    AdvanceStates(x, {keys, ldk, gw, xw, ldv}, length, shape.dk, shape.dv, weights, momentum,
                  next_w, next_p, upcoming);
  }

  LayerShape shape;
  size_t ldk, ldv, ldt;
  float *norm, *inverse_norm;                            // [n], of the layer's input
  float* erase_w;                                        // −ε a, of `erased`
  float *keys, *q, *scaled_q = nullptr;                  // [n, Dk]; diag(b_ρ) Q
  float *w, *gw, *xw = nullptr;                          // [n, Dv]; diag(G_n) W and diag(X_n) W
  const float* erased = nullptr;                         // keys or inputs times W
  float *own_erased = nullptr, *erased_p = nullptr;      // [n, Dv]; keys times P
  float* transposed;                                     // keysᵀ
  float *m, *n = nullptr, *qk = nullptr, *kk = nullptr;  // [n, n]
};

// The backward pass of a layer over one run, from the gradients of W and P at its end to those at its start.
class MemoryLayerGradient {
 public:
  MemoryLayerGradient(Arena& arena, const LayerShape& layer, size_t longest)
      : shape(layer), ldk_(SpreadRow(layer.dk)), ldv_(SpreadRow(layer.dv)), ldt_(Padded(longest)) {
    dw = {arena.Take(layer.dk * ldv_), ldv_};
    frozen = {arena.Take(layer.dk * ldv_), ldv_};
    y = arena.Take(longest * ldv_);
    erase_y = arena.Take(longest * ldv_);
    read_dO = arena.Take(longest * ldv_);
    keys = arena.Take(longest * ldk_);
    kappa = arena.Take(longest);
    if (layer.momentum) {
      dp = {arena.Take(layer.dk * ldv_), ldv_};
      erase_p_y = arena.Take(longest * ldv_);
      read_p_dO = arena.Take(longest * ldv_);
      kx_ = arena.Take(longest * ldk_);
    }
    rows_ = arena.Take(longest * ldk_);
    transposed_ = arena.Take(layer.dv * ldk_);
    writes_transposed_ = arena.Rows(layer.dv, longest);
    products_ = arena.Rows(longest, longest);
    d_kk_ = arena.Rows(longest, longest);
    d_qk_ = arena.Rows(longest, longest);
    dots_ = arena.Take(longest * kRowPadding);
  }

  // Y = (I − N)⁻ᵀ (diag(G_n) K dW + diag(X_n) K dP + Mᵀ dO), which is dL/du; and the triangles' gradients. dO [n, Dv] is of
  // the layer's reads, rows ldv apart, null where there are none. Adds to d and to dε.
  void Writes(const MemoryLayer& x, const Coefficients& coefficients, const Coefficients& d,
              const RunFactors& factors, bool after, const float* dO, size_t n, State weights,
              State momentum, float* d_erase, Upcoming& upcoming) {
    const size_t dk = shape.dk, dv = shape.dv;
    Tiles writes(upcoming);
    writes.Product(x.keys, ldk_, dw.at, ldv_, dk).Scale(coefficients.g_row(n));
    if (shape.momentum) {
      const float* of_x = coefficients.x_row(n);
      for (size_t t = 0; t < n; ++t) ScaleRow(of_x[t], x.keys + t * ldk_, kx_ + t * ldk_, dk);
      writes.Product(kx_, ldk_, dp.at, ldv_, dk);
    }
    if (dO != nullptr) writes.Upper(x.m, ldt_, dO, ldv_, !after);
    if (shape.erases) writes.SolveUpper(x.n, ldt_, y, ldv_);
    writes.Store(y, ldv_).Run(n, dv);

    d.a[n] += DotRows(dk, dv, dw.at, ldv_, weights.at, weights.ld);
    if (shape.momentum) {
      d.b[n] += DotRows(dk, dv, dw.at, ldv_, momentum.at, momentum.ld);
      d.c[n] += DotRows(dk, dv, dp.at, ldv_, momentum.at, momentum.ld);
    }
    if (dO != nullptr) {
      for (size_t t = 0; t < n; ++t) {
        ScaleRow(factors.read_w[t], dO + t * ldv_, read_dO + t * ldv_, dv);
        if (shape.momentum) ScaleRow(factors.read_p[t], dO + t * ldv_, read_p_dO + t * ldv_, dv);
      }
    }

    Transpose(n, dv, x.w, ldv_, writes_transposed_, ldt_);
    if (shape.erases) {
      Erases(x, coefficients, d, factors, n, d_erase);
      Tiles products(upcoming);
      products.Product(y, ldv_, writes_transposed_, ldt_, dv).Store(products_, ldt_);
      products.RunLower(n);
      EraseTriangleBackward(coefficients, factors.erase, x.kk, products_, n, d_kk_, d.g, d_erase);
    }
    if (dO != nullptr) {
      Tiles products(upcoming);
      products.Product(dO, ldv_, writes_transposed_, ldt_, dv).Store(products_, ldt_);
      products.RunLower(n);
      ReadTriangleBackward(coefficients, after, 1.0f, x.qk, products_, n, d_qk_, d.g);
    }
  }

  // Terms of dQ = diag(a_ρ) dO Wᵀ + diag(b_ρ) dO Pᵀ + F K.
  Tiles Queries(const MemoryLayer& x, const Coefficients& d, const RunFactors& factors, bool after,
                const float* dO, size_t n, State weights, State momentum, Upcoming& upcoming) {
    if (shape.momentum) {
      Tiles of_p = TimesTransposed(dO, momentum, upcoming);
      of_p.Dots(x.q, ldk_, dots_).Scale(factors.read_p).Store(rows_, ldk_).Run(n, shape.dk);
      AddDots(n, d.b + ReadRow(after, 0));
    }
    Tiles queries = TimesTransposed(dO, weights, upcoming);
    queries.Dots(x.q, ldk_, dots_);
    if (shape.momentum) {
      queries.ScaleAndAdd(factors.read_w, nullptr, rows_, ldk_);
    } else {
      queries.Scale(factors.read_w);
    }
    queries.Lower(d_qk_, ldt_, x.keys, ldk_, !after);
    return queries;
  }

  // After the tiles of Queries have run.
  void QueriesDone(const Coefficients& d, bool after, size_t n) const {
    AddDots(n, d.a + ReadRow(after, 0));
  }

  // keys = diag(G_n) W dWᵀ + diag(X_n) W dPᵀ + (D + Dᵀ) K + Fᵀ Q, and what erases carried.
  void Keys(const MemoryLayer& x, const Coefficients& coefficients, const Coefficients& d,
            bool after, bool reads, size_t n, State weights, State momentum, Upcoming& upcoming) {
    const size_t dk = shape.dk;
    // What there is so far lies in keys, if anything.
    bool begun = false;
    const auto add = [&](Tiles& sum, const float* row_factors) {
      if (begun) {
        sum.ScaleAndAdd(row_factors, nullptr, keys, ldk_);
      } else {
        sum.Scale(row_factors);
      }
      begun = true;
    };
    if (shape.erases && x.erased == x.own_erased) {
      Tiles of_w = TimesTransposed(erase_y, weights, upcoming);
      of_w.Store(keys, ldk_).Run(n, dk);
      begun = true;
    }
    if (shape.erases && shape.momentum) {
      Tiles of_p = TimesTransposed(erase_p_y, momentum, upcoming);
      if (begun) of_p.AddRows(nullptr, keys, ldk_);
      of_p.Store(keys, ldk_).Run(n, dk);
      begun = true;
    }
    if (shape.momentum) {
      Tiles of_dp = TimesTransposed(x.w, dp, upcoming);
      of_dp.Dots(x.keys, ldk_, dots_);
      add(of_dp, coefficients.x_row(n));
      of_dp.Store(keys, ldk_).Run(n, dk);
      AddDots(n, d.x_row(n));
    }
    Tiles all = TimesTransposed(x.w, dw, upcoming);
    all.Dots(x.keys, ldk_, dots_);
    add(all, coefficients.g_row(n));
    if (shape.erases) {
      all.Lower(d_kk_, ldt_, x.keys, ldk_, true).Upper(d_kk_, ldt_, x.keys, ldk_, true);
    }
    if (reads) all.Upper(d_qk_, ldt_, x.q, ldk_, !after);
    all.Store(keys, ldk_).Run(n, dk);
    AddDots(n, d.g_row(n));
  }

  // dP ← b_n dW + c_n dP + Qᵀ diag(b_ρ) dO − Kᵀ diag(ε b) Y, and the terms of dW ← a_n dW + Qᵀ diag(a_ρ) dO
  // [− Kᵀ diag(ε a) Y].
  Tiles States(const MemoryLayer& x, const Coefficients& coefficients, bool reads, size_t n,
               Upcoming& upcoming) {
    if (shape.momentum) {
      Tiles momentum(upcoming);
      if (reads) momentum.Transposed(x.q, ldk_, read_p_dO, ldv_, n);
      if (shape.erases) momentum.Transposed(x.keys, ldk_, erase_p_y, ldv_, n);
      momentum.AddScaled(coefficients.b[n], dw.at, ldv_)
          .AddScaled(coefficients.c[n], dp.at, ldv_)
          .Store(dp.at, ldv_);
      momentum.Run(shape.dk, shape.dv);
    }
    Tiles memory(upcoming);
    if (reads) memory.Transposed(x.q, ldk_, read_dO, ldv_, n);
    if (shape.erases && x.erased == x.own_erased) memory.Transposed(x.keys, ldk_, erase_y, ldv_, n);
    memory.AddScaled(coefficients.a[n], dw.at, ldv_);
    return memory;
  }

  // frozen joins dw, where W is the frozen one.
  void JoinFrozen() const {
    for (size_t i = 0; i < shape.dk; ++i) {
      AddScaledTo(1.0f, frozen.at + i * ldv_, dw.at + i * ldv_, shape.dv);
    }
    ClearRows(shape.dk, shape.dv, frozen.at, ldv_);
  }

  // The product of rows [n, Dv] with the transpose of a state.
  Tiles TimesTransposed(const float* rows, State state, Upcoming& upcoming) {
    Transpose(shape.dk, shape.dv, state.at, state.ld, transposed_, ldk_);
    return Tiles(upcoming).Product(rows, ldv_, transposed_, ldk_, shape.dv);
  }

  LayerShape shape;
  State dw, dp;    // [Dk, Dv]
  State frozen;    // of the weights at the chunk's start, where they are not W
  float* y;        // [n, Dv]: dL/du
  float* erase_y;  // what erased took: diag(−ε a) Y, over the norm where erased is inputs W
  float* erase_p_y = nullptr;
  float *read_dO, *read_p_dO = nullptr;  // diag(a_ρ) dO, diag(b_ρ) dO
  float* keys;                           // [n, Dk]
  float* kappa;                          // [n]: <y, K W>

 private:
  // Of − diag(ε a) K W − diag(ε b) K P: κ_t = <y_t, k_t W>, dε_t −= a κ_t, da −= ε κ_t.
  void Erases(const MemoryLayer& x, const Coefficients& coefficients, const Coefficients& d,
              const RunFactors& factors, size_t n, float* d_erase) const {
    for (size_t t = 0; t < n; ++t) {
      const float* row = y + t * ldv_;
      kappa[t] = Dot(row, x.erased + t * ldv_, shape.dv) *
                 (x.erased == x.own_erased ? 1.0f : x.inverse_norm[t]);
      d_erase[t] -= coefficients.a[t] * kappa[t];
      d.a[t] -= factors.erase[t] * kappa[t];
      ScaleRow(x.erase_w[t], row, erase_y + t * ldv_, shape.dv);
      if (!shape.momentum) continue;
      const float of_p = Dot(row, x.erased_p + t * ldv_, shape.dv);
      d_erase[t] -= coefficients.b[t] * of_p;
      d.b[t] -= factors.erase[t] * of_p;
      ScaleRow(factors.erase_p[t], row, erase_p_y + t * ldv_, shape.dv);
    }
  }

  void AddDots(size_t n, float* to) const {
    for (size_t t = 0; t < n; ++t) to[t] += SumLanes(hn::LoadU(F32(), dots_ + t * kRowPadding));
  }

  size_t ldk_, ldv_, ldt_;
  float* kx_ = nullptr;              // diag(X_n) K
  float* rows_;                      // [n, Dk]
  float* transposed_;                // a state's transpose [Dv, Dk]
  float* writes_transposed_;         // Wᵀ
  float *products_, *d_kk_, *d_qk_;  // [n, n]
  float* dots_;                      // [n, kRowPadding], a row's sum in parts
};

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
