// The scan's forward pass over one piece. Per target.
#if defined(NESTED_LEARNING_KERNELS_SCAN_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_SCAN_FORWARD_INL_H_
#undef NESTED_LEARNING_KERNELS_SCAN_FORWARD_INL_H_
#else
#define NESTED_LEARNING_KERNELS_SCAN_FORWARD_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "kernels/scan/segment-inl.h"
#include "kernels/scan/token-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

// The state before the first token, where the final one will be; in place when they are the same
// tensor.
inline void StartState(const float* initial, size_t rows, size_t columns, State state) {
  if (initial == nullptr) {
    ClearRows(rows, columns, state.at, state.ld);
  } else if (initial != state.at) {
    CopyRows(rows, columns, initial, state.ld, state.at, state.ld);
  }
}

void ScanForward(const nl_scan_arguments& a, int64_t piece, float* workspace) {
  ScanShape shape(a);
  const size_t blocks = Blocks(a), width = BlockColumns(a), ld = shape.dv;
  const size_t head_index = piece / blocks, column = piece % blocks * width;
  shape.dv = std::min(width, shape.dv - column);
  const ScanHead head(a, head_index, column);
  const size_t state_size = shape.dk * ld, offset = head_index * state_size + column;

  const State s{a.s + offset, ld};
  const State p{shape.momentum ? a.p + offset : nullptr, ld};
  const float* s0 = a.s0 == nullptr ? nullptr : a.s0 + offset;
  const float* p0 = a.p0 == nullptr ? nullptr : a.p0 + offset;
  if (shape.time == 1 && a.states == nullptr && a.momenta == nullptr) {
    ScanOneToken(shape, head, s0, p0, s, p);
    return;
  }
  StartState(s0, shape.dk, shape.dv, s);
  if (shape.momentum) StartState(p0, shape.dk, shape.dv, p);

  Arena arena(workspace);
  ScanSegment segment(arena, shape, shape.segment(), false);
  for (size_t start = 0, chunk = 0; start < shape.time; start += shape.chunk, ++chunk) {
    const size_t saved = (head_index * shape.chunks() + chunk) * state_size + column;
    if (a.states != nullptr) {
      CopyRows(shape.dk, shape.dv, s.at, ld, a.states + saved, ld);
    }
    if (shape.momentum && a.momenta != nullptr) {
      CopyRows(shape.dk, shape.dv, p.at, ld, a.momenta + saved, ld);
    }
    const size_t end = std::min(start + shape.chunk, shape.time);
    for (size_t t = start; t < end; t += shape.segment()) {
      const size_t count = std::min(shape.segment(), end - t);
      segment.Load(shape, head, t, count);
      segment.Write(shape, head, s, p, true);
      segment.Read(shape, head, s, p);
      segment.Advance(shape, s, p, s, p);
    }
  }
}

size_t ScanForwardWorkspace(const nl_scan_arguments& a) {
  ScanShape shape(a);
  shape.dv = std::min(shape.dv, BlockColumns(a));
  Arena arena(nullptr);
  ScanSegment segment(arena, shape, shape.segment(), false);
  return arena.used();
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
