// The scan's backward pass over one head; README.md derives it, and has the names. Per target.
#if defined(NESTED_LEARNING_KERNELS_SCAN_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_SCAN_BACKWARD_INL_H_
#undef NESTED_LEARNING_KERNELS_SCAN_BACKWARD_INL_H_
#else
#define NESTED_LEARNING_KERNELS_SCAN_BACKWARD_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "kernels/scan/segment-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

class ScanBackwardPass {
 public:
  ScanBackwardPass(Arena& arena, const nl_scan_arguments& a, const nl_scan_gradients& gradients)
      : a_(a),
        gradients_(gradients),
        shape_(a),
        longest_(shape_.segment()),
        segments_((shape_.chunk + longest_ - 1) / longest_),
        reads_(gradients.d_o != nullptr),
        through_state_(shape_.erases || shape_.frozen),
        through_decays_(gradients.d_log_alpha != nullptr || gradients.d_mu != nullptr),
        ldk_(Padded(shape_.dk)),
        ldv_(Padded(shape_.dv)),
        ldt_(Padded(longest_)),
        d_(arena, longest_, shape_.momentum) {
    for (size_t i = 0; i < segments_; ++i) {
      segment_[i] = ScanSegment(arena, shape_, longest_);
      // The first segment starts from the saved states.
      if (i > 0) s_[i] = {arena.Rows(shape_.dk, shape_.dv), ldv_};
      if (i > 0 && shape_.momentum) p_[i] = {arena.Rows(shape_.dk, shape_.dv), ldv_};
    }
    ds_ = arena.Rows(shape_.dk, shape_.dv);
    if (shape_.momentum) dp_ = arena.Rows(shape_.dk, shape_.dv);
    dy_ = arena.Rows(2 * longest_, shape_.dv);
    dq_ = arena.Rows(longest_, shape_.dk);
    dk_ = arena.Rows(longest_, shape_.dk);
    rows_ = arena.Rows(2 * longest_, shape_.dk);
    state_transposed_ = arena.Rows(shape_.dv, shape_.dk);
    writes_transposed_ = arena.Rows(shape_.dv, longest_);
    products_ = arena.Rows(longest_, longest_);
    d_products_ = arena.Rows(longest_, longest_);
    d_erase_ = arena.Take(longest_);
    d_theta_ = arena.Take(longest_);
  }

  void Run(size_t head_index) {
    const size_t dk = shape_.dk, dv = shape_.dv, state_size = dk * dv;
    const ScanHead head(a_, head_index, 0);
    const float* d_o = reads_ ? gradients_.d_o + head.row * dv : nullptr;
    StartGradient(gradients_.d_s, head_index, ds_);
    if (shape_.momentum) StartGradient(gradients_.d_p, head_index, dp_);

    for (size_t chunk = shape_.chunks(); chunk-- > 0;) {
      const size_t start = chunk * shape_.chunk, end = std::min(start + shape_.chunk, shape_.time);
      const size_t saved = (head_index * shape_.chunks() + chunk) * state_size;
      s_[0] = {a_.states + saved, dv};
      if (shape_.momentum) p_[0] = {a_.momenta + saved, dv};
      const size_t count = (end - start + longest_ - 1) / longest_;
      for (size_t i = 0; i < count; ++i) {
        const size_t t = start + i * longest_;
        // A chunk's segments come in order; then, while they go backwards, the chunk before it.
        upcoming_.Set(head, shape_, d_o, t + longest_, i + 1 < count ? longest_ : 0);
        segment_[i].Load(shape_, head, t, std::min(longest_, end - t), upcoming_);
        segment_[i].Write(shape_, head, s_[i], p_[i], upcoming_);
        if (i + 1 < count) segment_[i].Advance(shape_, s_[i], p_[i], s_[i + 1], p_[i + 1]);
      }
      const size_t before = start - std::min(start, shape_.chunk);
      upcoming_.Set(head, shape_, d_o, before, std::min(longest_, start - before));
      for (size_t i = count; i-- > 0;) SegmentBackward(segment_[i], head, s_[i], p_[i]);
    }

    if (gradients_.ds0 != nullptr) {
      CopyRows(dk, dv, ds_, ldv_, gradients_.ds0 + head_index * state_size, dv);
    }
    if (gradients_.dp0 != nullptr && shape_.momentum) {
      CopyRows(dk, dv, dp_, ldv_, gradients_.dp0 + head_index * state_size, dv);
    }
  }

