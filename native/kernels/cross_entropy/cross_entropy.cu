// Softmax cross-entropy of rows of logits; equations in README.md. A block a row: each thread keeps the maximum of what it
// has seen and the sum relative to that, so that the logits are read once for the loss and a second time, from the cache
// as long as the row fits, for the gradient. Sums in double, in an order of the row's length alone.
#include "cuda/functions.cuh"
#include "kernels/cross_entropy/cross_entropy.cuh"

namespace nested_learning {

constexpr int kIgnored = -1;

// Σ e^(x − maximum)
struct LogSum {
  float maximum;
  double sum;
};

// Infinities and NaN leave no sum: where the maximum is not finite only the maximum counts.
NL_DEVICE LogSum Together(const LogSum& a, const LogSum& b) {
  const float maximum = Larger(a.maximum, b.maximum);
  if (!IsFinite(maximum)) return {maximum, 0};
  return {maximum, a.sum * Exp(a.maximum - maximum) + b.sum * Exp(b.maximum - maximum)};
}

NL_DEVICE float LogSumOfRow(const float* row, int64_t classes, LogSum* shared) {
  const float infinity = __uint_as_float(0x7f800000u);
  LogSum own = {-infinity, 0};
  for (int64_t v = threadIdx.x; v < classes; v += kCrossEntropyThreads) {
    const float x = row[v];
    if (x <= own.maximum && IsFinite(own.maximum)) {
      own.sum += Exp(x - own.maximum);
    } else {
      const bool began = IsFinite(own.maximum);
      const float maximum = Larger(own.maximum, x);
      own.sum = IsFinite(maximum) ? (began ? own.sum * Exp(own.maximum - maximum) : 0) + 1 : 0;
      own.maximum = maximum;
    }
  }
  for (int offset = 16; offset; offset >>= 1) {
    const LogSum other = {__shfl_xor_sync(0xffffffffu, own.maximum, offset),
                          __shfl_xor_sync(0xffffffffu, own.sum, offset)};
    own = Together(own, other);
  }
  if ((threadIdx.x & 31) == 0) shared[threadIdx.x >> 5] = own;
  __syncthreads();
  LogSum whole = shared[0];
  for (int warp = 1; warp < kCrossEntropyThreads / 32; warp++)
    whole = Together(whole, shared[warp]);
  // One infinite logit outweighs all, NaN spoils all, and all −∞ sum to nothing.
  return IsFinite(whole.maximum) ? whole.maximum + LogFromOne(static_cast<float>(whole.sum))
                                 : whole.maximum;
}

// e^x − 1 for −0.3 < x ≤ 0 (and a rounding above).
NL_DEVICE float ExpMinusOne(float x) {
  float p = 0.0013888889f;
  p = fmaf(p, x, 0.0083333333f);
  p = fmaf(p, x, 0.041666667f);
  p = fmaf(p, x, 0.16666667f);
  p = fmaf(p, x, 0.5f);
  return x * fmaf(p, x, 1.f);
}

// (e^(logit − log_sum) − [target]) d_loss, without cancellation at a target that is nearly sure.
NL_DEVICE float LogitGradient(float logit, float log_sum, bool is_target, float d_loss) {
  const float d = logit - log_sum;
  if (!is_target) return Exp(d) * d_loss;
  return (d > -0.3f ? ExpMinusOne(d) : Exp(d) - 1) * d_loss;
}

}  // namespace nested_learning

using namespace nested_learning;

// log_sum = m + log Σ_v e^(logit_v − m);  loss = log_sum − logit_target, or 0
extern "C" __global__ void __launch_bounds__(kCrossEntropyThreads)
    nl_cross_entropy_forward(CrossEntropyArguments a) {
  NL_SHARED(LogSum, shared, [kCrossEntropyThreads / 32]);
  for (int64_t n = blockIdx.x; n < a.count; n += gridDim.x) {
    const float* row = a.logits + n * a.classes;
    const float log_sum = LogSumOfRow(row, a.classes, shared);
    if (threadIdx.x == 0) {
      const int target = a.targets[n];
      a.log_sums[n] = log_sum;
      a.losses[n] = target == kIgnored ? 0 : log_sum - row[target];
    }
    __syncthreads();
  }
}
NL_KERNEL(nl_cross_entropy_forward)

// d_logits = (e^(logits − log_sum) − onehot(target)) d_loss, or 0; any threads and grid
extern "C" __global__ void __launch_bounds__(kCrossEntropyThreads)
    nl_cross_entropy_backward(CrossEntropyArguments a) {
  for (int64_t n = blockIdx.x; n < a.count; n += gridDim.x) {
    const int target = a.targets[n];
    const float log_sum = a.log_sums[n], d_loss = a.d_losses[n];
    for (int64_t v = threadIdx.x; v < a.classes; v += kCrossEntropyThreads) {
      const int64_t i = n * a.classes + v;
      a.d_logits[i] =
          target == kIgnored ? 0 : LogitGradient(a.logits[i], log_sum, v == target, d_loss);
    }
  }
}
NL_KERNEL(nl_cross_entropy_backward)

// Both, with gradient_scale for each d_loss.
extern "C" __global__ void __launch_bounds__(kCrossEntropyThreads)
    nl_cross_entropy_with_gradient(CrossEntropyArguments a) {
  NL_SHARED(LogSum, shared, [kCrossEntropyThreads / 32]);
  for (int64_t n = blockIdx.x; n < a.count; n += gridDim.x) {
    const float* row = a.logits + n * a.classes;
    const float log_sum = LogSumOfRow(row, a.classes, shared);
    const int target = a.targets[n];
    if (threadIdx.x == 0) a.losses[n] = target == kIgnored ? 0 : log_sum - row[target];
    // The target's logit may be written over below, and `shared` in the next row.
    __syncthreads();
    for (int64_t v = threadIdx.x; v < a.classes; v += kCrossEntropyThreads) {
      const int64_t i = n * a.classes + v;
      a.d_logits[i] = target == kIgnored
                          ? 0
                          : LogitGradient(a.logits[i], log_sum, v == target, a.gradient_scale);
    }
  }
}
NL_KERNEL(nl_cross_entropy_with_gradient)
