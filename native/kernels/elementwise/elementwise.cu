// Element by element, float32; z may be x or y. Accesses of a warp are of 128 bytes in a row, which is what the memory wants;
// nothing is gained by wider ones where 8 blocks a multiprocessor have enough of them under way.
#include "cuda/block.cuh"
#include "cuda/functions.cuh"
#include "kernels/elementwise/elementwise.cuh"

namespace nested_learning {

template <typename Body>
NL_DEVICE void ForEach(int64_t count, Body body) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kElementwiseThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kElementwiseThreads + threadIdx.x; i < count;
       i += stride) {
    body(i);
  }
}

NL_DEVICE float ActivationOf(CudaActivation function, float x) {
  switch (function) {
    case CudaActivation::kSigmoid:
      return Sigmoid(x);
    case CudaActivation::kSoftplus:
      return Softplus(x);
    case CudaActivation::kLogSigmoid:
      return -Softplus(-x);
    default:
      return Gelu(x);
  }
}

NL_DEVICE float DerivativeOf(CudaActivation function, float x) {
  switch (function) {
    case CudaActivation::kSigmoid:
      return SigmoidDerivative(x);
    case CudaActivation::kSoftplus:
      return Sigmoid(x);
    case CudaActivation::kLogSigmoid:
      return Sigmoid(-x);
    default:
      return GeluDerivative(x);
  }
}

}  // namespace nested_learning

using namespace nested_learning;

// x = factor
extern "C" __global__ void __launch_bounds__(kElementwiseThreads) nl_fill(ElementwiseArguments a) {
  ForEach(a.count, [&](int64_t i) { a.x[i] = a.factor; });
}
NL_KERNEL(nl_fill)

// y += factor · x
extern "C" __global__ void __launch_bounds__(kElementwiseThreads)
    nl_add_scaled(ElementwiseArguments a) {
  ForEach(a.count, [&](int64_t i) { a.y[i] = fmaf(a.factor, a.x[i], a.y[i]); });
}
NL_KERNEL(nl_add_scaled)

// z = x ∘ y
extern "C" __global__ void __launch_bounds__(kElementwiseThreads)
    nl_multiply(ElementwiseArguments a) {
  ForEach(a.count, [&](int64_t i) { a.z[i] = a.x[i] * a.y[i]; });
}
NL_KERNEL(nl_multiply)

// x ← factor · x
extern "C" __global__ void __launch_bounds__(kElementwiseThreads) nl_scale(ElementwiseArguments a) {
  ForEach(a.count, [&](int64_t i) { a.x[i] *= a.factor; });
}
NL_KERNEL(nl_scale)

// y = f(x)
extern "C" __global__ void __launch_bounds__(kElementwiseThreads)
    nl_activation_forward(ElementwiseArguments a) {
  ForEach(a.count, [&](int64_t i) { a.y[i] = ActivationOf(a.function, a.x[i]); });
}
NL_KERNEL(nl_activation_forward)

// z = y ∘ f'(x)
extern "C" __global__ void __launch_bounds__(kElementwiseThreads)
    nl_activation_backward(ElementwiseArguments a) {
  ForEach(a.count, [&](int64_t i) { a.z[i] = a.y[i] * DerivativeOf(a.function, a.x[i]); });
}
NL_KERNEL(nl_activation_backward)

// parts[block] = Σ x² over the block's share
extern "C" __global__ void __launch_bounds__(kElementwiseThreads)
    nl_sum_of_squares(SumArguments a) {
  NL_SHARED(double, shared, [kElementwiseThreads / 32]);
  double sum = 0;
  ForEach(a.count, [&](int64_t i) {
    const double x = a.x[i];
    sum = fma(x, x, sum);
  });
  sum = SumOfBlock(sum, shared);
  if (threadIdx.x == 0) a.parts[blockIdx.x] = sum;
}
NL_KERNEL(nl_sum_of_squares)

// result = Σ parts; one block
extern "C" __global__ void __launch_bounds__(kElementwiseThreads) nl_sum_of_parts(SumArguments a) {
  NL_SHARED(double, shared, [kElementwiseThreads / 32]);
  double sum = 0;
  ForEach(a.count, [&](int64_t i) { sum += a.parts[i]; });
  sum = SumOfBlock(sum, shared);
  if (threadIdx.x == 0) *a.result = sum;
}
NL_KERNEL(nl_sum_of_parts)