 private:
  void StartGradient(const float* given, size_t head_index, float* gradient) const {
    if (given == nullptr) {
      ClearRows(shape_.dk, shape_.dv, gradient, ldv_);
    } else {
      CopyRows(shape_.dk, shape_.dv, given + head_index * shape_.dk * shape_.dv, shape_.dv,
               gradient, ldv_);
    }
  }

  void SegmentBackward(const ScanSegment& x, const ScanHead& head, State s, State p) {
    const size_t n = x.length, dk = shape_.dk, dv = shape_.dv;
    // [dO; Y] lie together, so that they go through the state in one product.
    float* dO = dy_;
    float* y = dy_ + n * ldv_;
    if (through_decays_) ClearGradients(d_, n);
    ClearRows(n, dk, dq_, ldk_);
    ClearRows(n, dk, dk_, ldk_);
    std::fill_n(d_erase_, n, 0.0f);
    std::fill_n(d_theta_, n, 0.0f);
    if (reads_) {
      CopyRows(n, dv, gradients_.d_o + (head.row + x.start * head.gate_stride) * dv,
               head.value_stride, dO, ldv_);
    }

    upcoming_.Step();
    LeftBehind(x, ds_, x.coefficients.g_row(n), through_decays_ ? d_.g_row(n) : nullptr);
    if (shape_.momentum) {
      LeftBehind(x, dp_, x.coefficients.x_row(n), through_decays_ ? d_.x_row(n) : nullptr);
    }
    if (through_decays_) {
      d_.a[n] += DotRows(dk, dv, ds_, ldv_, s.at, s.ld);
      if (shape_.momentum) {
        d_.b[n] += DotRows(dk, dv, ds_, ldv_, p.at, p.ld);
        d_.c[n] += DotRows(dk, dv, dp_, ldv_, p.at, p.ld);
      }
    }

    upcoming_.Step();

    // dW = Kg dS + Kx dP + Mᵀ dO, and Y = (I − N)⁻ᵀ dW.
    Product<false, false>(Into::kSet, n, dv, dk, x.kg, ldk_, ds_, ldv_, y, ldv_);
    if (shape_.momentum) {
      Product<false, false>(Into::kAdd, n, dv, dk, x.kx, ldk_, dp_, ldv_, y, ldv_);
    }
    upcoming_.Step();
    if (reads_) AddUpperProduct(n, dv, !shape_.after, x.m, ldt_, dO, ldv_, y, ldv_);
    if (shape_.erases) SolveLowerTransposed(n, dv, x.n, ldt_, y, ldv_);

    upcoming_.Step();
    ThroughState(x, s, x.coefficients.a, d_.a, through_state_, true);
    if (shape_.momentum) ThroughState(x, p, x.coefficients.b, d_.b, shape_.erases, false);
    upcoming_.Step();
    InsideSegment(x, dO, y);
    upcoming_.Step();
    if (through_decays_) PropagateGradients(x.coefficients, d_, n);
    Store(x, head, y);
    upcoming_.Step();

    // dS ← a_n dS + Qsᵀ dO + Ksᵀ Y and dP ← b_n dS + c_n dP + Qpᵀ dO + Kpᵀ Y.
    if (shape_.momentum) {
      ScaleRows(x.coefficients.c[n], dk, dv, dp_, ldv_, dp_, ldv_);
      for (size_t i = 0; i < dk; ++i) {
        AddScaledTo(x.coefficients.b[n], ds_ + i * ldv_, dp_ + i * ldv_, dv);
      }
      BackToState(n, x.qp, shape_.erases, dp_);
    }
    if (shape_.decays) ScaleRows(x.coefficients.a[n], dk, dv, ds_, ldv_, ds_, ldv_);
    BackToState(n, x.qs, through_state_, ds_);
  }

