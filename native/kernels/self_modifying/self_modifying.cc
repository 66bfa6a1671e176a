// The self-modifying scan, forward and backward; README.md has the equations.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/self_modifying/self_modifying.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/chunk.h"
#include "kernels/self_modifying/passes-inl.h"

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(SelfModifyingForward);
NL_TARGET_TABLE(SelfModifyingForwardWorkspace);
NL_TARGET_TABLE(SelfModifyingBackward);
NL_TARGET_TABLE(SelfModifyingBackwardWorkspace);

namespace {

const nl_self_modifying_arguments& CheckShape(const nl_self_modifying_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_self_modifying_arguments");
  RequireNotNegative(a.batch, "batch");
  RequireNotNegative(a.time, "time");
  RequireNotNegative(a.heads, "heads");
  RequirePositive(a.dim, "dim");
  RequireElements("batch, time, heads and dim", {a.batch, a.time, a.heads, a.dim});
  RequireElements("batch, heads, dim and 3 dim + 2",
                  {a.batch, a.heads, a.dim, int64_t{3} * a.dim + 2});
  RequireChunk(a.chunk, a.phase);
  RequireOneOf(a.objective, NL_OBJECTIVE_DOT, "objective");
  RequireRead(a.read);
  RequireFlags(a.flags, NL_SELF_MODIFYING_NORMALIZE_VALUES | NL_SELF_MODIFYING_EXACT_GRADIENT,
               "flags");
  return a;
}

void RequireInputs(const nl_self_modifying_arguments& a, const float* workspace) {
  if (a.time > 0) {
    RequireNotNull(a.x, "x");
    RequireNotNull(a.q, "q");
  }
  if (a.phase > 0) RequireNotNull(a.chunk_start, "chunk_start");
  RequireNotNull(workspace, "workspace");
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_self_modifying_forward_workspace(const nl_self_modifying_arguments* arguments,
                                            int64_t* floats) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(floats, "floats");
    *floats = NL_CALL(SelfModifyingForwardWorkspace)(a);
  });
}

int32_t nl_self_modifying_backward_workspace(const nl_self_modifying_arguments* arguments,
                                             int64_t* floats) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(floats, "floats");
    *floats = NL_CALL(SelfModifyingBackwardWorkspace)(a);
  });
}

int32_t nl_self_modifying_forward(const nl_self_modifying_arguments* arguments, int64_t begin,
                                  int64_t end, float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireRange(begin, end, static_cast<int64_t>(a.batch) * a.heads);
    if (begin == end) return;
    nl::RequireInputs(a, workspace);
    if (a.time > 0) nl::RequireNotNull(a.o, "o");
    nl::RequireNotNull(a.s0, "s0");
    nl::RequireNotNull(a.s, "s");
    for (int64_t head = begin; head < end; ++head)
      NL_CALL(SelfModifyingForward)(a, head, workspace);
  });
}

int32_t nl_self_modifying_backward(const nl_self_modifying_arguments* arguments,
                                   const nl_self_modifying_gradients* gradients, int64_t begin,
                                   int64_t end, float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const auto& g = nl::RequireArguments(gradients, "nl_self_modifying_gradients");
    nl::RequireRange(begin, end, static_cast<int64_t>(a.batch) * a.heads);
    if (begin == end) return;
    nl::RequireInputs(a, workspace);
    if (a.time > 0) nl::RequireNotNull(a.states, "states");
    for (int64_t head = begin; head < end; ++head) {
      NL_CALL(SelfModifyingBackward)(a, g, head, workspace);
    }
  });
}

}  // extern "C"

#endif  // HWY_ONCE
