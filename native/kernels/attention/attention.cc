// Causal softmax attention; README.md has the equations and the blocking.
//
//   s = scale q kᵀ;  o = softmax(s) v          q [B,T,H,Dk]  k [B,S,H,Dk]  v [B,S,H,Dv];  query t sees the keys 0..S-T+t
//
// Scores stand transposed, [keys, queries]: a lane is a query, so that maxima and sums need no lane of another. What
// a query does not see is never multiplied, so that a NaN in a key or value reaches no query before it.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/backward-inl.h"
#include "kernels/attention/forward-inl.h"

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(AttentionForward);
NL_TARGET_TABLE(AttentionBackward);
NL_TARGET_TABLE(AttentionBackwardSum);

namespace {

const nl_attention_arguments& CheckShape(const nl_attention_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_attention_arguments");
  RequireNotNegative(a.batch, "batch");
  RequireNotNegative(a.time, "time");
  RequireNotNegative(a.heads, "heads");
  RequirePositive(a.key_dim, "key_dim");
  RequirePositive(a.value_dim, "value_dim");
  if (a.keys < a.time) ThrowValue("keys", a.keys, "at least time");
  RequireElements("batch, keys, heads and key_dim", {a.batch, a.keys, a.heads, a.key_dim});
  RequireElements("batch, keys, heads and value_dim", {a.batch, a.keys, a.heads, a.value_dim});
  return a;
}

void RequireInputs(const nl_attention_arguments& a) {
  if (a.time > 0) {
    RequireNotNull(a.q, "q");
    RequireNotNull(a.o, "o");
  }
  RequireNotNull(a.k, "k");
  RequireNotNull(a.v, "v");
}

const nl_attention_gradients& CheckGradients(const nl_attention_gradients* gradients,
                                             const nl_attention_arguments& a,
                                             const AttentionBackwardPlan& plan) {
  const auto& g = RequireArguments(gradients, "nl_attention_gradients");
  if (a.time > 0) {
    RequireNotNull(g.d_o, "d_o");
    RequireNotNull(a.log_sums, "log_sums");
    if (g.dq != nullptr && plan.ranges > 1) RequireNotNull(g.dq_parts, "dq_parts");
  }
  return g;
}

template <class TScratch>
int64_t Workspace(const nl_attention_arguments& a) {
  Arena arena(nullptr);
  TScratch scratch(a, arena);
  static_cast<void>(scratch);
  return static_cast<int64_t>(arena.used());
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_attention_forward_plan(const nl_attention_arguments* arguments, int64_t* pieces,
                                  int64_t* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(pieces, "pieces");
    nl::RequireNotNull(workspace, "workspace");
    *pieces = nl::AttentionForwardPlan(a).pieces();
    *workspace = nl::Workspace<nl::AttentionForwardScratch>(a);
  });
}

int32_t nl_attention_forward(const nl_attention_arguments* arguments, int64_t begin, int64_t end,
                             float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const nl::AttentionForwardPlan plan(a);
    nl::RequireRange(begin, end, plan.pieces());
    if (begin == end) return;
    nl::RequireInputs(a);
    nl::RequireNotNull(workspace, "workspace");
    const auto forward = NL_CALL(AttentionForward);
    for (int64_t piece = begin; piece < end; ++piece) forward(a, plan, piece, workspace);
  });
}

int32_t nl_attention_backward_plan(const nl_attention_arguments* arguments, int64_t* pieces,
                                   int64_t* workspace, int64_t* dq_parts) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(pieces, "pieces");
    nl::RequireNotNull(workspace, "workspace");
    nl::RequireNotNull(dq_parts, "dq_parts");
    const nl::AttentionBackwardPlan plan(a);
    *pieces = plan.pieces();
    *workspace = nl::Workspace<nl::AttentionBackwardScratch>(a);
    *dq_parts = (plan.ranges - 1) * plan.heads * a.time * a.key_dim;
  });
}

int32_t nl_attention_backward(const nl_attention_arguments* arguments,
                              const nl_attention_gradients* gradients, int64_t begin, int64_t end,
                              float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const nl::AttentionBackwardPlan plan(a);
    const auto& g = nl::CheckGradients(gradients, a, plan);
    nl::RequireRange(begin, end, plan.pieces());
    if (begin == end) return;
    if (a.keys > 0) nl::RequireInputs(a);
    nl::RequireNotNull(workspace, "workspace");
    const auto backward = NL_CALL(AttentionBackward);
    for (int64_t piece = begin; piece < end; ++piece) backward(a, g, plan, piece, workspace);
  });
}

int32_t nl_attention_backward_sum(const nl_attention_arguments* arguments,
                                  const nl_attention_gradients* gradients, int64_t begin,
                                  int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const nl::AttentionBackwardPlan plan(a);
    const auto& g = nl::CheckGradients(gradients, a, plan);
    nl::RequireRange(begin, end, int64_t{a.batch} * a.time);
    if (begin == end || g.dq == nullptr) return;
    const auto sum = NL_CALL(AttentionBackwardSum);
    for (int64_t token = begin; token < end; ++token) sum(a, g, plan, token);
  });
}

}  // extern "C"

#endif  // HWY_ONCE