  // S_n took Σ g_i k_iᵀ w_i. With V = W dSᵀ: dk_i += g_i v_i, dg_i += <k_i, v_i>. dg null: not
  // wanted.
  void LeftBehind(const ScanSegment& x, const float* d_state, const float* g, float* dg) {
    Transpose(shape_.dk, shape_.dv, d_state, ldv_, state_transposed_, ldk_);
    Product<false, false>(Into::kSet, x.length, shape_.dk, shape_.dv, x.w, ldv_, state_transposed_,
                          ldk_, rows_, ldk_);
    for (size_t i = 0; i < x.length; ++i) {
      float *v = rows_ + i * ldk_, *dk = dk_ + i * ldk_;
      if (dg == nullptr) {
        AddScaledTo(g[i], v, dk, shape_.dk);
      } else {
        dg[i] += AddScaledAndDot(g[i], v, dk, x.k + i * ldk_, shape_.dk);
      }
    }
  }

  // O took scale a_ρ q_t S and W took −(ε_t a_{t−1} + [L2] θ_t) k_t S; the same with b and P, which
  // is not frozen.
  void ThroughState(const ScanSegment& x, State s, const float* factors, float* d_factors,
                    bool of_writes, bool is_s) {
    const size_t n = x.length, dk = shape_.dk;
    const size_t begin = reads_ ? 0 : n, end = of_writes ? 2 * n : n;
    if (begin >= end) return;
    Transpose(dk, shape_.dv, s.at, s.ld, state_transposed_, ldk_);
    Product<false, false>(Into::kSet, end - begin, dk, shape_.dv, dy_ + begin * ldv_, ldv_,
                          state_transposed_, ldk_, rows_ + begin * ldk_, ldk_);
    if (reads_) {
      for (size_t t = 0; t < n; ++t) {
        const size_t read = ReadRow(shape_.after, t), row = t * ldk_;
        const float factor = shape_.scale * factors[read];
        if (through_decays_) {
          d_factors[read] +=
              shape_.scale * AddScaledAndDot(factor, rows_ + row, dq_ + row, x.q + row, dk);
        } else {
          AddScaledTo(factor, rows_ + row, dq_ + row, dk);
        }
      }
    }
    if (of_writes) {
      for (size_t t = 0; t < n; ++t) {
        const size_t row = t * ldk_;
        const float factor = is_s ? x.StateFactor(shape_, t) : x.erase[t] * factors[t];
        const float kappa =
            AddScaledAndDot(-factor, rows_ + n * ldk_ + row, dk_ + row, x.k + row, dk);
        d_erase_[t] -= factors[t] * kappa;
        if (through_decays_) d_factors[t] -= x.erase[t] * kappa;
        if (is_s && shape_.frozen) d_theta_[t] -= kappa;
      }
    }
  }

  // What tokens did to each other: W = .. + N W and O = .. + M W.
  void InsideSegment(const ScanSegment& x, const float* dO, const float* y) {
    const size_t n = x.length, dk = shape_.dk, dv = shape_.dv;
    float* dg = through_decays_ ? d_.g : nullptr;
    Transpose(n, dv, x.w, ldv_, writes_transposed_, ldt_);
    if (shape_.erases) {
      LowerOfProduct(n, dv, y, ldv_, writes_transposed_, ldt_, products_, ldt_);
      EraseTriangleBackward(x.coefficients, x.erase, x.kk, products_, n, d_products_, dg, d_erase_);
      AddLowerProduct(n, dk, true, d_products_, ldt_, x.k, ldk_, dk_, ldk_);
      AddUpperProduct(n, dk, true, d_products_, ldt_, x.k, ldk_, dk_, ldk_);
    }
    if (reads_) {
      LowerOfProduct(n, dv, dO, ldv_, writes_transposed_, ldt_, products_, ldt_);
      ReadTriangleBackward(x.coefficients, shape_.after, shape_.scale, x.qk, products_, n,
                           d_products_, dg);
      AddLowerProduct(n, dk, !shape_.after, d_products_, ldt_, x.k, ldk_, dq_, ldk_);
      AddUpperProduct(n, dk, !shape_.after, d_products_, ldt_, x.q, ldk_, dk_, ldk_);
    }
  }

