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
#include "core/arena.h"
#include "core/math-inl.h"
#include "core/rows-inl.h"
#include "core/states-inl.h"
#include "core/tiles-inl.h"
#include "core/upcoming.h"
#include "core/vector-inl.h"
#include "kernels/scan/scan.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// Tokens are rows: of k and q `ldk` apart, of w `ldv`, of triangles `ldt`.
struct ScanSegment {
  ScanSegment() = default;
  // keeps_products: the backward pass needs K Kᵀ and Q Kᵀ too.
  ScanSegment(Arena& arena, const ScanShape& shape, size_t longest, bool keeps_products)
      : coefficients(arena, longest, shape.momentum),
        ldk(SpreadRow(shape.dk)),
        ldv(SpreadRow(shape.dv)),
        ldt(Padded(longest)) {
    erase = arena.Take(longest);
    theta = arena.Take(longest);
    minus_erase = arena.Take(longest);
    read_s = arena.Take(longest);
    write_s = arena.Take(longest);
    if (shape.frozen && shape.plan.phase > 0) {
      write_c = arena.Take(longest);
      kc = arena.Take(longest * ldk);
    }
    k = arena.Take(longest * ldk);
    q = arena.Take(longest * ldk);
    w = arena.Take(longest * ldv);
    gw = arena.Take(longest * ldv);
    transposed = arena.Rows(shape.dk, longest);
    m = arena.Rows(longest, longest);
    if (shape.erases) n = arena.Rows(longest, longest);
    if (keeps_products) {
      qk = arena.Rows(longest, longest);
      if (shape.erases) kk = arena.Rows(longest, longest);
    }
    if (shape.momentum) {
      read_p = arena.Take(longest);
      write_p = arena.Take(longest);
      qp = arena.Take(longest * ldk);
      kp = arena.Take(longest * ldk);
      xw = arena.Take(longest * ldv);
    }
  }

  // Gates, coefficients and all that does not depend on the state, for `count` tokens from `first`
  // of a chunk, which began before the sequence or not.
  void Load(const ScanShape& shape, const ScanHead& head, size_t first, size_t count,
            bool began_before, Upcoming& upcoming) {
    start = first;
    length = count;
    reads_start = shape.frozen && began_before;
    reads_state = shape.erases || (shape.frozen && !began_before);
    for (size_t t = 0; t < count; ++t) {
      const size_t gate = (first + t) * head.gate_stride;
      coefficients.alpha[t] = shape.decays ? head.log_alpha[gate] : 0.0f;
      erase[t] = shape.erases ? head.erase[gate] : 0.0f;
      theta[t] = shape.scales ? head.theta[gate] : 1.0f;
      if (shape.momentum) coefficients.mu[t] = head.mu[gate];
    }
    for (size_t t = 0; t < count; t += kLanes) {
      const size_t lanes = std::min(kLanes, count - t);
      StorePart(Exp(LoadPart(coefficients.alpha + t, lanes)), coefficients.alpha + t, lanes);
    }
    ComputeCoefficients(coefficients, count);
    const float *a = coefficients.a, *b = coefficients.b;
    for (size_t t = 0; t < count; ++t) {
      const size_t read = shape.read.row(t);
      minus_erase[t] = -erase[t];
      read_s[t] = shape.scale * a[read];
      write_s[t] = -(erase[t] * a[t] + (shape.frozen && !began_before ? theta[t] : 0.0f));
      if (reads_start) write_c[t] = -theta[t];
      if (shape.momentum) {
        read_p[t] = shape.scale * b[read];
        write_p[t] = -erase[t] * b[t];
      }
    }

    const size_t dk = shape.dk;
    const float* keys = head.k + first * head.key_stride;
    const float* queries = head.q + first * head.key_stride;
    CopyRows(count, dk, keys, head.key_stride, k, ldk);
    CopyRows(count, dk, queries, head.key_stride, q, ldk);
    if (shape.momentum) {
      for (size_t t = 0; t < count; ++t) {
        ScaleRow(read_p[t], q + t * ldk, qp + t * ldk, dk);
        if (shape.erases) ScaleRow(write_p[t], k + t * ldk, kp + t * ldk, dk);
      }
    }

    if (reads_start) {
      for (size_t t = 0; t < count; ++t) ScaleRow(write_c[t], k + t * ldk, kc + t * ldk, dk);
    }

    Transpose(count, dk, k, ldk, transposed, ldt);
    if (shape.erases) {
      // N_ti = −ε_t G_{t−1,i} <k_t, k_i>.
      Tiles products(upcoming);
      products.Product(k, ldk, transposed, ldt, dk);
      if (kk != nullptr) products.Store(kk, ldt);
      products.Times(minus_erase, coefficients.g_row(0), coefficients.ld).Store(n, ldt);
      products.RunLower(count);
    }
    if (shape.read.at_start) return;
    // M_ti = scale G_ρi <q_t, k_i>.
    Tiles products(upcoming);
    products.Product(q, ldk, transposed, ldt, dk);
    if (qk != nullptr) products.Store(qk, ldt);
    products
        .TimesScaled(shape.scale, coefficients.g_row(ReadRow(shape.read.after, 0)), coefficients.ld)
        .Store(m, ldt);
    products.RunLower(count);
  }

