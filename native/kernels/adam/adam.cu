// One step of Adam or AdamW for many tensors in one launch; README.md has the equations and the random numbers. Each block
// has a share of one tensor's elements, four in a row to a thread, so that every access is of 16 bytes (8 for bfloat16): 28
// bytes an element, 20 with bfloat16 moments, 4 more where the gradient is cleared, and nothing else touches the memory.
#include "kernels/adam/adam-inl.cuh"

namespace nested_learning {

template <bool kHalf, bool kWhole>
NL_DEVICE void CommitFour(const AdamTensor& a, int64_t first, Change* change) {
  const int count = static_cast<int>(a.count - first < 4 ? a.count - first : 4);
  float g[4];
  LoadFour<kWhole>(a.g + first, count, g);
  StepOfFour<kHalf, kWhole>(a, first, count, g, change);
  if (a.constants.clear) {
    const float zeros[4] = {};
    StoreFour<kWhole>(a.g + first, count, zeros);
  }
}

}  // namespace nested_learning

using namespace nested_learning;

extern "C" __global__ void __launch_bounds__(kAdamThreads)
    nl_adam_commit(const __grid_constant__ AdamArguments a) {
  NL_SHARED(double, shared, [2 * (kAdamThreads / 32)]);
  const int block = static_cast<int>(blockIdx.x);
  int t = 0;
  while (t + 1 < a.count && block >= a.tensors[t + 1].first_block) t++;
  const AdamTensor& tensor = a.tensors[t];
  const bool aligned = IsAligned(tensor);
  const int64_t stride = static_cast<int64_t>(tensor.blocks) * kAdamThreads * 4;
  Change change = {0, 0};
  Change* wanted = a.parts ? &change : nullptr;
  for (int64_t i =
           (static_cast<int64_t>(block - tensor.first_block) * kAdamThreads + threadIdx.x) * 4;
       i < tensor.count; i += stride) {
    const bool whole = aligned && i + 4 <= tensor.count;
    if (tensor.constants.bfloat16) {
      if (whole) {
        CommitFour<true, true>(tensor, i, wanted);
      } else {
        CommitFour<true, false>(tensor, i, wanted);
      }
    } else if (whole) {
      CommitFour<false, true>(tensor, i, wanted);
    } else {
      CommitFour<false, false>(tensor, i, wanted);
    }
  }
  if (!a.parts) return;
  const double of_change = SumOfBlock(change.change, shared);
  const double of_value = SumOfBlock(change.value, shared + kAdamThreads / 32);
  if (threadIdx.x == 0) {
    a.parts[2 * block] = of_change;
    a.parts[2 * block + 1] = of_value;
  }
}
NL_KERNEL(nl_adam_commit)

// changes[t] = Σ parts of tensor t's blocks
extern "C" __global__ void __launch_bounds__(kAdamThreads)
    nl_adam_changes(const __grid_constant__ AdamArguments a) {
  NL_SHARED(double, shared, [2 * (kAdamThreads / 32)]);
  const int t = static_cast<int>(blockIdx.x);
  const AdamTensor& tensor = a.tensors[t];
  Change change = {0, 0};
  for (int i = static_cast<int>(threadIdx.x); i < tensor.blocks; i += kAdamThreads) {
    change.change += a.parts[2 * (tensor.first_block + i)];
    change.value += a.parts[2 * (tensor.first_block + i) + 1];
  }
  const double of_change = SumOfBlock(change.change, shared);
  const double of_value = SumOfBlock(change.value, shared + kAdamThreads / 32);
  if (threadIdx.x == 0) {
    a.changes[2 * t] = of_change;
    a.changes[2 * t + 1] = of_value;
  }
}
NL_KERNEL(nl_adam_changes)
