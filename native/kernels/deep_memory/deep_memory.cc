// The deep memory, forward and backward; README.md has the equations.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/deep_memory/deep_memory.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/chunk.h"
#include "kernels/deep_memory/backward-inl.h"
#include "kernels/deep_memory/deep_memory.h"
#include "kernels/deep_memory/forward-inl.h"

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(DeepMemoryForward);
NL_TARGET_TABLE(DeepMemoryForwardWorkspace);
NL_TARGET_TABLE(DeepMemoryBackward);
NL_TARGET_TABLE(DeepMemoryBackwardWorkspace);

namespace {

const nl_deep_memory_arguments& CheckShape(const nl_deep_memory_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_deep_memory_arguments");
  RequireNotNegative(a.batch, "batch");
  RequireNotNegative(a.time, "time");
  RequireNotNegative(a.heads, "heads");
  RequirePositive(a.dim, "dim");
  RequirePositive(a.hidden, "hidden");
  RequireElements("batch, time, heads and dim", {a.batch, a.time, a.heads, a.dim});
  RequireElements("batch, heads, dim and hidden", {a.batch, a.heads, a.dim, a.hidden});
  RequireChunk(a.chunk, a.phase);
  RequireOneOf(a.objective, NL_OBJECTIVE_DOT, "objective");
  RequireRead(a.read);
  RequireFlags(a.flags, NL_DEEP_MEMORY_RESIDUAL, "flags");
  return a;
}

void RequireInputs(const nl_deep_memory_arguments& a, const float* workspace) {
  if (a.time > 0) {
    RequireNotNull(a.q, "q");
    RequireNotNull(a.k, "k");
    RequireNotNull(a.v, "v");
  }
  if (a.phase > 0) {
    RequireNotNull(a.chunk_start1, "chunk_start1");
    RequireNotNull(a.chunk_start2, "chunk_start2");
  }
  RequireNotNull(workspace, "workspace");
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_deep_memory_forward_workspace(const nl_deep_memory_arguments* arguments,
                                         int64_t* floats) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(floats, "floats");
    *floats = NL_CALL(DeepMemoryForwardWorkspace)(a);
  });
}

int32_t nl_deep_memory_backward_workspace(const nl_deep_memory_arguments* arguments,
                                          int64_t* floats) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(floats, "floats");
    *floats = NL_CALL(DeepMemoryBackwardWorkspace)(a);
  });
}

int32_t nl_deep_memory_forward(const nl_deep_memory_arguments* arguments, int64_t begin,
                               int64_t end, float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireRange(begin, end, static_cast<int64_t>(a.batch) * a.heads);
    if (begin == end) return;
    nl::RequireInputs(a, workspace);
    if (a.time > 0) nl::RequireNotNull(a.o, "o");
    nl::RequireNotNull(a.w1_start, "w1_start");
    nl::RequireNotNull(a.w2_start, "w2_start");
    nl::RequireNotNull(a.w1, "w1");
    nl::RequireNotNull(a.w2, "w2");
    if (a.mu != nullptr) {
      nl::RequireNotNull(a.p1, "p1");
      nl::RequireNotNull(a.p2, "p2");
    }
    for (int64_t head = begin; head < end; ++head) NL_CALL(DeepMemoryForward)(a, head, workspace);
  });
}

int32_t nl_deep_memory_backward(const nl_deep_memory_arguments* arguments,
                                const nl_deep_memory_gradients* gradients, int64_t begin,
                                int64_t end, float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const auto& g = nl::RequireArguments(gradients, "nl_deep_memory_gradients");
    nl::RequireRange(begin, end, static_cast<int64_t>(a.batch) * a.heads);
    if (begin == end) return;
    nl::RequireInputs(a, workspace);
    if (a.time > 0) {
      nl::RequireNotNull(a.saved_w1, "saved_w1");
      nl::RequireNotNull(a.saved_w2, "saved_w2");
      if (a.mu != nullptr) {
        nl::RequireNotNull(a.saved_p1, "saved_p1");
        nl::RequireNotNull(a.saved_p2, "saved_p2");
      }
    }
    for (int64_t head = begin; head < end; ++head)
      NL_CALL(DeepMemoryBackward)(a, g, head, workspace);
  });
}

}  // extern "C"

#endif  // HWY_ONCE
