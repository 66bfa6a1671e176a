// One chunk of one head of the self-modifying scan: what the forward pass needs, and the backward
// pass computes again. Names as in README.md. Per target.
#if defined(NESTED_LEARNING_KERNELS_SELF_MODIFYING_CHUNK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_SELF_MODIFYING_CHUNK_INL_H_
#undef NESTED_LEARNING_KERNELS_SELF_MODIFYING_CHUNK_INL_H_
#else
#define NESTED_LEARNING_KERNELS_SELF_MODIFYING_CHUNK_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "hwy/highway.h"
#include "core/arena.h"
#include "core/chunk.h"
#include "core/coefficients-inl.h"
#include "core/math-inl.h"
#include "core/product-inl.h"
#include "core/rows-inl.h"
#include "core/vector-inl.h"
#include "kernels/self_modifying/triangle-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

struct SelfModifyingShape {
  explicit SelfModifyingShape(const nl_self_modifying_arguments& a)
      : plan(a.chunk, a.phase, a.time),
        dim(a.dim),
        columns(3 * dim + 2),
        token_stride(static_cast<size_t>(a.heads) * dim),
        read(a.read),
        writes_error(a.objective == NL_OBJECTIVE_L2 && !Has(a, NL_SELF_MODIFYING_EXACT_GRADIENT)),
        erase_factor(a.objective == NL_OBJECTIVE_L2 && !writes_error ? 2.0f : 1.0f),
        unit_values(Has(a, NL_SELF_MODIFYING_NORMALIZE_VALUES)) {}

  static bool Has(const nl_self_modifying_arguments& a, uint32_t flag) {
    return (a.flags & flag) != 0;
  }

  ChunkPlan plan;
  size_t dim, columns;
  size_t token_stride;  // from a head's token to the next
  ReadMode read;
  bool writes_error;   // whether writes hold −η k S_c
  float erase_factor;  // ε / η
  bool unit_values;
};

// States are [D, 3D + 2] in rows of lds, padded with columns that stay 0, so that products run over
// whole vectors. Rows of D are ldd apart, triangles ldt.
struct ChunkOfHead {
  ChunkOfHead(Arena& arena, const SelfModifyingShape& shape)
      : coefficients(arena, shape.plan.longest(), false),
        ldd(Padded(shape.dim)),
        lds(Padded(shape.columns)),
        ldt(Padded(shape.plan.longest())),
        ldp(Padded(2 * shape.dim)) {
    const size_t n = shape.plan.longest(), dim = shape.dim;
    x = arena.Rows(n, dim);
    q = arena.Rows(n, dim);
    projections = arena.Rows(n, 2 * dim);
    k = arena.Rows(n, dim);
    f = arena.Rows(n, dim);
    eta_f = arena.Rows(n, dim);
    qs = arena.Rows(n, dim);
    kg = arena.Rows(n, dim);
    if (shape.plan.phase > 0) ks = arena.Rows(n, dim);
    w = arena.Rows(n, shape.columns);
    kk = arena.Rows(n, n);
    qk = arena.Rows(n, n);
    n_matrix = arena.Rows(n, n);
    m = arena.Rows(n, n);
    transposed = arena.Rows(dim, n);
    gates = arena.Rows(n, 2);
    inverse_norm = arena.Take(n);
    inverse_value_norm = arena.Take(n);
    eta = arena.Take(n);
    eta_input = arena.Take(n);
    alpha_input = arena.Take(n);
    erase = arena.Take(n);
    gamma = arena.Take(n);
  }

  // Keys, values, gates, coefficients and writes of `count` tokens, from the state before the first
  // and S_c, which are the same unless the chunk began before the sequence.
  void Load(const SelfModifyingShape& shape, const nl_self_modifying_arguments& a, const float* xs,
            const float* queries, const float* s, const float* frozen, size_t count) {
    const size_t dim = shape.dim;
    length = count;
    began_before = frozen != s;
    CopyRows(count, dim, xs, shape.token_stride, x, ldd);
    CopyRows(count, dim, queries, shape.token_stride, q, ldd);
    Project(shape, a, frozen);
    ComputeCoefficients(coefficients, count);

    const float* g = coefficients.g_row(count);
    const F32 d;
    for (size_t t = 0; t < count; ++t) {
      const float erased = shape.erase_factor * coefficients.a[t];
      erase[t] = shape.erase_factor * eta[t];
      gamma[t] = (began_before ? 0.0f : erased) + (shape.writes_error ? 1.0f : 0.0f);
      const VecF minus_gamma = hn::Set(d, -gamma[t]), rate = hn::Set(d, eta[t]);
      const VecF of_g = hn::Set(d, g[t]);
      const VecF read = hn::Set(d, coefficients.a[shape.read.row(t)]);
      const float* v = projections + t * ldp + dim;
      const size_t row = t * ldd;
      for (size_t i = 0; i < dim; i += kLanes) {
        const size_t lanes = std::min(kLanes, dim - i);
        const VecF key = hn::LoadU(d, k + row + i);
        const VecF value = lanes == kLanes ? hn::LoadU(d, v + i) : LoadPart(v + i, lanes);
        const VecF fv = hn::MulAdd(minus_gamma, key, value);
        hn::StoreU(fv, d, f + row + i);
        hn::StoreU(hn::Mul(rate, fv), d, eta_f + row + i);
        hn::StoreU(hn::Mul(of_g, key), d, kg + row + i);
        hn::StoreU(hn::Mul(read, hn::LoadU(d, q + row + i)), d, qs + row + i);
      }
      if (began_before) ScaleRow(-erase[t] * coefficients.a[t], k + row, ks + row, dim);
    }
    Transpose(count, dim, k, ldd, transposed, ldt);
    LowerOfProduct(count, dim, k, ldd, transposed, ldt, kk, ldt);
    LowerOfProduct(count, dim, q, ldd, transposed, ldt, qk, ldt);
    EraseTriangle(coefficients, erase, kk, count, n_matrix);
    if (!shape.read.at_start) ReadTriangle(coefficients, shape.read.after, 1.0f, qk, count, m);

    Product<false, false>(Into::kSet, count, lds, dim, eta_f, ldd, frozen, lds, w, lds);
    if (began_before) Product<false, false>(Into::kAdd, count, lds, dim, ks, ldd, s, lds, w, lds);
    SolveLower(count, lds, n_matrix, ldt, w, lds);
  }

