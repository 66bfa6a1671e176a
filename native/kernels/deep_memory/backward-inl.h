// The deep memory's backward pass over one head; README.md derives it, and has the names. Per target.
#if defined(NESTED_LEARNING_KERNELS_DEEP_MEMORY_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_DEEP_MEMORY_BACKWARD_INL_H_
#undef NESTED_LEARNING_KERNELS_DEEP_MEMORY_BACKWARD_INL_H_
#else
#define NESTED_LEARNING_KERNELS_DEEP_MEMORY_BACKWARD_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <optional>

#include "hwy/highway.h"
#include "kernels/deep_memory/run-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// Of u = f s with s = b ∘ φ'(z): from y = dL/du, db and dz = dL/ds ∘ b ∘ φ''(z) are written and <y, s> summed.
struct StepBackwardRow {
  VecF factor;
  const float *y, *b, *z, *slope;
  float *db, *dz;
  VecF along;

  template <class TAccess>
  HWY_INLINE void Run(TAccess access, size_t i) {
    const VecF v = access(y + i), of_b = access(b + i), derivative = access(slope + i);
    const VecF step = hn::Mul(factor, v);
    along = hn::MulAdd(v, hn::Mul(of_b, derivative), along);
    access(hn::Mul(step, derivative), db + i);
    access(hn::Mul(hn::Mul(step, of_b), GeluCurvature(access(z + i))), dz + i);
  }
};

class DeepMemoryBackwardPass {
 public:
  DeepMemoryBackwardPass(Arena& arena, const nl_deep_memory_arguments& a,
                         const nl_deep_memory_gradients& gradients)
      : a_(a),
        gradients_(gradients),
        shape_(a),
        longest_(shape_.run()),
        ldd_(SpreadRow(shape_.dim)),
        ldn_(SpreadRow(shape_.hidden)),
        reads_(gradients.d_o != nullptr),
        reads_writes_(reads_ && !shape_.read.at_start),
        d_(arena, longest_, shape_.momentum),
        layer1_(arena, {shape_.hidden, shape_.dim, shape_.erases, shape_.momentum}, longest_),
        layer2_(arena, {shape_.dim, shape_.hidden, shape_.erases, shape_.momentum}, longest_) {
    const size_t runs = (shape_.plan.longest() + longest_ - 1) / longest_;
    for (size_t i = 0; i < runs; ++i) {
      runs_[i].emplace(arena, shape_, longest_, true);
      states_[i] = HeadWeights(arena, shape_, shape_.momentum);
    }
    began_ = HeadWeights(arena, shape_, false);
    frozen1_transposed_ = arena.Take(shape_.dim * ldn_);
    frozen2_transposed_ = arena.Take(shape_.hidden * ldd_);
    dO_ = arena.Take(longest_ * ldd_);
    d_error_ = arena.Take(longest_ * ldd_);
    d_predicted_ = arena.Take(longest_ * ldd_);
    rows_ = arena.Take(longest_ * ldd_);
    d_read_ = arena.Take(longest_ * ldn_);
    d_back_ = arena.Take(longest_ * ldn_);
    dz_ = arena.Take(longest_ * ldn_);
    d_erase_ = arena.Take(longest_);
    d_theta_ = arena.Take(longest_);
    key1_ = arena.Take(longest_);
    key2_ = arena.Take(longest_);
  }

  void Run(size_t head) {
    const size_t dim = shape_.dim, hidden = shape_.hidden, size = shape_.weights();
    const ChunkPlan& plan = shape_.plan;
    LoadWeights(hidden, dim, AtHead(gradients_.d_w1, head, size), layer1_.dw);
    LoadWeights(dim, hidden, AtHead(gradients_.d_w2, head, size), layer2_.dw);
    LoadWeights(hidden, dim, AtHead(gradients_.d_p1, head, size), layer1_.dp);
    LoadWeights(dim, hidden, AtHead(gradients_.d_p2, head, size), layer2_.dp);
    LoadWeights(hidden, dim, AtHead(gradients_.d_next_chunk_start1, head, size), layer1_.frozen);
    LoadWeights(dim, hidden, AtHead(gradients_.d_next_chunk_start2, head, size), layer2_.frozen);
    if (plan.next_phase() == 0) JoinFrozen();
    if (plan.phase > 0) {
      LoadWeights(hidden, dim, AtHead(a_.chunk_start1, head, size), began_.w1);
      LoadWeights(dim, hidden, AtHead(a_.chunk_start2, head, size), began_.w2);
    }

    row_ = FirstRow(a_, head);
    for (size_t chunk = plan.count(); chunk-- > 0;) {
      const size_t saved = head * plan.count() + chunk;
      LoadWeights(hidden, dim, AtHead(a_.saved_w1, saved, size), states_[0].w1);
      LoadWeights(dim, hidden, AtHead(a_.saved_w2, saved, size), states_[0].w2);
      LoadWeights(hidden, dim, AtHead(a_.saved_p1, saved, size), states_[0].p1);
      LoadWeights(dim, hidden, AtHead(a_.saved_p2, saved, size), states_[0].p2);
      ChunkBackward(plan.begin(chunk), plan.end(chunk), plan.began_before(chunk));
    }

    SaveWeights(hidden, dim, layer1_.dw, AtHead(gradients_.d_w1_start, head, size));
    SaveWeights(dim, hidden, layer2_.dw, AtHead(gradients_.d_w2_start, head, size));
    if (shape_.momentum) {
      SaveWeights(hidden, dim, layer1_.dp, AtHead(gradients_.d_p1_start, head, size));
      SaveWeights(dim, hidden, layer2_.dp, AtHead(gradients_.d_p2_start, head, size));
    }
    SaveWeights(hidden, dim, layer1_.frozen, AtHead(gradients_.d_chunk_start1, head, size));
    SaveWeights(dim, hidden, layer2_.frozen, AtHead(gradients_.d_chunk_start2, head, size));
  }

