// The self-modifying scan over one head, forward and backward; README.md derives them. Per target.
#if defined(NESTED_LEARNING_KERNELS_SELF_MODIFYING_PASSES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_SELF_MODIFYING_PASSES_INL_H_
#undef NESTED_LEARNING_KERNELS_SELF_MODIFYING_PASSES_INL_H_
#else
#define NESTED_LEARNING_KERNELS_SELF_MODIFYING_PASSES_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "kernels/self_modifying/chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// Copies a state into padded rows.
inline void LoadPadded(const SelfModifyingShape& shape, const float* from, float* to, size_t lds) {
  CopyRows(shape.dim, shape.columns, from, shape.columns, to, lds);
  ClearRows(shape.dim, lds - shape.columns, to + shape.columns, lds);
}

// The offset of a head's first token in [B, T, H, D].
inline size_t FirstToken(const nl_self_modifying_arguments& a, size_t head) {
  return (head / a.heads * a.time * a.heads + head % a.heads) * a.dim;
}

void SelfModifyingForward(const nl_self_modifying_arguments& a, int64_t head, float* workspace) {
  const SelfModifyingShape shape(a);
  Arena arena(workspace);
  ChunkOfHead chunk(arena, shape);
  const size_t lds = chunk.lds, state_size = shape.dim * shape.columns;
  float *s = arena.Take(shape.dim * lds), *began = arena.Take(shape.dim * lds);
  const auto store = [&](const float* state, float* to, size_t index) {
    if (to == nullptr) return;
    CopyRows(shape.dim, shape.columns, state, lds, to + index * state_size, shape.columns);
  };
  const ChunkPlan& plan = shape.plan;
  LoadPadded(shape, a.s0 + head * state_size, s, lds);
  if (plan.phase > 0) {
    LoadPadded(shape, a.chunk_start + head * state_size, began, lds);
    store(began, a.next_chunk_start, head);
  }
  const size_t token = FirstToken(a, head);
  for (size_t index = 0; index < plan.count(); ++index) {
    const float* frozen = plan.began_before(index) ? began : s;
    store(s, a.states, head * plan.count() + index);
    if (index + 1 == plan.count()) store(frozen, a.next_chunk_start, head);
    const size_t start = plan.begin(index), offset = token + start * shape.token_stride;
    chunk.Load(shape, a, a.x + offset, a.q + offset, s, frozen, plan.end(index) - start);
    chunk.Read(shape, s, frozen, a.o + offset);
    chunk.Advance(shape, s);
  }
  store(s, a.s, head);
  if (plan.next_phase() == 0) store(s, a.next_chunk_start, head);
}

size_t SelfModifyingForwardWorkspace(const nl_self_modifying_arguments& a) {
  const SelfModifyingShape shape(a);
  Arena arena(nullptr);
  ChunkOfHead chunk(arena, shape);
  arena.Take(2 * shape.dim * chunk.lds);
  return arena.used();
}

class SelfModifyingBackwardPass {
 public:
  SelfModifyingBackwardPass(Arena& arena, const nl_self_modifying_arguments& a,
                            const nl_self_modifying_gradients& gradients)
      : a_(a),
        gradients_(gradients),
        shape_(a),
        reads_(gradients.d_o != nullptr),
        chunk_(arena, shape_),
        d_(arena, shape_.plan.longest(), false),
        ldd_(chunk_.ldd),
        lds_(chunk_.lds),
        ldt_(chunk_.ldt),
        ldp_(chunk_.ldp) {
    const size_t n = shape_.plan.longest(), dim = shape_.dim;
    s_ = arena.Take(dim * lds_);
    began_ = arena.Take(dim * lds_);
    d_frozen_ = arena.Take(dim * lds_);
    ds_ = arena.Take(dim * lds_);
    y_ = arena.Take(n * lds_);
    dO_ = arena.Rows(n, dim);
    dq_ = arena.Rows(n, dim);
    dk_ = arena.Rows(n, dim);
    df_ = arena.Rows(n, dim);
    rows_ = arena.Rows(n, dim);
    d_projections_ = arena.Rows(n, 2 * dim);
    d_gates_ = arena.Rows(n, 2);
    state_transposed_ = arena.Rows(shape_.columns, dim);
    writes_transposed_ = arena.Rows(shape_.columns, n);
    products_ = arena.Rows(n, n);
    d_products_ = arena.Rows(n, n);
    d_eta_ = arena.Take(n);
    d_erase_ = arena.Take(n);
  }

