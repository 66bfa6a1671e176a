// A run of tokens of one head that is computed at once: what the forward pass needs, and the
// backward pass computes again. Names as in README.md. Per target.
#if defined(NESTED_LEARNING_KERNELS_SCAN_SEGMENT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_SCAN_SEGMENT_INL_H_
#undef NESTED_LEARNING_KERNELS_SCAN_SEGMENT_INL_H_
#else
#define NESTED_LEARNING_KERNELS_SCAN_SEGMENT_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "core/math-inl.h"
#include "core/product-inl.h"
#include "core/vector-inl.h"
#include "kernels/scan/arena.h"
#include "kernels/scan/coefficients-inl.h"
#include "kernels/scan/rows-inl.h"
#include "kernels/scan/scan.h"
#include "kernels/scan/triangle-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// A state of Dk rows; rows `ld` apart.
struct State {
  float* at = nullptr;
  size_t ld = 0;
};

// Tokens are rows: of k and q `ldk` apart, of u and o `ldv`, gates `heads`.
struct ScanSegment {
  ScanSegment() = default;
  ScanSegment(Arena& arena, const ScanShape& shape, size_t longest)
      : coefficients(arena, longest, shape.momentum),
        ldk(Padded(shape.dk)),
        ldv(Padded(shape.dv)),
        ldt(Padded(longest)),
        erase(arena.Take(longest)),
        theta(arena.Take(longest)),
        k(arena.Rows(longest, shape.dk)),
        q(arena.Rows(longest, shape.dk)),
        qs(arena.Rows(2 * longest, shape.dk)),
        kg(arena.Rows(longest, shape.dk)),
        w(arena.Rows(longest, shape.dv)),
        transposed(arena.Rows(shape.dk, longest)),
        qk(arena.Rows(longest, longest)),
        m(arena.Rows(longest, longest)) {
    if (shape.erases) {
      kk = arena.Rows(longest, longest);
      n = arena.Rows(longest, longest);
    }
    if (shape.momentum) {
      qp = arena.Rows(2 * longest, shape.dk);
      kx = arena.Rows(longest, shape.dk);
    }
  }

  // ε_t a_{t−1}, and θ_t more for the frozen L2 rule: how much of k_t S goes out of w_t.
  float StateFactor(const ScanShape& shape, size_t t) const {
    return erase[t] * coefficients.a[t] + (shape.frozen ? theta[t] : 0.0f);
  }

  // Gates, coefficients and all that does not depend on the state, for `count` tokens from `first`.
  void Load(const ScanShape& shape, const ScanHead& head, size_t first, size_t count,
            Upcoming& upcoming) {
    const F32 d;
    start = first;
    length = count;
    ks = qs + count * ldk;
    kp = shape.momentum ? qp + count * ldk : nullptr;
    for (size_t t = 0; t < count; ++t) {
      const size_t gate = (first + t) * head.gate_stride;
      coefficients.alpha[t] = head.log_alpha == nullptr ? 0.0f : head.log_alpha[gate];
      erase[t] = shape.erases ? head.erase[gate] : 0.0f;
      theta[t] = shape.scales ? head.theta[gate] : 1.0f;
      if (shape.momentum) coefficients.mu[t] = head.mu[gate];
    }
    for (size_t t = 0; t < count; t += kLanes) {
      const size_t lanes = std::min(kLanes, count - t);
      StorePart(Exp(LoadPart(coefficients.alpha + t, lanes)), coefficients.alpha + t, lanes);
    }
    ComputeCoefficients(coefficients, count);

    const size_t dk = shape.dk;
    const float *g = coefficients.g_row(count), *a = coefficients.a, *b = coefficients.b;
    for (size_t t = 0; t < count; ++t) {
      const float* key = head.k + (first + t) * head.key_stride;
      const float* query = head.q + (first + t) * head.key_stride;
      const size_t row = t * ldk, read = ReadRow(shape.after, t);
      const VecF read_s = hn::Set(d, shape.scale * a[read]), of_g = hn::Set(d, g[t]);
      const VecF state_s = hn::Set(d, -StateFactor(shape, t));
      for (size_t i = 0; i < dk; i += kLanes) {
        // Scratch rows are padded, so only the loads have to stop at Dk.
        const size_t lanes = std::min(kLanes, dk - i);
        const VecF kv = lanes == kLanes ? hn::LoadU(d, key + i) : LoadPart(key + i, lanes);
        const VecF qv = lanes == kLanes ? hn::LoadU(d, query + i) : LoadPart(query + i, lanes);
        hn::StoreU(kv, d, k + row + i);
        hn::StoreU(qv, d, q + row + i);
        hn::StoreU(hn::Mul(read_s, qv), d, qs + row + i);
        hn::StoreU(hn::Mul(state_s, kv), d, ks + row + i);
        hn::StoreU(hn::Mul(of_g, kv), d, kg + row + i);
      }
      if (shape.momentum) {
        ScaleRow(shape.scale * b[read], q + row, qp + row, dk);
        ScaleRow(-erase[t] * b[t], k + row, kp + row, dk);
        ScaleRow(coefficients.x_row(count)[t], k + row, kx + row, dk);
      }
    }

    Transpose(count, dk, k, ldk, transposed, ldt);
    upcoming.Step();
    if (shape.erases) {
      LowerOfProduct(count, dk, k, ldk, transposed, ldt, kk, ldt);
      EraseTriangle(coefficients, erase, kk, count, n);
    }
    upcoming.Step();
    LowerOfProduct(count, dk, q, ldk, transposed, ldt, qk, ldt);
    ReadTriangle(coefficients, shape.after, shape.scale, qk, count, m);
    upcoming.Step();
  }