  void Store(const ScanSegment& x, const ScanHead& head, const float* y) {
    const size_t n = x.length, dk = shape_.dk, dv = shape_.dv;
    const size_t first = head.row + x.start * head.gate_stride;
    if (gradients_.dq != nullptr) {
      CopyRows(n, dk, dq_, ldk_, gradients_.dq + first * dk, head.key_stride);
    }
    if (gradients_.dk != nullptr) {
      CopyRows(n, dk, dk_, ldk_, gradients_.dk + first * dk, head.key_stride);
    }
    if (gradients_.du != nullptr) {
      for (size_t t = 0; t < n; ++t) {
        ScaleRow(x.theta[t], y + t * ldv_, gradients_.du + first * dv + t * head.value_stride, dv);
      }
    }
    for (size_t t = 0; t < n; ++t) {
      const size_t gate = first + t * head.gate_stride;
      if (gradients_.d_erase != nullptr) gradients_.d_erase[gate] = d_erase_[t];
      if (gradients_.d_log_alpha != nullptr) {
        gradients_.d_log_alpha[gate] = x.coefficients.alpha[t] * d_.alpha[t];
      }
      if (gradients_.d_mu != nullptr && shape_.momentum) gradients_.d_mu[gate] = d_.mu[t];
      if (gradients_.d_theta != nullptr) {
        gradients_.d_theta[gate] =
            d_theta_[t] + Dot(y + t * ldv_, head.u + (x.start + t) * head.value_stride, dv);
      }
    }
  }

  // dS += [Qs; Ks]ᵀ [dO; Y].
  void BackToState(size_t n, const float* factors, bool of_writes, float* d_state) {
    const size_t begin = reads_ ? 0 : n, end = of_writes ? 2 * n : n;
    if (begin >= end) return;
    Product<true, false>(Into::kAdd, shape_.dk, shape_.dv, end - begin, factors + begin * ldk_,
                         ldk_, dy_ + begin * ldv_, ldv_, d_state, ldv_);
  }

  const nl_scan_arguments& a_;
  const nl_scan_gradients& gradients_;
  const ScanShape shape_;
  const size_t longest_, segments_;
  // Whether dO is given; whether writes read the state; whether anyone asks for the gradients of α
  // or μ.
  const bool reads_, through_state_, through_decays_;
  const size_t ldk_, ldv_, ldt_;
  const Coefficients d_;
  ScanSegment segment_[kMaxSegments];
  Upcoming upcoming_;
  State s_[kMaxSegments], p_[kMaxSegments];
  float *ds_, *dp_ = nullptr;
  float *dy_, *dq_, *dk_, *rows_;
  float *state_transposed_, *writes_transposed_;
  float *products_, *d_products_;
  float *d_erase_, *d_theta_;
};

void ScanBackward(const nl_scan_arguments& a, const nl_scan_gradients& gradients, int64_t piece,
                  float* workspace) {
  Arena arena(workspace);
  ScanBackwardPass(arena, a, gradients).Run(piece);
}

size_t ScanBackwardWorkspace(const nl_scan_arguments& a) {
  const nl_scan_gradients none = {};
  Arena arena(nullptr);
  ScanBackwardPass(arena, a, none);
  return arena.used();
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
