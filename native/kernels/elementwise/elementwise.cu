// x ← value. Any grid of one dimension; a thread writes every (threads of the grid)-th element.
#include "kernels/elementwise/elementwise.cuh"

using namespace nested_learning;

extern "C" __global__ void __launch_bounds__(256) nl_fill(FillArguments a) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < a.count;
       i += stride) {
    a.x[i] = a.value;
  }
}
NL_KERNEL(nl_fill)
