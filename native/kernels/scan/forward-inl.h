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

// A state in rows that lie well in the cache, from the one before the first token to the final one.
class RunningState {
 public:
  RunningState(Arena& arena, const ScanShape& shape)
      : dk_(shape.dk), dv_(shape.dv), state_{nullptr, SpreadRow(shape.dv)} {
    state_.at = arena.Take(dk_ * state_.ld);
  }

  State state() const { return state_; }

  // from null is zero; rows ld apart.
  void Start(const float* from, size_t ld) {
    if (from == nullptr) {
      ClearRows(dk_, dv_, state_.at, state_.ld);
    } else {
      CopyRows(dk_, dv_, from, ld, state_.at, state_.ld);
    }
  }

  void Save(float* to, size_t ld) const { CopyRows(dk_, dv_, state_.at, state_.ld, to, ld); }

 private:
  size_t dk_, dv_;
  State state_;
};

void ScanForward(const nl_scan_arguments& a, int64_t piece, float* workspace) {
  ScanShape shape(a);
  const size_t blocks = Blocks(a), width = BlockColumns(a), ld = shape.dv;
  const size_t head_index = piece / blocks, column = piece % blocks * width;
  shape.dv = std::min(width, shape.dv - column);
  const ScanHead head(a, head_index, column);
  const size_t state_size = shape.dk * ld, offset = head_index * state_size + column;
  const float* s0 = a.s0 == nullptr ? nullptr : a.s0 + offset;
  const float* p0 = a.p0 == nullptr ? nullptr : a.p0 + offset;
  const ChunkPlan& plan = shape.plan;
  float* next_start = a.next_chunk_start == nullptr ? nullptr : a.next_chunk_start + offset;
  if (shape.time == 1 && a.states == nullptr && a.momenta == nullptr && plan.phase == 0) {
    if (next_start != nullptr && s0 == nullptr) ClearRows(shape.dk, shape.dv, next_start, ld);
    if (next_start != nullptr && s0 != nullptr) {
      CopyRows(shape.dk, shape.dv, s0, ld, next_start, ld);
    }
    ScanOneToken(shape, head, s0, p0, {a.s + offset, ld},
                 {shape.momentum ? a.p + offset : nullptr, ld});
    if (next_start != nullptr && plan.next_phase() == 0) {
      CopyRows(shape.dk, shape.dv, a.s + offset, ld, next_start, ld);
    }
    return;
  }

  Arena arena(workspace);
  ScanSegment segment(arena, shape, shape.segment(), false);
  RunningState s(arena, shape), p(arena, shape), began(arena, shape);
  s.Start(s0, ld);
  if (plan.phase > 0) {
    began.Start(a.chunk_start + offset, ld);
    if (next_start != nullptr) began.Save(next_start, ld);
  }
  if (shape.momentum) p.Start(p0, ld);
  Upcoming upcoming;
  upcoming.Add(head.q, head.key_stride, shape.dk);
  upcoming.Add(head.k, head.key_stride, shape.dk);
  upcoming.Add(head.u, head.value_stride, shape.dv);
  upcoming.Add(head.o, head.value_stride, shape.dv);
  for (size_t chunk = 0; chunk < plan.count(); ++chunk) {
    const size_t saved = (head_index * plan.count() + chunk) * state_size + column;
    const bool began_before = plan.began_before(chunk);
    const State frozen = (began_before ? began : s).state();
    if (next_start != nullptr && chunk + 1 == plan.count()) {
      (began_before ? began : s).Save(next_start, ld);
    }
    if (a.states != nullptr) s.Save(a.states + saved, ld);
    if (shape.momentum && a.momenta != nullptr) p.Save(a.momenta + saved, ld);
    const size_t end = plan.end(chunk);
    for (size_t t = plan.begin(chunk); t < end; t += shape.segment()) {
      const size_t next = std::min(t + shape.segment(), shape.time);
      upcoming.Start(next, std::min(shape.segment(), shape.time - next), kStepsOfSegment);
      segment.Load(shape, head, t, std::min(shape.segment(), end - t), began_before, upcoming);
      segment.Write(shape, head, s.state(), p.state(), frozen, true, upcoming);
      segment.Read(shape, head, s.state(), p.state(), frozen, upcoming);
      segment.Advance(shape, s.state(), p.state(), s.state(), p.state(), upcoming);
    }
  }
  s.Save(a.s + offset, ld);
  if (shape.momentum) p.Save(a.p + offset, ld);
  if (next_start != nullptr && plan.next_phase() == 0) s.Save(next_start, ld);
}

size_t ScanForwardWorkspace(const nl_scan_arguments& a) {
  ScanShape shape(a);
  shape.dv = std::min(shape.dv, BlockColumns(a));
  Arena arena(nullptr);
  ScanSegment segment(arena, shape, shape.segment(), false);
  RunningState s(arena, shape), p(arena, shape), began(arena, shape);
  return arena.used();
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
