#include "cuda/tests/faults.h"
#include "cuda/tests/testing.h"
#include "kernels/cross_entropy/cross_entropy.cuh"

namespace nested_learning {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Rows {
  size_t count, classes;
  std::vector<float> logits;
  std::vector<int32_t> targets;
};

struct Result {
  std::vector<float> losses, log_sums, gradient, gradient_apart;
};

// Forward and backward, and both in one over the logits themselves.
Result ResultOf(const Rows& rows, float scale) {
  DeviceFloats logits(rows.logits), losses(rows.count), log_sums(rows.count),
      gradient(rows.logits.size()), d_losses(std::vector<float>(rows.count, scale));
  std::vector<int32_t> targets = rows.targets;
  CrossEntropyArguments a{logits.data(),
                          targets.data(),
                          losses.data(),
                          log_sums.data(),
                          d_losses.data(),
                          gradient.data(),
                          static_cast<int64_t>(rows.count),
                          static_cast<int64_t>(rows.classes),
                          scale,
                          0};
  LaunchKernel("nl_cross_entropy_forward", 2, kCrossEntropyThreads, 0, a);
  LaunchKernel("nl_cross_entropy_backward", 2, kCrossEntropyThreads, 0, a);
  Result result{losses.values(), log_sums.values(), {}, gradient.values()};
  a.d_logits = logits.data();
  DeviceFloats losses_again(rows.count);
  a.losses = losses_again.data();
  LaunchKernel("nl_cross_entropy_with_gradient", 2, kCrossEntropyThreads, 0, a);
  result.gradient = logits.values();
  // NaN is not equal to itself, so bits.
  for (size_t n = 0; n < rows.count; n++) {
    EXPECT_EQ(__float_as_uint(losses_again[n]), __float_as_uint(result.losses[n]));
  }
  return result;
}

void Check(size_t classes, float spread) {
  Rows rows{5, classes, RandomFloats(5 * classes, 11, spread), {}};
  for (size_t n = 0; n < rows.count; n++)
    rows.targets.push_back(n == 3 ? -1 : static_cast<int32_t>(n * 7 % classes));
  const Result result = ResultOf(rows, 0.25f);
  for (size_t n = 0; n < rows.count; n++) {
    const float* row = &rows.logits[n * classes];
    double maximum = -kInfinity, sum = 0;
    for (size_t v = 0; v < classes; v++) maximum = std::max<double>(maximum, row[v]);
    for (size_t v = 0; v < classes; v++) sum += std::exp(row[v] - maximum);
    const double log_sum = maximum + std::log(sum);
    const int target = rows.targets[n];
    EXPECT_NEAR(result.log_sums[n], log_sum, 3e-7 * (1 + std::abs(log_sum)));
    EXPECT_NEAR(result.losses[n], target < 0 ? 0 : log_sum - row[target],
                6e-7 * (1 + std::abs(log_sum)));
    for (size_t v = 0; v < classes; v++) {
      const double expected =
          target < 0 ? 0 : 0.25 * (std::exp(row[v] - log_sum) - (static_cast<int>(v) == target));
      EXPECT_NEAR(result.gradient[n * classes + v], expected, 2e-6);
      EXPECT_EQ(result.gradient[n * classes + v], result.gradient_apart[n * classes + v]);
    }
  }
}

[[maybe_unused]] const bool kFaultCase = AddFaultCase("CrossEntropy", {[] { Check(300, 1); }});

class CudaCrossEntropy : public InEveryOrder {};
NL_IN_EVERY_ORDER(CudaCrossEntropy);

TEST_P(CudaCrossEntropy, MatchesReference) {
  for (size_t classes : {1, 2, 31, 255, 256, 257, 1000}) {
    for (float spread : {1.f, 40.f}) Check(classes, spread);
  }
}

TEST_P(CudaCrossEntropy, NaNAndInfinity_StayInTheirRow) {
  const size_t classes = 300;
  Rows rows{4, classes, RandomFloats(4 * classes, 12), {1, 2, 3, 4}};
  rows.logits[0 * classes + 40] = std::nanf("");
  rows.logits[1 * classes + 290] = kInfinity;
  for (size_t v = 0; v < classes; v++) rows.logits[2 * classes + v] = v == 3 ? 0 : -kInfinity;
  const Result result = ResultOf(rows, 1);
  EXPECT_TRUE(std::isnan(result.log_sums[0]));
  EXPECT_EQ(result.log_sums[1], kInfinity);
  EXPECT_EQ(result.log_sums[2], 0);
  EXPECT_EQ(result.losses[2], 0);
  EXPECT_TRUE(std::isfinite(result.losses[3]));
}

}  // namespace
}  // namespace nested_learning
