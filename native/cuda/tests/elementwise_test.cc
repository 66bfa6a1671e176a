#include "cuda/tests/faults.h"
#include "cuda/tests/testing.h"
#include "kernels/elementwise/elementwise.cuh"

namespace nested_learning {
namespace {

const size_t kCounts[] = {0, 1, 255, 256, 257, 5000};

// Not known to the compiler.
float UnknownHalf() {
  static volatile float half = 0.5f;
  return half;
}

// z of a kernel over x and y, whichever of them it writes.
struct Result {
  std::vector<float> x, y, z;
};
Result ResultOf(const char* kernel, const std::vector<float>& x, const std::vector<float>& y,
                float factor = 0, CudaActivation function = CudaActivation::kSigmoid) {
  DeviceFloats a(x), b(y), c(x.size());
  LaunchKernel(kernel, 3, kElementwiseThreads, 0,
               ElementwiseArguments{a.data(), b.data(), c.data(), static_cast<int64_t>(x.size()),
                                    factor, function});
  return {a.values(), b.values(), c.values()};
}

void CheckEveryElement(size_t count) {
  const std::vector<float> x = RandomFloats(count, 1), y = RandomFloats(count, 2);
  EXPECT_EQ(ResultOf("nl_fill", x, y, 2).x, std::vector<float>(count, 2));
  const Result sum = ResultOf("nl_add_scaled", x, y, -0.5f),
               product = ResultOf("nl_multiply", x, y), scaled = ResultOf("nl_scale", x, y, -0.5f);
  for (size_t i = 0; i < count; i++) {
    EXPECT_EQ(sum.y[i], std::fma(-0.5f, x[i], y[i]));
    EXPECT_EQ(product.z[i], x[i] * y[i]);
    EXPECT_EQ(scaled.x[i], x[i] * -0.5f);
  }
}

void CheckActivations(float step) {
  std::vector<float> x;
  for (float v = -30; v <= 30; v += step) x.push_back(v);
  const std::vector<float> dy = RandomFloats(x.size(), 3);
  for (int f = 0; f < 4; f++) {
    const auto function = static_cast<CudaActivation>(f);
    const Result forward = ResultOf("nl_activation_forward", x, std::vector<float>(x.size()), 0,
                                    function),
                 backward = ResultOf("nl_activation_backward", x, dy, 0, function);
    for (size_t i = 0; i < x.size(); i++) {
      const double v = x[i], sigmoid = 1 / (1 + std::exp(-v)), other = 1 / (1 + std::exp(v));
      const double normal = 0.5 * std::erfc(-v * std::sqrt(0.5));
      const double bell = std::exp(-0.5 * v * v) / std::sqrt(2 * std::acos(-1.0));
      const double y[] = {sigmoid, v > 0 ? v + std::log1p(std::exp(-v)) : std::log1p(std::exp(v)),
                          v < 0 ? v - std::log1p(std::exp(v)) : -std::log1p(std::exp(-v)),
                          v * normal};
      const double slope[] = {sigmoid * other, sigmoid, other, normal + v * bell};
      if (f == 3 && std::abs(v) > 9.5) {
        EXPECT_EQ(forward.y[i], std::max(x[i], 0.0f)) << "at " << v;
        EXPECT_EQ(backward.z[i], v > 0 ? dy[i] : 0) << "at " << v;
        continue;
      }
      EXPECT_NEAR(forward.y[i], y[f], 4e-7 * std::abs(y[f]) + 1e-30) << "f" << f << " at " << v;
      EXPECT_NEAR(
          backward.z[i], dy[i] * slope[f],
          6e-7 * std::abs(dy[i]) * (std::abs(slope[f]) + (f == 3 ? std::abs(v) * bell : 0)) + 1e-30)
          << "f" << f << " at " << v;
    }
  }
}

// As the PTX does, which is compiled so: what is below the least normal number is zero, with its sign.
void CheckSubnormals() {
  const float least = std::numeric_limits<float>::min();
  const Result result = ResultOf("nl_scale", {0x1p-130f, least, -least, 1}, {0, 0, 0, 0}, 0.5f);
  EXPECT_EQ(result.x, (std::vector<float>{0, 0, 0, 0.5f}));
  EXPECT_TRUE(std::signbit(result.x[2]));
  EXPECT_EQ(ResultOf("nl_scale", {0x1p-130f}, {0}, 0x1p20f).x[0], 0.0f);
  EXPECT_GT(UnknownHalf() * least, 0.0f) << "of kernels alone";
}

void CheckSumOfSquares(size_t count) {
  std::vector<float> values = RandomFloats(count, 4);
  if (count) values[0] = 1e20f;
  double expected = 0;
  for (float v : values) expected += static_cast<double>(v) * v;
  for (unsigned blocks : {1, 3}) {
    DeviceFloats x(values), parts(2 * blocks), result(2);
    auto* p = reinterpret_cast<double*>(parts.data());
    auto* r = reinterpret_cast<double*>(result.data());
    LaunchKernel("nl_sum_of_squares", blocks, kElementwiseThreads, 0,
                 SumArguments{x.data(), p, r, static_cast<int64_t>(count)});
    LaunchKernel("nl_sum_of_parts", 1, kElementwiseThreads, 0,
                 SumArguments{x.data(), p, r, blocks});
    EXPECT_NEAR(*r, expected, 1e-14 * expected);
  }
}

[[maybe_unused]] const bool kFaultCase = AddFaultCase("Elementwise", {[] {
                                                        CheckEveryElement(257);
                                                        CheckActivations(3.1f);
                                                        CheckSumOfSquares(800);
                                                      }});

class CudaElementwise : public InEveryOrder {};
NL_IN_EVERY_ORDER(CudaElementwise);

TEST_P(CudaElementwise, EveryElement_IsWrittenOnce) {
  for (size_t count : kCounts) CheckEveryElement(count);
}

TEST_P(CudaElementwise, Activations_MatchReference) { CheckActivations(0.37f); }

TEST_P(CudaElementwise, SubnormalNumbers_AreZeros) { CheckSubnormals(); }

TEST_P(CudaElementwise, SumOfSquares_IsInDouble) {
  for (size_t count : kCounts) CheckSumOfSquares(count);
}

}  // namespace
}  // namespace nested_learning