  // O = Qs S_mem + M W_mem, or Q S_mem,c.
  void Read(const SelfModifyingShape& shape, const float* s, const float* frozen, float* o) const {
    const size_t dim = shape.dim;
    if (shape.read.at_start) s = frozen;
    Product<false, false>(Into::kSet, length, dim, dim, qs, ldd, s + 2 * dim, lds, o,
                          shape.token_stride);
    if (shape.read.at_start) return;
    AddLowerProduct(length, dim, !shape.read.after, m, ldt, w + 2 * dim, lds, o,
                    shape.token_stride);
  }

  // The gradients of a row's key and of its value before their norms, from dk and dv, which are overwritten.
  void ProjectionGradient(const SelfModifyingShape& shape, size_t t, float* dk, float* dv,
                          float* to) const {
    NormGradient(inverse_norm[t], k + t * ldd, dk, to, shape.dim);
    if (shape.unit_values) {
      NormGradient(inverse_value_norm[t], projections + t * ldp + shape.dim, dv, to + shape.dim,
                   shape.dim);
    } else {
      std::copy_n(dv, shape.dim, to + shape.dim);
    }
  }

  // S = a_n S + Kgᵀ W.
  void Advance(const SelfModifyingShape& shape, float* s) const {
    ScaleRows(coefficients.a[length], shape.dim, lds, s, lds, s, lds);
    Product<true, false>(Into::kAdd, shape.dim, lds, length, kg, ldd, w, lds, s, lds);
  }

  size_t length = 0;
  bool began_before = false;  // S ≠ S_c
  Coefficients coefficients;
  size_t ldd, lds, ldt, ldp;
  float *x, *q;                    // [n, D] copied, so that rows are close together
  float* projections;              // [n, 2D]: x S_k before its norm, and v
  float *k, *f, *eta_f, *qs, *kg;  // [n, D]
  float* ks = nullptr;             // −diag(ε a_{t−1}) K, where S ≠ S_c
  float* w;                        // [n, 3D + 2]
  float *kk, *qk, *n_matrix, *m;   // [n, n]
  float* transposed;               // Kᵀ
  float* gates;                    // [n, 2]: x S_η and x S_α
  float *inverse_norm, *inverse_value_norm, *eta, *eta_input, *alpha_input, *erase,
      *gamma;  // [n]; gamma is g of README.md

 private:
  // From y = r x with r = 1/√(Σx² + ε²):  dx = r (dy − <dy, y> y). Overwrites dy.
  static void NormGradient(float r, const float* y, float* dy, float* dx, size_t count) {
    AddScaledTo(-Dot(dy, y, count), y, dy, count);
    ScaleRow(r, dy, dx, count);
  }

  void Project(const SelfModifyingShape& shape, const nl_self_modifying_arguments& a,
               const float* s) {
    const F32 d;
    const size_t n = length, dim = shape.dim;
    Product<false, false>(Into::kSet, n, 2 * dim, dim, x, ldd, s, lds, projections, ldp);
    Product<false, false>(Into::kSet, n, 2, dim, x, ldd, s + 3 * dim, lds, gates, kRowPadding);
    const auto inverse_norm_of = [&](const float* row) {
      return 1.0f / std::sqrt(Dot(row, row, dim) + a.norm_epsilon * a.norm_epsilon);
    };
    for (size_t t = 0; t < n; ++t) {
      float *raw = projections + t * ldp, *value = raw + dim;
      inverse_norm[t] = inverse_norm_of(raw);
      if (shape.unit_values) {
        inverse_value_norm[t] = inverse_norm_of(value);
        ScaleRow(inverse_value_norm[t], value, value, dim);
      }
      eta_input[t] = gates[t * kRowPadding] + a.eta_bias;
      alpha_input[t] = gates[t * kRowPadding + 1] + a.alpha_bias;
      const VecF factor = hn::Set(d, inverse_norm[t]);
      for (size_t i = 0; i < dim; i += kLanes) {
        const size_t lanes = std::min(kLanes, dim - i);
        hn::StoreU(hn::Mul(factor, LoadPart(raw + i, lanes)), d, k + t * ldd + i);
      }
    }
    const VecF scale = hn::Set(d, a.eta_scale);
    for (size_t t = 0; t < n; t += kLanes) {
      const size_t lanes = std::min(kLanes, n - t);
      StorePart(hn::Mul(scale, Softplus(LoadPart(eta_input + t, lanes))), eta + t, lanes);
      StorePart(Sigmoid(LoadPart(alpha_input + t, lanes)), coefficients.alpha + t, lanes);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