  void Run(size_t head) {
    const size_t state_size = shape_.dim * shape_.columns, token = FirstToken(a_, head);
    const ChunkPlan& plan = shape_.plan;
    StartGradient(gradients_.d_s, head, ds_);
    StartGradient(gradients_.d_next_chunk_start, head, d_frozen_);
    if (plan.next_phase() == 0) AddFrozen();
    for (size_t index = plan.count(); index-- > 0;) {
      const size_t start = plan.begin(index), offset = token + start * shape_.token_stride;
      LoadPadded(shape_, a_.states + (head * plan.count() + index) * state_size, s_, lds_);
      const bool began_before = plan.began_before(index);
      if (began_before) LoadPadded(shape_, a_.chunk_start + head * state_size, began_, lds_);
      const float* frozen = began_before ? began_ : s_;
      chunk_.Load(shape_, a_, a_.x + offset, a_.q + offset, s_, frozen, plan.end(index) - start);
      ChunkBackward(offset, frozen, began_before ? d_frozen_ : ds_);
      if (!began_before && index + 1 == plan.count()) AddFrozen();
    }
    if (gradients_.ds0 != nullptr) {
      CopyRows(shape_.dim, shape_.columns, ds_, lds_, gradients_.ds0 + head * state_size,
               shape_.columns);
    }
    if (gradients_.d_chunk_start != nullptr) {
      CopyRows(shape_.dim, shape_.columns, d_frozen_, lds_,
               gradients_.d_chunk_start + head * state_size, shape_.columns);
    }
  }

 private:
  void StartGradient(const float* given, size_t head, float* gradient) const {
    if (given == nullptr) {
      ClearRows(shape_.dim, lds_, gradient, lds_);
    } else {
      LoadPadded(shape_, given + head * shape_.dim * shape_.columns, gradient, lds_);
    }
  }

  // dS += dS_c where S is S_c.
  void AddFrozen() const {
    AddScaledTo(1.0f, d_frozen_, ds_, shape_.dim * lds_);
    ClearRows(shape_.dim, lds_, d_frozen_, lds_);
  }

  // d_frozen is ds_ where S is S_c.
  void ChunkBackward(size_t offset, const float* frozen, float* d_frozen) {
    const ChunkOfHead& x = chunk_;
    const size_t n = x.length, dim = shape_.dim;
    ClearGradients(d_, n);
    ClearRows(n, dim, dk_, ldd_);
    std::fill_n(d_erase_, n, 0.0f);
    if (reads_) CopyRows(n, dim, gradients_.d_o + offset, shape_.token_stride, dO_, ldd_);
    ThroughWhatIsLeft();
    ThroughStates(frozen);
    ThroughTriangles();
    PropagateGradients(x.coefficients, d_, n);
    ProjectionGradients();
    StoreGradients(offset);
    StateGradients(d_frozen);
  }

  // What the chunk leaves behind, and Y.
  void ThroughWhatIsLeft() {
    const ChunkOfHead& x = chunk_;
    const size_t n = x.length, dim = shape_.dim, columns = shape_.columns;
    const float* g = x.coefficients.g_row(n);
    // Kgᵀ W: with V = W dSᵀ, dk_i = G_ni v_i and dG_ni = <k_i, v_i>.
    d_.a[n] = DotRows(dim, columns, ds_, lds_, s_, lds_);
    Transpose(dim, columns, ds_, lds_, state_transposed_, ldd_);
    Product<false, false>(Into::kSet, n, dim, columns, x.w, lds_, state_transposed_, ldd_, rows_,
                          ldd_);
    for (size_t i = 0; i < n; ++i) {
      const size_t row = i * ldd_;
      d_.g_row(n)[i] = AddScaledAndDot(g[i], rows_ + row, dk_ + row, x.k + row, dim);
    }

    // dW = Kg dS, and Mᵀ dO in the columns of mem; Y = (I − N)⁻ᵀ dW.
    Product<false, false>(Into::kSet, n, lds_, dim, x.kg, ldd_, ds_, lds_, y_, lds_);
    if (reads_ && !shape_.read.at_start) {
      AddUpperProduct(n, dim, !shape_.read.after, x.m, ldt_, dO_, ldd_, y_ + 2 * dim, lds_);
    }
    SolveLowerTransposed(n, lds_, x.n_matrix, ldt_, y_, lds_);
  }