 private:
  void JoinFrozen() const {
    layer1_.JoinFrozen();
    layer2_.JoinFrozen();
  }

  void ChunkBackward(size_t begin, size_t end, bool began_before) {
    const HeadWeights& frozen = began_before ? began_ : states_[0];
    Transpose(shape_.hidden, shape_.dim, frozen.w1.at, frozen.w1.ld, frozen1_transposed_, ldn_);
    Transpose(shape_.dim, shape_.hidden, frozen.w2.at, frozen.w2.ld, frozen2_transposed_, ldd_);
    const size_t count = (end - begin + longest_ - 1) / longest_;
    for (size_t i = 0; i < count; ++i) {
      const size_t t = begin + i * longest_;
      runs_[i]->Load(shape_, a_, row_, t, std::min(longest_, end - t), frozen, frozen1_transposed_,
                     states_[i], i == 0 && !began_before, upcoming_);
      if (i + 1 < count) runs_[i]->Advance(states_[i], states_[i + 1], upcoming_);
    }
    for (size_t i = count; i-- > 0;) {
      RunBackward(*runs_[i], frozen, states_[i], i == 0 && !began_before);
    }
    if (!began_before) JoinFrozen();
  }

  void RunBackward(DeepMemoryRun& x, const HeadWeights& frozen, const HeadWeights& state,
                   bool at_frozen) {
    const size_t n = x.length;
    ClearGradients(d_, n);
    std::fill_n(d_erase_, n, 0.0f);
    const size_t token = row_ * shape_.dim + x.start * shape_.token_stride;
    if (reads_) CopyRows(n, shape_.dim, gradients_.d_o + token, shape_.token_stride, dO_, ldd_);

    // From the output back through W1's layer, the activation and W2's layer.
    const bool after = shape_.read.after;
    const float* reads1 = reads_writes_ ? dO_ : nullptr;
    const float* reads2 = reads_writes_ ? d_read_ : nullptr;
    layer1_.Writes(x.layer1, x.coefficients, d_, x.factors, after, reads1, n, state.w1, state.p1,
                   d_erase_, upcoming_);
    if (reads_) {
      Tiles read = reads_writes_ ? layer1_.Queries(x.layer1, d_, x.factors, after, dO_, n, state.w1,
                                                   state.p1, upcoming_)
                                 : layer1_.TimesTransposed(dO_, frozen.w1, upcoming_);
      read.TimesScaled(kOne, x.read_slope, ldn_).Store(d_read_, ldn_).Run(n, shape_.hidden);
      if (reads_writes_) layer1_.QueriesDone(d_, after, n);
    }
    layer1_.Keys(x.layer1, x.coefficients, d_, after, reads_writes_, n, state.w1, state.p1,
                 upcoming_);
    layer2_.Writes(x.layer2, x.coefficients, d_, x.factors, after, reads2, n, state.w2, state.p2,
                   d_erase_, upcoming_);
    Queries(x, frozen, state, token);
    layer2_.Keys(x.layer2, x.coefficients, d_, after, reads_writes_, n, state.w2, state.p2,
                 upcoming_);
    PropagateGradients(x.coefficients, d_, n);

    Gradients(x, frozen, at_frozen, token);
    States(x, at_frozen);
    StoreGates(x);
  }