  // W = diag(θ) U + Ks S + Kp P + N W.
  void Write(const ScanShape& shape, const ScanHead& head, State s, State p,
             Upcoming& upcoming) const {
    const float* u = head.u + start * head.value_stride;
    if (shape.scales) {
      for (size_t t = 0; t < length; ++t) {
        ScaleRow(theta[t], u + t * head.value_stride, w + t * ldv, shape.dv);
      }
    } else {
      CopyRows(length, shape.dv, u, head.value_stride, w, ldv);
    }
    if (shape.erases || shape.frozen) {
      Product<false, false>(Into::kAdd, length, shape.dv, shape.dk, ks, ldk, s.at, s.ld, w, ldv);
    }
    upcoming.Step();
    if (!shape.erases) return;
    if (shape.momentum) {
      Product<false, false>(Into::kAdd, length, shape.dv, shape.dk, kp, ldk, p.at, p.ld, w, ldv);
    }
    SolveLower(length, shape.dv, n, ldt, w, ldv);
    upcoming.Step();
  }

  // O = Qs S + Qp P + M W.
  void Read(const ScanShape& shape, const ScanHead& head, State s, State p,
            Upcoming& upcoming) const {
    float* o = head.o + start * head.value_stride;
    Product<false, false>(Into::kSet, length, shape.dv, shape.dk, qs, ldk, s.at, s.ld, o,
                          head.value_stride);
    if (shape.momentum) {
      Product<false, false>(Into::kAdd, length, shape.dv, shape.dk, qp, ldk, p.at, p.ld, o,
                            head.value_stride);
    }
    upcoming.Step();
    AddLowerProduct(length, shape.dv, !shape.after, m, ldt, w, ldv, o, head.value_stride);
    upcoming.Step();
  }

  // S' = a_n S + b_n P + Kgᵀ W and P' = c_n P + Kxᵀ W. S' may be S, and P' P.
  void Advance(const ScanShape& shape, State s, State p, State next_s, State next_p) const {
    const float a = coefficients.a[length];
    if (shape.decays || s.at != next_s.at) {
      ScaleRows(a, shape.dk, shape.dv, s.at, s.ld, next_s.at, next_s.ld);
    }
    if (shape.momentum) {
      const float b = coefficients.b[length], c = coefficients.c[length];
      for (size_t i = 0; i < shape.dk; ++i) {
        AddScaledTo(b, p.at + i * p.ld, next_s.at + i * next_s.ld, shape.dv);
      }
      ScaleRows(c, shape.dk, shape.dv, p.at, p.ld, next_p.at, next_p.ld);
      Product<true, false>(Into::kAdd, shape.dk, shape.dv, length, kx, ldk, w, ldv, next_p.at,
                           next_p.ld);
    }
    Product<true, false>(Into::kAdd, shape.dk, shape.dv, length, kg, ldk, w, ldv, next_s.at,
                         next_s.ld);
  }

  size_t start = 0, length = 0;
  Coefficients coefficients;
  size_t ldk = 0, ldv = 0, ldt = 0;
  float *erase = nullptr, *theta = nullptr;  // [n]; 0 and 1 where not given
  float *k = nullptr, *q = nullptr;          // [n, Dk], copied so that rows are close together
  float *qs = nullptr, *ks = nullptr;        // Qs, and Ks right behind it
  float *qp = nullptr, *kp = nullptr;        // the same of Qp and Kp
  float *kg = nullptr, *kx = nullptr;
  float* w = nullptr;                 // [n, Dv]
  float* transposed = nullptr;        // Kᵀ [Dk, n]
  float *qk = nullptr, *m = nullptr;  // [n, n]
  float *kk = nullptr, *n = nullptr;
};

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
