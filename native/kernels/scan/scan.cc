// The associative-memory scan, forward and backward; README.md has the equations.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scan/scan.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/chunk.h"
#include "kernels/scan/backward-inl.h"
#include "kernels/scan/forward-inl.h"
#include "kernels/scan/scan.h"

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(ScanForward);
NL_TARGET_TABLE(ScanForwardWorkspace);
NL_TARGET_TABLE(ScanBackward);
NL_TARGET_TABLE(ScanBackwardWorkspace);

namespace {

const nl_scan_arguments& CheckShape(const nl_scan_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_scan_arguments");
  RequireNotNegative(a.batch, "batch");
  RequireNotNegative(a.time, "time");
  RequireNotNegative(a.heads, "heads");
  RequireNotNegative(a.key_dim, "key_dim");
  RequireNotNegative(a.value_dim, "value_dim");
  RequireElements("batch, time, heads and key_dim", {a.batch, a.time, a.heads, a.key_dim});
  RequireElements("batch, time, heads and value_dim", {a.batch, a.time, a.heads, a.value_dim});
  RequireElements("batch, heads, key_dim and value_dim",
                  {a.batch, a.heads, a.key_dim, a.value_dim});
  RequireChunk(a.chunk, a.phase);
  RequireRead(a.read);
  RequireOneOf(a.write, NL_WRITE_FROZEN_L2, "write");
  return a;
}

void RequireInputs(const nl_scan_arguments& a) {
  if (a.phase > 0) RequireNotNull(a.chunk_start, "chunk_start");
  if (a.time > 0) {
    RequireNotNull(a.q, "q");
    RequireNotNull(a.k, "k");
    RequireNotNull(a.u, "u");
    if (a.write != NL_WRITE_GIVEN) RequireNotNull(a.theta, "theta");
  }
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_scan_forward_pieces(const nl_scan_arguments* arguments, int64_t* pieces) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(pieces, "pieces");
    *pieces = static_cast<int64_t>(a.batch) * a.heads * static_cast<int64_t>(nl::Blocks(a));
  });
}

int32_t nl_scan_forward_workspace(const nl_scan_arguments* arguments, int64_t* floats) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(floats, "floats");
    *floats = NL_CALL(ScanForwardWorkspace)(a);
  });
}

int32_t nl_scan_backward_workspace(const nl_scan_arguments* arguments, int64_t* floats) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    nl::RequireNotNull(floats, "floats");
    *floats = NL_CALL(ScanBackwardWorkspace)(a);
  });
}

int32_t nl_scan_forward(const nl_scan_arguments* arguments, int64_t begin, int64_t end,
                        float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const int64_t pieces =
        static_cast<int64_t>(a.batch) * a.heads * static_cast<int64_t>(nl::Blocks(a));
    nl::RequireRange(begin, end, pieces);
    if (begin == end) return;
    nl::RequireInputs(a);
    if (a.time > 0) nl::RequireNotNull(a.o, "o");
    nl::RequireNotNull(a.s, "s");
    if (a.mu != nullptr) nl::RequireNotNull(a.p, "p");
    nl::RequireNotNull(workspace, "workspace");
    for (int64_t piece = begin; piece < end; ++piece) NL_CALL(ScanForward)(a, piece, workspace);
  });
}

int32_t nl_scan_backward(const nl_scan_arguments* arguments, const nl_scan_gradients* gradients,
                         int64_t begin, int64_t end, float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::CheckShape(arguments);
    const auto& g = nl::RequireArguments(gradients, "nl_scan_gradients");
    nl::RequireRange(begin, end, static_cast<int64_t>(a.batch) * a.heads);
    if (begin == end) return;
    nl::RequireInputs(a);
    if (a.time > 0) {
      nl::RequireNotNull(a.states, "states");
      if (a.mu != nullptr) nl::RequireNotNull(a.momenta, "momenta");
    }
    nl::RequireNotNull(workspace, "workspace");
    for (int64_t piece = begin; piece < end; ++piece) NL_CALL(ScanBackward)(a, g, piece, workspace);
  });
}

}  // extern "C"

#endif  // HWY_ONCE