  // W = diag(θ) U + Ks S + Kc S_c + Kp P + N W, and what Advance takes of it.
  void Write(const ScanShape& shape, const ScanHead& head, State s, State p, State frozen,
             bool advances, Upcoming& upcoming) const {
    Tiles writes(upcoming);
    const float* u = head.u + start * head.value_stride;
    const float* factors = shape.scales ? theta : nullptr;
    if (reads_state) {
      writes.Product(k, ldk, s.at, s.ld, shape.dk)
          .ScaleAndAdd(write_s, factors, u, head.value_stride);
      if (shape.erases && shape.momentum) writes.Product(kp, ldk, p.at, p.ld, shape.dk);
    } else {
      writes.AddRows(factors, u, head.value_stride);
    }
    if (reads_start) writes.Product(kc, ldk, frozen.at, frozen.ld, shape.dk);
    if (shape.erases) writes.SolveLower(n, ldt, w, ldv);
    writes.Store(w, ldv);
    if (advances) {
      writes.Store(gw, ldv, coefficients.g_row(length));
      if (shape.momentum) writes.Store(xw, ldv, coefficients.x_row(length));
    }
    writes.Run(length, shape.dv);
  }

  // O = Qs S + Qp P + M W, or scale Q S_c.
  void Read(const ScanShape& shape, const ScanHead& head, State s, State p, State frozen,
            Upcoming& upcoming) const {
    if (shape.read.at_start) s = frozen;
    Tiles reads(upcoming);
    reads.Product(q, ldk, s.at, s.ld, shape.dk).Scale(read_s);
    if (!shape.read.at_start) {
      if (shape.momentum) reads.Product(qp, ldk, p.at, p.ld, shape.dk);
      reads.Lower(m, ldt, w, ldv, !shape.read.after);
    }
    reads.Store(head.o + start * head.value_stride, head.value_stride);
    reads.Run(length, shape.dv);
  }

  // The states behind, as AdvanceStates.
  void Advance(const ScanShape& shape, State s, State p, State next_s, State next_p,
               Upcoming& upcoming) const {
    AdvanceStates(coefficients, {k, ldk, gw, xw, ldv}, length, shape.dk, shape.dv, s, p, next_s,
                  next_p, upcoming);
  }

  size_t start = 0, length = 0;
  bool reads_start = false;  // whether writes read S_c that is not S
  bool reads_state = false;  // whether they read S
  Coefficients coefficients;
  size_t ldk = 0, ldv = 0, ldt = 0;
  float *erase = nullptr, *theta = nullptr;  // [n]; 0 and 1 where not given
  float* minus_erase = nullptr;
  // Row factors of Qs, Ks, Qp, Kp and Kc.
  float *read_s = nullptr, *write_s = nullptr, *read_p = nullptr, *write_p = nullptr;
  float* write_c = nullptr;
  float *k = nullptr, *q = nullptr;    // [n, Dk], copied so that rows are close together
  float *qp = nullptr, *kp = nullptr;  // Qp and Kp
  float* kc = nullptr;
  float* w = nullptr;                  // [n, Dv]
  float *gw = nullptr, *xw = nullptr;  // diag(G_n) W and diag(X_n) W
  float* transposed = nullptr;         // Kᵀ [Dk, n]
  float *m = nullptr, *n = nullptr;    // [n, n]
  float *qk = nullptr, *kk = nullptr;  // Q Kᵀ and K Kᵀ; null when not wanted
};

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