  void Queries(const DeepMemoryRun& x, const HeadWeights& frozen, const HeadWeights& state,
               size_t token) {
    const size_t n = x.length, dim = shape_.dim;
    float* dq = gradients_.dq == nullptr ? nullptr : gradients_.dq + token;
    if (!reads_) {
      if (dq != nullptr) ClearRows(n, dim, dq, shape_.token_stride);
      return;
    }
    Tiles queries = reads_writes_ ? layer2_.Queries(x.layer2, d_, x.factors, shape_.read.after,
                                                    d_read_, n, state.w2, state.p2, upcoming_)
                                  : layer2_.TimesTransposed(d_read_, frozen.w2, upcoming_);
    if (shape_.residual) queries.AddRows(nullptr, dO_, ldd_);
    queries.Store(rows_, ldd_).Run(n, dim);
    if (reads_writes_) layer2_.QueriesDone(d_, shape_.read.after, n);
    if (dq != nullptr) CopyRows(n, dim, rows_, ldd_, dq, shape_.token_stride);
  }

  // From the gradients of the layers' keys and u to those of θ, k and v, of e W1_cᵀ, h W1_c and z.
  void Gradients(const DeepMemoryRun& x, const HeadWeights& frozen, bool at_frozen, size_t token) {
    const size_t n = x.length, dim = shape_.dim, hidden = shape_.hidden;
    const bool erases_frozen = shape_.erases && at_frozen;
    for (size_t t = 0; t < n; ++t) {
      const size_t row = t * ldn_;
      StepBackwardRow step{hn::Set(F32(), x.step2[t]),
                           layer2_.y + row,
                           x.back + row,
                           x.z + row,
                           x.slope + row,
                           d_back_ + row,
                           dz_ + row,
                           hn::Zero(F32())};
      ForEachVector(hidden, step);
      const float along1 = Dot(layer1_.y + t * ldd_, x.error + t * ldd_, dim);
      const float along2 = SumLanes(step.along);
      d_theta_[t] = -(x.layer1.norm[t] * along1 + x.layer2.norm[t] * along2);
      float d_norm1 = -x.theta[t] * along1, d_norm2 = -x.theta[t] * along2;
      if (erases_frozen) {
        // erased = (input W) / norm.
        d_norm1 -= x.factors.erase_w[t] * layer1_.kappa[t] * x.layer1.inverse_norm[t];
        d_norm2 -= x.factors.erase_w[t] * layer2_.kappa[t] * x.layer2.inverse_norm[t];
        AddScaledTo(1.0f, layer2_.erase_y + row, dz_ + row, hidden);
      }
      key1_[t] = KeyFactor(x.layer1, layer1_.keys, d_norm1, t);
      key2_[t] = KeyFactor(x.layer2, layer2_.keys, d_norm2, t);
    }

    Tiles error(upcoming_);
    error.Product(d_back_, ldn_, frozen.w1.at, frozen.w1.ld, hidden)
        .AddRows(x.step1, layer1_.y, ldd_)
        .Store(d_error_, ldd_);
    if (gradients_.dv != nullptr) {
      error.Store(gradients_.dv + token, shape_.token_stride, x.minus_one);
    }
    if (shape_.l2) {
      if (erases_frozen) error.AddRows(nullptr, layer1_.erase_y, ldd_);
      error.Store(d_predicted_, ldd_);
    }
    error.Run(n, dim);
    const float* d_predicted = DPredicted(at_frozen);

    Tiles input(upcoming_);
    if (d_predicted != nullptr) {
      input.Product(d_predicted, ldd_, frozen1_transposed_, ldn_, dim);
    }
    input.AddRows(x.layer1.inverse_norm, layer1_.keys, ldn_)
        .AddRows(key1_, x.layer1.keys, ldn_)
        .TimesScaled(kOne, x.slope, ldn_)
        .AddRows(nullptr, dz_, ldn_)
        .Store(dz_, ldn_);
    input.Run(n, hidden);

    Tiles keys(upcoming_);
    keys.Product(dz_, ldn_, frozen2_transposed_, ldd_, hidden)
        .AddRows(x.layer2.inverse_norm, layer2_.keys, ldd_)
        .AddRows(key2_, x.layer2.keys, ldd_);
    if (shape_.l2 && shape_.residual) keys.AddRows(nullptr, d_error_, ldd_);
    keys.Store(rows_, ldd_).Run(n, dim);
    if (gradients_.dk != nullptr) {
      CopyRows(n, dim, rows_, ldd_, gradients_.dk + token, shape_.token_stride);
    }
  }

  // The gradient of h W1_c: e's, and what an erase took of it. Null where nothing took it.
  const float* DPredicted(bool at_frozen) const {
    if (shape_.l2) return d_predicted_;
    return shape_.erases && at_frozen ? layer1_.erase_y : nullptr;
  }