  // What writes and reads take of S and of S_c, whose transpose is left in state_transposed_.
  void ThroughStates(const float* frozen) {
    const ChunkOfHead& x = chunk_;
    const size_t n = x.length, dim = shape_.dim, columns = shape_.columns;
    ClearRows(n, dim, dq_, ldd_);
    if (x.began_before) {
      // W = .. + Ks S: with Z = Y Sᵀ, κ_t = <z_t, k_t>.
      Transpose(dim, columns, s_, lds_, state_transposed_, ldd_);
      Product<false, false>(Into::kSet, n, dim, columns, y_, lds_, state_transposed_, ldd_, rows_,
                            ldd_);
      for (size_t t = 0; t < n; ++t) {
        const size_t row = t * ldd_;
        const float a = x.coefficients.a[t];
        const float kappa =
            AddScaledAndDot(-x.erase[t] * a, rows_ + row, dk_ + row, x.k + row, dim);
        d_erase_[t] -= a * kappa;
        d_.a[t] -= x.erase[t] * kappa;
      }
      if (reads_ && !shape_.read.at_start) QueryGradients();
    }
    Transpose(dim, columns, frozen, lds_, state_transposed_, ldd_);
    if (reads_ && (!x.began_before || shape_.read.at_start)) QueryGradients();

    // Z = Y S_cᵀ: dη_t = <z_t, f_t>, df_t = η_t z_t; and f = v − g k.
    Product<false, false>(Into::kSet, n, dim, columns, y_, lds_, state_transposed_, ldd_, df_,
                          ldd_);
    for (size_t t = 0; t < n; ++t) {
      const size_t row = t * ldd_;
      d_eta_[t] = Dot(df_ + row, x.f + row, dim);
      ScaleRow(x.eta[t], df_ + row, df_ + row, dim);
      const float along = AddScaledAndDot(-x.gamma[t], df_ + row, dk_ + row, x.k + row, dim);
      if (!x.began_before) d_.a[t] -= shape_.erase_factor * along;
    }
  }

  // What tokens did to each other: W = .. + N W and O = .. + M W.
  void ThroughTriangles() {
    const ChunkOfHead& x = chunk_;
    const size_t n = x.length, dim = shape_.dim, columns = shape_.columns;
    Transpose(n, columns, x.w, lds_, writes_transposed_, ldt_);
    LowerOfProduct(n, columns, y_, lds_, writes_transposed_, ldt_, products_, ldt_);
    EraseTriangleBackward(x.coefficients, x.erase, x.kk, products_, n, d_products_, d_.g, d_erase_);
    AddLowerProduct(n, dim, true, d_products_, ldt_, x.k, ldd_, dk_, ldd_);
    AddUpperProduct(n, dim, true, d_products_, ldt_, x.k, ldd_, dk_, ldd_);
    if (reads_ && !shape_.read.at_start) {
      LowerOfProduct(n, dim, dO_, ldd_, writes_transposed_ + 2 * dim * ldt_, ldt_, products_, ldt_);
      ReadTriangleBackward(x.coefficients, shape_.read.after, 1.0f, x.qk, products_, n, d_products_,
                           d_.g);
      AddLowerProduct(n, dim, !shape_.read.after, d_products_, ldt_, x.k, ldd_, dq_, ldd_);
      AddUpperProduct(n, dim, !shape_.read.after, d_products_, ldt_, x.q, ldd_, dk_, ldd_);
    }
  }

  void StoreGradients(size_t offset) const {
    const size_t n = chunk_.length, dim = shape_.dim;
    if (gradients_.dx != nullptr) {
      // x took x S over [k | v] and [η | α].
      float* dx = gradients_.dx + offset;
      Product<false, false>(Into::kSet, n, dim, 2 * dim, d_projections_, ldp_, state_transposed_,
                            ldd_, dx, shape_.token_stride);
      Product<false, false>(Into::kAdd, n, dim, 2, d_gates_, kRowPadding,
                            state_transposed_ + 3 * dim * ldd_, ldd_, dx, shape_.token_stride);
    }
    if (gradients_.dq != nullptr) {
      CopyRows(n, dim, dq_, ldd_, gradients_.dq + offset, shape_.token_stride);
    }
  }

