// The scalar coefficients of a memory's chunk, the two triangles made from them, and their gradients;
// kernels/scan/README.md derives them. Tokens count from 0: row t of G is the state before token t. Per target.
#if defined(NESTED_LEARNING_CORE_COEFFICIENTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_COEFFICIENTS_INL_H_
#undef NESTED_LEARNING_CORE_COEFFICIENTS_INL_H_
#else
#define NESTED_LEARNING_CORE_COEFFICIENTS_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/arena.h"
#include "core/rows-inl.h"
#include "core/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// Without momentum mu, b, c and x are null. Also holds their gradients, in the same places.
struct Coefficients {
  Coefficients() = default;
  Coefficients(Arena& arena, size_t chunk, bool with_momentum) : ld(Padded(chunk)) {
    alpha = arena.Take(chunk);
    a = arena.Take(chunk + 1);
    g = arena.Take((chunk + 1) * ld);
    if (with_momentum) {
      mu = arena.Take(chunk);
      b = arena.Take(chunk + 1);
      c = arena.Take(chunk + 1);
      x = arena.Take((chunk + 1) * ld);
    }
  }

  bool momentum() const { return mu != nullptr; }
  float* g_row(size_t t) const { return g + t * ld; }
  float* x_row(size_t t) const { return x + t * ld; }

  size_t ld = 0;
  float *alpha = nullptr, *mu = nullptr;           // [n], given
  float *a = nullptr, *b = nullptr, *c = nullptr;  // [n + 1]
  float *g = nullptr, *x = nullptr;                // [n + 1, n], row t holds i < t
};

// a_t = α a_{t−1}, c_t = μ c_{t−1}, b_t = α b_{t−1} + c_t, X_t = μ X_{t−1} + e_t, G_t = α G_{t−1} +
// X_t.
inline void ComputeCoefficients(const Coefficients& k, size_t n) {
  const F32 d;
  const size_t width = std::min(k.ld, Padded(n));
  k.a[0] = 1;
  std::fill_n(k.g, width, 0.0f);
  if (!k.momentum()) {
    for (size_t t = 0; t < n; ++t) {
      k.a[t + 1] = k.alpha[t] * k.a[t];
      ScaleRow(k.alpha[t], k.g_row(t), k.g_row(t + 1), width);
      k.g_row(t + 1)[t] = 1;
    }
    return;
  }
  k.b[0] = 0;
  k.c[0] = 1;
  std::fill_n(k.x, width, 0.0f);
  for (size_t t = 0; t < n; ++t) {
    k.a[t + 1] = k.alpha[t] * k.a[t];
    k.c[t + 1] = k.mu[t] * k.c[t];
    k.b[t + 1] = k.alpha[t] * k.b[t] + k.c[t + 1];
    const VecF alpha = hn::Set(d, k.alpha[t]), mu = hn::Set(d, k.mu[t]);
    const float *x = k.x_row(t), *g = k.g_row(t);
    float *next_x = k.x_row(t + 1), *next_g = k.g_row(t + 1);
    for (size_t i = 0; i < width; i += kLanes) {
      const VecF v = hn::Mul(mu, hn::LoadU(d, x + i));
      hn::StoreU(v, d, next_x + i);
      hn::StoreU(hn::MulAdd(alpha, hn::LoadU(d, g + i), v), d, next_g + i);
    }
    next_x[t] = 1;
    next_g[t] = 1;
  }
}

inline void ClearGradients(const Coefficients& dk, size_t n) {
  const size_t width = std::min(dk.ld, Padded(n));
  std::fill_n(dk.a, n + 1, 0.0f);
  ClearRows(n + 1, width, dk.g, dk.ld);
  if (!dk.momentum()) return;
  std::fill_n(dk.b, n + 1, 0.0f);
  std::fill_n(dk.c, n + 1, 0.0f);
  ClearRows(n + 1, width, dk.x, dk.ld);
}

// The recurrences backwards, into dk.alpha and dk.mu; uses up the other gradients.
inline void PropagateGradients(const Coefficients& k, const Coefficients& dk, size_t n) {
  for (size_t t = n; t >= 1; --t) {
    const size_t older = t - 1;
    const float alpha = k.alpha[older];
    float d_alpha = dk.a[t] * k.a[older];
    dk.a[older] += alpha * dk.a[t];
    if (k.momentum()) {
      const float mu = k.mu[older];
      d_alpha += dk.b[t] * k.b[older];
      dk.b[older] += alpha * dk.b[t];
      dk.c[t] += dk.b[t];
      AddScaledTo(1.0f, dk.g_row(t), dk.x_row(t), t);
      dk.mu[older] = dk.c[t] * k.c[older] +
                     AddScaledAndDot(mu, dk.x_row(t), dk.x_row(older), k.x_row(older), older);
      dk.c[older] += mu * dk.c[t];
    }
    dk.alpha[older] =
        d_alpha + AddScaledAndDot(alpha, dk.g_row(t), dk.g_row(older), k.g_row(older), older);
  }
}

