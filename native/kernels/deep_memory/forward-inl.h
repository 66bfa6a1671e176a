// The deep memory's forward pass over one head. Per target.
#if defined(NESTED_LEARNING_KERNELS_DEEP_MEMORY_FORWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_DEEP_MEMORY_FORWARD_INL_H_
#undef NESTED_LEARNING_KERNELS_DEEP_MEMORY_FORWARD_INL_H_
#else
#define NESTED_LEARNING_KERNELS_DEEP_MEMORY_FORWARD_INL_H_
#endif

#include <algorithm>
#include <cstddef>

#include "hwy/highway.h"
#include "kernels/deep_memory/run-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

class DeepMemoryForwardPass {
 public:
  DeepMemoryForwardPass(Arena& arena, const nl_deep_memory_arguments& a)
      : a_(a),
        shape_(a),
        run_(arena, shape_, shape_.run(), false),
        state_(arena, shape_, shape_.momentum),
        frozen_(arena, shape_, false),
        frozen1_transposed_(arena.Take(shape_.dim * SpreadRow(shape_.hidden))) {}

  void Run(size_t head) {
    const size_t dim = shape_.dim, hidden = shape_.hidden, size = shape_.weights();
    const ChunkPlan& plan = shape_.plan;
    LoadWeights(hidden, dim, AtHead(a_.w1_start, head, size), state_.w1);
    LoadWeights(dim, hidden, AtHead(a_.w2_start, head, size), state_.w2);
    LoadWeights(hidden, dim, AtHead(a_.p1_start, head, size), state_.p1);
    LoadWeights(dim, hidden, AtHead(a_.p2_start, head, size), state_.p2);
    if (plan.phase > 0) {
      LoadWeights(hidden, dim, AtHead(a_.chunk_start1, head, size), frozen_.w1);
      LoadWeights(dim, hidden, AtHead(a_.chunk_start2, head, size), frozen_.w2);
    }
    const size_t row = FirstRow(a_, head), token = row * dim;
    Upcoming upcoming;
    if (plan.time > 0) {
      for (const float* rows : {a_.q, a_.k, a_.v, static_cast<const float*>(a_.o)}) {
        upcoming.Add(rows + token, shape_.token_stride, dim);
      }
    }
    for (size_t chunk = 0; chunk < plan.count(); ++chunk) {
      const size_t saved = head * plan.count() + chunk;
      SaveWeights(hidden, dim, state_.w1, AtHead(a_.saved_w1, saved, size));
      SaveWeights(dim, hidden, state_.w2, AtHead(a_.saved_w2, saved, size));
      if (shape_.momentum) {
        SaveWeights(hidden, dim, state_.p1, AtHead(a_.saved_p1, saved, size));
        SaveWeights(dim, hidden, state_.p2, AtHead(a_.saved_p2, saved, size));
      }
      const bool began_before = plan.began_before(chunk);
      if (!began_before) {
        CopyRows(hidden, dim, state_.w1.at, state_.w1.ld, frozen_.w1.at, frozen_.w1.ld);
        CopyRows(dim, hidden, state_.w2.at, state_.w2.ld, frozen_.w2.at, frozen_.w2.ld);
      }
      Transpose(hidden, dim, frozen_.w1.at, frozen_.w1.ld, frozen1_transposed_, SpreadRow(hidden));
      const size_t begin = plan.begin(chunk), end = plan.end(chunk);
      for (size_t t = begin; t < end; t += shape_.run()) {
        const size_t count = std::min(shape_.run(), end - t), next = t + count;
        upcoming.Start(next, std::min(shape_.run(), plan.time - next), kStepsOfSegment);
        run_.Load(shape_, a_, row, t, count, frozen_, frozen1_transposed_, state_,
                  t == begin && !began_before, upcoming);
        run_.Read(shape_, frozen_, state_, a_.o + token + t * shape_.token_stride,
                  shape_.token_stride, upcoming);
        run_.Advance(state_, state_, upcoming);
      }
    }

    SaveWeights(hidden, dim, state_.w1, AtHead(a_.w1, head, size));
    SaveWeights(dim, hidden, state_.w2, AtHead(a_.w2, head, size));
    if (shape_.momentum) {
      SaveWeights(hidden, dim, state_.p1, AtHead(a_.p1, head, size));
      SaveWeights(dim, hidden, state_.p2, AtHead(a_.p2, head, size));
    }
    const HeadWeights& next_start = plan.next_phase() == 0 ? state_ : frozen_;
    SaveWeights(hidden, dim, next_start.w1, AtHead(a_.next_chunk_start1, head, size));
    SaveWeights(dim, hidden, next_start.w2, AtHead(a_.next_chunk_start2, head, size));
  }

 private:
  const nl_deep_memory_arguments& a_;
  const DeepMemoryShape shape_;
  DeepMemoryRun run_;
  HeadWeights state_, frozen_;
  float* frozen1_transposed_;
};

void DeepMemoryForward(const nl_deep_memory_arguments& a, int64_t head, float* workspace) {
  Arena arena(workspace);
  DeepMemoryForwardPass(arena, a).Run(head);
}

size_t DeepMemoryForwardWorkspace(const nl_deep_memory_arguments& a) {
  Arena arena(nullptr);
  DeepMemoryForwardPass pass(arena, a);
  return arena.used();
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
