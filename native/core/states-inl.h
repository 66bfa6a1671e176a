// A memory's state and momentum of a head, brought past a run of tokens. Names as in kernels/scan/README.md. Per target.
#if defined(NESTED_LEARNING_CORE_STATES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_CORE_STATES_INL_H_
#undef NESTED_LEARNING_CORE_STATES_INL_H_
#else
#define NESTED_LEARNING_CORE_STATES_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"
#include "core/coefficients-inl.h"
#include "core/tiles-inl.h"
#include "core/upcoming.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// A state of Dk rows; rows `ld` apart.
struct State {
  float* at = nullptr;
  size_t ld = 0;
};

// What a state takes of a run of tokens: K, diag(G_n) W and, with momentum, diag(X_n) W.
struct StateWrites {
  const float* k;
  size_t ldk;
  const float *gw, *xw;
  size_t ldv;
};

// S' = a_n S + b_n P + Kᵀ diag(G_n) W and P' = c_n P + Kᵀ diag(X_n) W, for n tokens of [Dk, Dv] states. S' may be S, and P' P.
HWY_INLINE void AdvanceStates(const Coefficients& x, const StateWrites& writes, size_t n, size_t dk,
                              size_t dv, State s, State p, State next_s, State next_p,
                              Upcoming& upcoming) {
  Tiles memory(upcoming);
  memory.Transposed(writes.k, writes.ldk, writes.gw, writes.ldv, n).AddScaled(x.a[n], s.at, s.ld);
  if (x.momentum()) memory.AddScaled(x.b[n], p.at, p.ld);
  memory.Store(next_s.at, next_s.ld);
  memory.Run(dk, dv);
  if (!x.momentum()) return;
  Tiles momentum(upcoming);
  momentum.Transposed(writes.k, writes.ldk, writes.xw, writes.ldv, n)
      .AddScaled(x.c[n], p.at, p.ld)
      .Store(next_p.at, next_p.ld);
  momentum.Run(dk, dv);
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