// The row of a, b and G with which token t reads, unless it reads the chunk's start.
HWY_INLINE size_t ReadRow(bool after, size_t t) { return after ? t + 1 : t; }

// N_ti = −ε_t G_ti products_ti for i < t; above that undefined. All [n, n] with rows of k.ld.
inline void EraseTriangle(const Coefficients& k, const float* erase, const float* products,
                          size_t n, float* result) {
  const F32 d;
  for (size_t t = 0; t < n; ++t) {
    const VecF factor = hn::Set(d, -erase[t]);
    const float *g = k.g_row(t), *p = products + t * k.ld;
    float* to = result + t * k.ld;
    for (size_t i = 0; i < t; i += kLanes) {
      hn::StoreU(hn::Mul(hn::Mul(factor, hn::LoadU(d, g + i)), hn::LoadU(d, p + i)), d, to + i);
    }
  }
}

// M_ti = scale G_ρi products_ti over the writes that a read sees; beyond that undefined.
inline void ReadTriangle(const Coefficients& k, bool after, float scale, const float* products,
                         size_t n, float* result) {
  const F32 d;
  const VecF factor = hn::Set(d, scale);
  for (size_t t = 0; t < n; ++t) {
    const size_t seen = ReadRow(after, t);
    const float *g = k.g_row(seen), *p = products + t * k.ld;
    float* to = result + t * k.ld;
    for (size_t i = 0; i < seen; i += kLanes) {
      hn::StoreU(hn::Mul(hn::Mul(factor, hn::LoadU(d, g + i)), hn::LoadU(d, p + i)), d, to + i);
    }
  }
}

// From writes_ti = <y_t, w_i>: products' gradient into result, dG and dε −= their parts. dg null:
// not wanted.
inline void EraseTriangleBackward(const Coefficients& k, const float* erase, const float* products,
                                  const float* writes, size_t n, float* result, float* dg,
                                  float* d_erase) {
  const F32 d;
  for (size_t t = 0; t < n; ++t) {
    const VecF factor = hn::Set(d, -erase[t]);
    VecF sum = hn::Zero(d);
    const size_t row = t * k.ld;
    for (size_t i = 0; i < t; i += kLanes) {
      const auto inside = hn::FirstN(d, std::min(kLanes, t - i));
      const VecF write = hn::IfThenElseZero(inside, hn::LoadU(d, writes + row + i));
      const VecF g = hn::IfThenElseZero(inside, hn::LoadU(d, k.g + row + i));
      const VecF product = hn::IfThenElseZero(inside, hn::LoadU(d, products + row + i));
      const VecF d_product = hn::Mul(write, product);
      sum = hn::MulAdd(g, d_product, sum);
      hn::StoreU(hn::Mul(hn::Mul(factor, g), write), d, result + row + i);
      if (dg != nullptr) {
        hn::StoreU(hn::MulAdd(factor, d_product, hn::LoadU(d, dg + row + i)), d, dg + row + i);
      }
    }
    d_erase[t] -= SumLanes(sum);
  }
}

// From writes_ti = <do_t, w_i>: products' gradient into result, dG += its part. dg null: not
// wanted.
inline void ReadTriangleBackward(const Coefficients& k, bool after, float scale,
                                 const float* products, const float* writes, size_t n,
                                 float* result, float* dg) {
  const F32 d;
  const VecF factor = hn::Set(d, scale);
  for (size_t t = 0; t < n; ++t) {
    const size_t seen = ReadRow(after, t), row = t * k.ld, used = seen * k.ld;
    for (size_t i = 0; i < seen; i += kLanes) {
      const auto inside = hn::FirstN(d, std::min(kLanes, seen - i));
      const VecF write =
          hn::Mul(factor, hn::IfThenElseZero(inside, hn::LoadU(d, writes + row + i)));
      hn::StoreU(hn::Mul(write, hn::LoadU(d, k.g + used + i)), d, result + row + i);
      if (dg != nullptr) {
        const VecF product = hn::IfThenElseZero(inside, hn::LoadU(d, products + row + i));
        hn::StoreU(hn::MulAdd(write, product, hn::LoadU(d, dg + used + i)), d, dg + used + i);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
