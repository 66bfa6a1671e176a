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
        segments_((shape_.plan.longest() + longest_ - 1) / longest_),
        reads_(gradients.d_o != nullptr),
        reads_writes_(reads_ && !shape_.read.at_start),
        through_decays_(gradients.d_log_alpha != nullptr || gradients.d_mu != nullptr),
        ldk_(SpreadRow(shape_.dk)),
        ldv_(SpreadRow(shape_.dv)),
        ldt_(Padded(longest_)),
        d_(arena, longest_, shape_.momentum) {
    for (size_t i = 0; i < segments_; ++i) {
      segment_[i] = ScanSegment(arena, shape_, longest_, true);
      s_[i] = {arena.Take(shape_.dk * ldv_), ldv_};
      if (shape_.momentum) p_[i] = {arena.Take(shape_.dk * ldv_), ldv_};
    }
    began_ = {arena.Take(shape_.dk * ldv_), ldv_};
    ds_ = arena.Take(shape_.dk * ldv_);
    d_frozen_ = arena.Take(shape_.dk * ldv_);
    dO_ = arena.Take(longest_ * ldv_);
    read_s_dO_ = arena.Take(longest_ * ldv_);
    y_ = arena.Take(longest_ * ldv_);
    write_s_y_ = arena.Take(longest_ * ldv_);
    if (shape_.frozen && shape_.plan.phase > 0) write_c_y_ = arena.Take(longest_ * ldv_);
    if (shape_.momentum) {
      dp_ = arena.Take(shape_.dk * ldv_);
      kx_ = arena.Take(longest_ * ldk_);
      read_p_dO_ = arena.Take(longest_ * ldv_);
      write_p_y_ = arena.Take(longest_ * ldv_);
    }
    rows_ = arena.Take(longest_ * ldk_);
    transposed_ = arena.Take(shape_.dv * ldk_);
    writes_transposed_ = arena.Rows(shape_.dv, longest_);
    products_ = arena.Rows(longest_, longest_);
    d_kk_ = arena.Rows(longest_, longest_);
    d_qk_ = arena.Rows(longest_, longest_);
    dots_ = arena.Take(longest_ * kRowPadding);
    d_erase_ = arena.Take(longest_);
    d_theta_ = arena.Take(longest_);
  }

  void Run(size_t head_index) {
    const size_t dk = shape_.dk, dv = shape_.dv, state_size = dk * dv;
    const ScanHead head(a_, head_index, 0);
    upcoming_ = Upcoming();
    upcoming_.Add(head.q, head.key_stride, dk);
    upcoming_.Add(head.k, head.key_stride, dk);
    upcoming_.Add(head.u, head.value_stride, dv);
    upcoming_.Add(OfHead(gradients_.d_o, head, dv), head.value_stride, dv);
    upcoming_.Add(OfHead(gradients_.dq, head, dk), head.key_stride, dk);
    upcoming_.Add(OfHead(gradients_.dk, head, dk), head.key_stride, dk);
    upcoming_.Add(OfHead(gradients_.du, head, dv), head.value_stride, dv);
    StartGradient(gradients_.d_s, head_index, ds_);
    StartGradient(gradients_.d_next_chunk_start, head_index, d_frozen_);
    const ChunkPlan& plan = shape_.plan;
    if (plan.next_phase() == 0) AddFrozen();
    if (plan.phase > 0) {
      CopyRows(dk, dv, a_.chunk_start + head_index * state_size, dv, began_.at, ldv_);
    }
    if (shape_.momentum) StartGradient(gradients_.d_p, head_index, dp_);

    for (size_t chunk = plan.count(); chunk-- > 0;) {
      const size_t start = plan.begin(chunk), end = plan.end(chunk);
      const size_t saved = (head_index * plan.count() + chunk) * state_size;
      const bool began_before = plan.began_before(chunk);
      const State frozen = began_before ? began_ : s_[0];
      CopyRows(dk, dv, a_.states + saved, dv, s_[0].at, ldv_);
      if (shape_.momentum) CopyRows(dk, dv, a_.momenta + saved, dv, p_[0].at, ldv_);
      const size_t count = (end - start + longest_ - 1) / longest_;
      for (size_t i = 0; i < count; ++i) {
        const size_t t = start + i * longest_, next = std::min(t + longest_, end);
        upcoming_.Start(next, std::min(longest_, end - next), kStepsOfSegment);
        const bool advances = i + 1 < count;
        segment_[i].Load(shape_, head, t, std::min(longest_, end - t), began_before, upcoming_);
        segment_[i].Write(shape_, head, s_[i], p_[i], frozen, advances, upcoming_);
        if (advances) {
          segment_[i].Advance(shape_, s_[i], p_[i], s_[i + 1], p_[i + 1], upcoming_);
        }
      }
      // The chunk before starts again with its first segment.
      const size_t before = chunk == 0 ? start : plan.begin(chunk - 1);
      for (size_t i = count; i-- > 0;) {
        if (i == 0) upcoming_.Start(before, std::min(longest_, start - before), kStepsOfSegment);
        SegmentBackward(segment_[i], head, s_[i], p_[i], frozen, began_before);
      }
      if (!began_before && chunk + 1 == plan.count()) AddFrozen();
    }

    if (gradients_.ds0 != nullptr) {
      CopyRows(dk, dv, ds_, ldv_, gradients_.ds0 + head_index * state_size, dv);
    }
    if (gradients_.dp0 != nullptr && shape_.momentum) {
      CopyRows(dk, dv, dp_, ldv_, gradients_.dp0 + head_index * state_size, dv);
    }
    if (gradients_.d_chunk_start != nullptr) {
      CopyRows(dk, dv, d_frozen_, ldv_, gradients_.d_chunk_start + head_index * state_size, dv);
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

  // dS += dS_c where S is S_c.
  void AddFrozen() const {
    for (size_t i = 0; i < shape_.dk; ++i) {
      AddScaledTo(1.0f, d_frozen_ + i * ldv_, ds_ + i * ldv_, shape_.dv);
    }
    ClearRows(shape_.dk, shape_.dv, d_frozen_, ldv_);
  }

  void SegmentBackward(const ScanSegment& x, const ScanHead& head, State s, State p, State frozen,
                       bool began_before) {
    const size_t n = x.length;
    if (through_decays_) {
      ClearGradients(d_, n);
      const size_t dk = shape_.dk, dv = shape_.dv;
      d_.a[n] = DotRows(dk, dv, ds_, ldv_, s.at, s.ld);
      if (shape_.momentum) {
        d_.b[n] = DotRows(dk, dv, ds_, ldv_, p.at, p.ld);
        d_.c[n] = DotRows(dk, dv, dp_, ldv_, p.at, p.ld);
      }
    }
    std::fill_n(d_erase_, n, 0.0f);
    std::fill_n(d_theta_, n, 0.0f);
    Writes(x, head);
    Triangles(x);
    Queries(x, head, s, p, frozen);
    Keys(x, head, s, p, frozen);
    if (through_decays_) PropagateGradients(x.coefficients, d_, n);
    StoreGates(x, head);
    States(x, began_before);
  }

  // Y = (I − N)⁻ᵀ (Kg dS + Kx dP + Mᵀ dO), and dU = diag(θ) Y.
  void Writes(const ScanSegment& x, const ScanHead& head) {
    const size_t n = x.length, dk = shape_.dk, dv = shape_.dv;
    const size_t first = (head.row + x.start * head.gate_stride) * dv;
    if (reads_) {
      // Whole rows at once: those of a head are far apart in memory.
      CopyRows(n, dv, gradients_.d_o + first, head.value_stride, dO_, ldv_);
      for (size_t t = 0; t < n; ++t) {
        ScaleRow(x.read_s[t], dO_ + t * ldv_, read_s_dO_ + t * ldv_, dv);
        if (shape_.momentum) ScaleRow(x.read_p[t], dO_ + t * ldv_, read_p_dO_ + t * ldv_, dv);
      }
    }
    Tiles writes(upcoming_);
    writes.Product(x.k, ldk_, ds_, ldv_, dk).Scale(x.coefficients.g_row(n));
    if (shape_.momentum) {
      const float* factors = x.coefficients.x_row(n);
      for (size_t t = 0; t < n; ++t) ScaleRow(factors[t], x.k + t * ldk_, kx_ + t * ldk_, dk);
      writes.Product(kx_, ldk_, dp_, ldv_, dk);
    }
    if (reads_writes_) writes.Upper(x.m, ldt_, dO_, ldv_, !shape_.read.after);
    if (shape_.erases) writes.SolveUpper(x.n, ldt_, y_, ldv_);
    writes.Store(y_, ldv_);
    if (x.reads_state) writes.Store(write_s_y_, ldv_, x.write_s);
    if (x.reads_start) writes.Store(write_c_y_, ldv_, x.write_c);
    if (shape_.momentum && shape_.erases) writes.Store(write_p_y_, ldv_, x.write_p);
    if (gradients_.d_theta != nullptr) {
      writes.Dots(head.u + x.start * head.value_stride, head.value_stride, dots_);
    }
    writes.Run(n, dv);
    if (gradients_.du != nullptr) {
      for (size_t t = 0; t < n; ++t) {
        ScaleRow(x.theta[t], y_ + t * ldv_, gradients_.du + first + t * head.value_stride, dv);
      }
    }
    if (gradients_.d_theta != nullptr) {
      for (size_t t = 0; t < n; ++t) d_theta_[t] = SumDots(t);
    }
  }

  // The gradients of K Kᵀ and Q Kᵀ, what tokens did to each other: W = .. + N W and O = .. + M W.
  void Triangles(const ScanSegment& x) {
    const size_t n = x.length, dv = shape_.dv;
    float* dg = through_decays_ ? d_.g : nullptr;
    Transpose(n, dv, x.w, ldv_, writes_transposed_, ldt_);
    if (shape_.erases) {
      Tiles products(upcoming_);
      products.Product(y_, ldv_, writes_transposed_, ldt_, dv).Store(products_, ldt_);
      products.RunLower(n);
      EraseTriangleBackward(x.coefficients, x.erase, x.kk, products_, n, d_kk_, dg, d_erase_);
    }
    if (reads_writes_) {
      Tiles products(upcoming_);
      products.Product(dO_, ldv_, writes_transposed_, ldt_, dv).Store(products_, ldt_);
      products.RunLower(n);
      ReadTriangleBackward(x.coefficients, shape_.read.after, shape_.scale, x.qk, products_, n,
                           d_qk_, dg);
    }
  }

  // dQ = diag(scale a_ρ) dO Sᵀ + diag(scale b_ρ) dO Pᵀ + F K, or scale dO S_cᵀ.
  void Queries(const ScanSegment& x, const ScanHead& head, State s, State p, State frozen) {
    const size_t n = x.length, dk = shape_.dk;
    float* dq = gradients_.dq == nullptr
                    ? nullptr
                    : OfHead(gradients_.dq, head, dk) + x.start * head.key_stride;
    if (!reads_) {
      if (dq != nullptr) ClearRows(n, dk, dq, head.key_stride);
      return;
    }
    if (shape_.read.at_start) {
      if (dq == nullptr) return;
      TimesTransposed(dO_, frozen.at, frozen.ld).Scale(x.read_s).Store(rows_, ldk_).Run(n, dk);
      CopyRows(n, dk, rows_, ldk_, dq, head.key_stride);
      return;
    }
    if (dq == nullptr && !through_decays_) return;
    if (shape_.momentum) {
      Tiles of_p = TimesTransposed(dO_, p.at, p.ld);
      if (through_decays_) of_p.Dots(x.q, ldk_, dots_);
      of_p.Scale(x.read_p).Store(rows_, ldk_);
      of_p.Run(n, dk);
      AddReadDots(n, d_.b);
    }
    Tiles queries = TimesTransposed(dO_, s.at, s.ld);
    if (through_decays_) queries.Dots(x.q, ldk_, dots_);
    if (shape_.momentum) {
      queries.ScaleAndAdd(x.read_s, nullptr, rows_, ldk_);
    } else {
      queries.Scale(x.read_s);
    }
    queries.Lower(d_qk_, ldt_, x.k, ldk_, !shape_.read.after).Store(rows_, ldk_);
    queries.Run(n, dk);
    if (dq != nullptr) CopyRows(n, dk, rows_, ldk_, dq, head.key_stride);
    AddReadDots(n, d_.a);
  }

  // dK = diag(G_n) W dSᵀ + diag(X_n) W dPᵀ + (D + Dᵀ) K + Fᵀ Q, and what Ks, Kc and Kp carried: Y Sᵀ, Y S_cᵀ and
  // Y Pᵀ.
  void Keys(const ScanSegment& x, const ScanHead& head, State s, State p, State frozen) {
    const size_t n = x.length, dk = shape_.dk;
    // What there is so far lies in rows_, if anything.
    bool begun = false;
    const auto scale_and_add = [&](Tiles& keys, const float* factors) {
      if (begun) {
        keys.ScaleAndAdd(factors, nullptr, rows_, ldk_);
      } else {
        keys.Scale(factors);
      }
      begun = true;
    };
    if (x.reads_start) {
      Tiles of_c = TimesTransposed(y_, frozen.at, frozen.ld);
      of_c.Dots(x.k, ldk_, dots_);
      scale_and_add(of_c, x.write_c);
      of_c.Store(rows_, ldk_).Run(n, dk);
      for (size_t t = 0; t < n; ++t) d_theta_[t] -= SumDots(t);
    }
    if (x.reads_state) {
      Tiles of_s = TimesTransposed(y_, s.at, s.ld);
      of_s.Dots(x.k, ldk_, dots_);
      scale_and_add(of_s, x.write_s);
      of_s.Store(rows_, ldk_).Run(n, dk);
      AddWriteDots(x, x.coefficients.a, d_.a, shape_.frozen && !x.reads_start);
    }
    if (shape_.momentum && shape_.erases) {
      Tiles of_p = TimesTransposed(y_, p.at, p.ld);
      of_p.Dots(x.k, ldk_, dots_);
      scale_and_add(of_p, x.write_p);
      of_p.Store(rows_, ldk_).Run(n, dk);
      AddWriteDots(x, x.coefficients.b, d_.b, false);
    }
    if (shape_.momentum) {
      Tiles of_dp = TimesTransposed(x.w, dp_, ldv_);
      if (through_decays_) of_dp.Dots(x.k, ldk_, dots_);
      scale_and_add(of_dp, x.coefficients.x_row(n));
      of_dp.Store(rows_, ldk_).Run(n, dk);
      AddLeftDots(n, d_.x_row(n));
    }
    Tiles keys = TimesTransposed(x.w, ds_, ldv_);
    if (through_decays_) keys.Dots(x.k, ldk_, dots_);
    scale_and_add(keys, x.coefficients.g_row(n));
    if (shape_.erases) {
      keys.Lower(d_kk_, ldt_, x.k, ldk_, true).Upper(d_kk_, ldt_, x.k, ldk_, true);
    }
    if (reads_writes_) keys.Upper(d_qk_, ldt_, x.q, ldk_, !shape_.read.after);
    keys.Store(rows_, ldk_).Run(n, dk);
    if (gradients_.dk != nullptr) {
      CopyRows(n, dk, rows_, ldk_, OfHead(gradients_.dk, head, dk) + x.start * head.key_stride,
               head.key_stride);
    }
    AddLeftDots(n, d_.g_row(n));
  }

  // dP ← b_n dS + c_n dP + Qpᵀ dO + Kpᵀ Y and dS ← a_n dS + Qsᵀ dO + Ksᵀ Y; what read S_c has its
  // gradient there.
  void States(const ScanSegment& x, bool began_before) {
    const size_t n = x.length;
    const bool queries_start = reads_ && shape_.read.at_start && began_before;
    if (queries_start || x.reads_start) {
      static constexpr float kOne = 1;
      Tiles start(upcoming_);
      if (queries_start) start.Transposed(x.q, ldk_, read_s_dO_, ldv_, n);
      if (x.reads_start) start.Transposed(x.k, ldk_, write_c_y_, ldv_, n);
      start.AddScaled(kOne, d_frozen_, ldv_).Store(d_frozen_, ldv_).Run(shape_.dk, shape_.dv);
    }
    if (shape_.momentum) {
      Tiles momentum(upcoming_);
      if (reads_writes_) momentum.Transposed(x.q, ldk_, read_p_dO_, ldv_, n);
      if (shape_.erases) momentum.Transposed(x.k, ldk_, write_p_y_, ldv_, n);
      momentum.AddScaled(x.coefficients.b[n], ds_, ldv_)
          .AddScaled(x.coefficients.c[n], dp_, ldv_)
          .Store(dp_, ldv_);
      momentum.Run(shape_.dk, shape_.dv);
    }
    Tiles memory(upcoming_);
    if (reads_ && !queries_start) memory.Transposed(x.q, ldk_, read_s_dO_, ldv_, n);
    if (x.reads_state) memory.Transposed(x.k, ldk_, write_s_y_, ldv_, n);
    memory.AddScaled(x.coefficients.a[n], ds_, ldv_).Store(ds_, ldv_);
    memory.Run(shape_.dk, shape_.dv);
  }

  // The product of rows [n, Dv] with the transpose of a state.
  Tiles TimesTransposed(const float* rows, const float* state, size_t ld) {
    Transpose(shape_.dk, shape_.dv, state, ld, transposed_, ldk_);
    return Tiles(upcoming_).Product(rows, ldv_, transposed_, ldk_, shape_.dv);
  }

  // A head's token 0 in [B, T, H, columns].
  template <class T>
  static T* OfHead(T* tensor, const ScanHead& head, size_t columns) {
    return tensor == nullptr ? nullptr : tensor + head.row * columns;
  }

  float SumDots(size_t t) const {
    const F32 d;
    VecF sum = hn::LoadU(d, dots_ + t * kRowPadding);
    return SumLanes(sum);
  }

  // What a or b of the read took: scale <r_t, q_t>.
  void AddReadDots(size_t n, float* d_factors) const {
    if (!through_decays_) return;
    for (size_t t = 0; t < n; ++t) {
      d_factors[ReadRow(shape_.read.after, t)] += shape_.scale * SumDots(t);
    }
  }

  // What a or b of the write took, κ_t = <z_t, k_t>, with ε and θ.
  void AddWriteDots(const ScanSegment& x, const float* factors, float* d_factors, bool of_frozen) {
    for (size_t t = 0; t < x.length; ++t) {
      const float kappa = SumDots(t);
      d_erase_[t] -= factors[t] * kappa;
      if (through_decays_) d_factors[t] -= x.erase[t] * kappa;
      if (of_frozen) d_theta_[t] -= kappa;
    }
  }

  // What a write's coefficient in the last state took: <k_i, v_i>.
  void AddLeftDots(size_t n, float* d_left) const {
    if (!through_decays_) return;
    for (size_t t = 0; t < n; ++t) d_left[t] += SumDots(t);
  }

  void StoreGates(const ScanSegment& x, const ScanHead& head) const {
    const size_t first = head.row + x.start * head.gate_stride;
    for (size_t t = 0; t < x.length; ++t) {
      const size_t gate = first + t * head.gate_stride;
      if (gradients_.d_erase != nullptr) gradients_.d_erase[gate] = d_erase_[t];
      if (gradients_.d_log_alpha != nullptr) {
        gradients_.d_log_alpha[gate] = x.coefficients.alpha[t] * d_.alpha[t];
      }
      if (gradients_.d_mu != nullptr && shape_.momentum) gradients_.d_mu[gate] = d_.mu[t];
      if (gradients_.d_theta != nullptr) gradients_.d_theta[gate] = d_theta_[t];
    }
  }

  const nl_scan_arguments& a_;
  const nl_scan_gradients& gradients_;
  const ScanShape shape_;
  const size_t longest_, segments_;
  // Whether dO is given; whether reads see the chunk's writes; whether anyone asks for the gradients
  // of α or μ.
  const bool reads_, reads_writes_, through_decays_;
  const size_t ldk_, ldv_, ldt_;
  const Coefficients d_;
  ScanSegment segment_[kMaxSegments];
  State s_[kMaxSegments], p_[kMaxSegments];
  State began_;  // S_c of a chunk that began before the sequence
  Upcoming upcoming_;
  float *ds_, *dp_ = nullptr;                // [Dk, Dv]
  float* d_frozen_;                          // of S_c where it is not S
  float *dO_, *y_;                           // [n, Dv]
  float *read_s_dO_, *read_p_dO_ = nullptr;  // dO with the row factors of Qs and Qp
  float *write_s_y_, *write_p_y_ = nullptr;  // Y with those of Ks and Kp
  float* write_c_y_ = nullptr;               // and of Kc
  float* kx_ = nullptr;                      // diag(X_n) K
  float* rows_;                              // [n, Dk]
  float* transposed_;                        // a state's transpose [Dv, Dk]
  float* writes_transposed_;                 // Wᵀ [Dv, n]
  float *products_, *d_kk_, *d_qk_;          // [n, n]
  float* dots_;                              // [n, kRowPadding], a row's sum in parts
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