  // keys = x / r: dx = dkeys / r + f keys, f = dr − <dkeys, keys> / r.
  static float KeyFactor(const MemoryLayer& layer, const float* d_keys, float d_norm, size_t t) {
    const size_t row = t * layer.ldk;
    return d_norm - layer.inverse_norm[t] * Dot(d_keys + row, layer.keys + row, layer.shape.dk);
  }

  // The weights' gradients before the run; what came through the frozen ones stands apart where they are others.
  void States(const DeepMemoryRun& x, bool at_frozen) {
    Tiles w1 = layer1_.States(x.layer1, x.coefficients, reads_writes_, x.length, upcoming_);
    Tiles w2 = layer2_.States(x.layer2, x.coefficients, reads_writes_, x.length, upcoming_);
    if (at_frozen) {
      AddFrozen(x, at_frozen, w1, w2);
    } else {
      Tiles frozen1(upcoming_), frozen2(upcoming_);
      AddFrozen(x, at_frozen, frozen1, frozen2);
      frozen1.AddRows(nullptr, layer1_.frozen.at, ldd_).Store(layer1_.frozen.at, ldd_);
      frozen2.AddRows(nullptr, layer2_.frozen.at, ldn_).Store(layer2_.frozen.at, ldn_);
      frozen1.Run(shape_.hidden, shape_.dim);
      frozen2.Run(shape_.dim, shape_.hidden);
    }
    w1.Store(layer1_.dw.at, ldd_).Run(shape_.hidden, shape_.dim);
    w2.Store(layer2_.dw.at, ldn_).Run(shape_.dim, shape_.hidden);
  }

  void AddFrozen(const DeepMemoryRun& x, bool at_frozen, Tiles& w1, Tiles& w2) const {
    const size_t n = x.length;
    w1.Transposed(d_back_, ldn_, x.error, ldd_, n);
    if (DPredicted(at_frozen) != nullptr) w1.Transposed(x.h, ldn_, DPredicted(at_frozen), ldd_, n);
    w2.Transposed(x.k, ldd_, dz_, ldn_, n);
    if (reads_ && shape_.read.at_start) {
      w1.Transposed(x.layer1.q, ldn_, dO_, ldd_, n);
      w2.Transposed(x.layer2.q, ldd_, d_read_, ldn_, n);
    }
  }

  void StoreGates(const DeepMemoryRun& x) const {
    for (size_t t = 0; t < x.length; ++t) {
      const size_t gate = row_ + (x.start + t) * shape_.gate_stride;
      if (gradients_.d_log_alpha != nullptr) {
        gradients_.d_log_alpha[gate] = x.coefficients.alpha[t] * d_.alpha[t];
      }
      if (gradients_.d_theta != nullptr) gradients_.d_theta[gate] = d_theta_[t];
      if (gradients_.d_erase != nullptr) gradients_.d_erase[gate] = d_erase_[t];
      if (gradients_.d_mu != nullptr && shape_.momentum) gradients_.d_mu[gate] = d_.mu[t];
    }
  }

  static constexpr float kOne = 1;

  const nl_deep_memory_arguments& a_;
  const nl_deep_memory_gradients& gradients_;
  const DeepMemoryShape shape_;
  const size_t longest_, ldd_, ldn_;
  // Whether dO is given; whether reads see the chunk's writes.
  const bool reads_, reads_writes_;
  const Coefficients d_;
  MemoryLayerGradient layer1_, layer2_;
  std::optional<DeepMemoryRun> runs_[kMaxRuns];
  HeadWeights states_[kMaxRuns];
  HeadWeights began_;  // W_c of a chunk that began before the sequence
  Upcoming upcoming_;
  size_t row_ = 0;
  float *frozen1_transposed_, *frozen2_transposed_;
  float *dO_, *d_error_, *d_predicted_, *rows_;  // [n, D]
  float *d_read_, *d_back_, *dz_;                // [n, N]
  float *d_erase_, *d_theta_;
  float *key1_, *key2_;  // how much of a key is in its input's gradient
};

void DeepMemoryBackward(const nl_deep_memory_arguments& a,
                        const nl_deep_memory_gradients& gradients, int64_t head, float* workspace) {
  Arena arena(workspace);
  DeepMemoryBackwardPass(arena, a, gradients).Run(head);
}

size_t DeepMemoryBackwardWorkspace(const nl_deep_memory_arguments& a) {
  const nl_deep_memory_gradients none = {};
  Arena arena(nullptr);
  DeepMemoryBackwardPass pass(arena, a, none);
  return arena.used();
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