  void StateGradients(float* d_frozen) const {
    const ChunkOfHead& x = chunk_;
    const size_t n = x.length, dim = shape_.dim;
    // dS ← a_n dS + Ksᵀ Y + Qsᵀ dO in mem, dS_c += (diag(η) F)ᵀ Y + Xᵀ dz (+ Qᵀ dO).
    ScaleRows(x.coefficients.a[n], dim, lds_, ds_, lds_, ds_, lds_);
    if (x.began_before) {
      Product<true, false>(Into::kAdd, dim, lds_, n, x.ks, ldd_, y_, lds_, ds_, lds_);
    }
    Product<true, false>(Into::kAdd, dim, lds_, n, x.eta_f, ldd_, y_, lds_, d_frozen, lds_);
    if (reads_) {
      float* d_read = shape_.read.at_start ? d_frozen : ds_;
      Product<true, false>(Into::kAdd, dim, dim, n, x.qs, ldd_, dO_, ldd_, d_read + 2 * dim, lds_);
    }
    Product<true, false>(Into::kAdd, dim, 2 * dim, n, x.x, ldd_, d_projections_, ldp_, d_frozen,
                         lds_);
    Product<true, false>(Into::kAdd, dim, 2, n, x.x, ldd_, d_gates_, kRowPadding,
                         d_frozen + 3 * dim, lds_);
  }

  // O = Qs S_mem + .., S transposed: R = dO S_memᵀ.
  void QueryGradients() {
    const ChunkOfHead& x = chunk_;
    const size_t n = x.length, dim = shape_.dim;
    Product<false, false>(Into::kSet, n, dim, dim, dO_, ldd_, state_transposed_ + 2 * dim * ldd_,
                          ldd_, rows_, ldd_);
    for (size_t t = 0; t < n; ++t) {
      const size_t read = shape_.read.row(t), row = t * ldd_;
      d_.a[read] += AddScaledAndDot(x.coefficients.a[read], rows_ + row, dq_ + row, x.q + row, dim);
    }
  }

  // From dk, dv = df, dη and dα to dz = [dx̂ | dv] and [dz_η | dz_α].
  void ProjectionGradients() {
    const ChunkOfHead& x = chunk_;
    const F32 d;
    const size_t n = x.length;
    for (size_t t = 0; t < n; ++t) {
      x.ProjectionGradient(shape_, t, dk_ + t * ldd_, df_ + t * ldd_, d_projections_ + t * ldp_);
    }
    const VecF scale = hn::Set(d, a_.eta_scale);
    HWY_ALIGN float slopes[2 * kLanes];
    for (size_t t = 0; t < n; t += kLanes) {
      const size_t lanes = std::min(kLanes, n - t);
      const VecF alpha = LoadPart(x.coefficients.alpha + t, lanes);
      const VecF to_eta = hn::Mul(scale, Sigmoid(LoadPart(x.eta_input + t, lanes)));
      const VecF to_alpha = hn::Mul(alpha, Sigmoid(hn::Neg(LoadPart(x.alpha_input + t, lanes))));
      const VecF d_eta = hn::MulAdd(hn::Set(d, shape_.erase_factor), LoadPart(d_erase_ + t, lanes),
                                    LoadPart(d_eta_ + t, lanes));
      hn::Store(hn::Mul(d_eta, to_eta), d, slopes);
      hn::Store(hn::Mul(LoadPart(d_.alpha + t, lanes), to_alpha), d, slopes + kLanes);
      for (size_t i = 0; i < lanes; ++i) {
        d_gates_[(t + i) * kRowPadding] = slopes[i];
        d_gates_[(t + i) * kRowPadding + 1] = slopes[kLanes + i];
      }
    }
  }

  const nl_self_modifying_arguments& a_;
  const nl_self_modifying_gradients& gradients_;
  const SelfModifyingShape shape_;
  const bool reads_;
  ChunkOfHead chunk_;
  const Coefficients d_;
  const size_t ldd_, lds_, ldt_, ldp_;
  float *s_, *ds_;            // the state before the chunk's first token; dS at its end, then there
  float *began_, *d_frozen_;  // S_c where it is not S; its gradient
  float *y_, *dO_, *dq_, *dk_, *df_, *rows_;
  float *d_projections_, *d_gates_;
  float *state_transposed_, *writes_transposed_;
  float *products_, *d_products_;
  float *d_eta_, *d_erase_;
};

void SelfModifyingBackward(const nl_self_modifying_arguments& a,
                           const nl_self_modifying_gradients& gradients, int64_t head,
                           float* workspace) {
  Arena arena(workspace);
  SelfModifyingBackwardPass(arena, a, gradients).Run(head);
}

size_t SelfModifyingBackwardWorkspace(const nl_self_modifying_arguments& a) {
  const nl_self_modifying_gradients none = {};
  Arena arena(nullptr);
  SelfModifyingBackwardPass(arena, a, none);
  return arena.used();
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
