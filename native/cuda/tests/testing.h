// What the tests of CUDA kernels share: launches in the emulator, and buffers.
#ifndef NESTED_LEARNING_CUDA_TESTS_TESTING_H_
#define NESTED_LEARNING_CUDA_TESTS_TESTING_H_

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "cuda/cuda.h"

namespace nested_learning {

// Runs a kernel that takes one struct.
template <typename Arguments>
void LaunchKernel(const char* kernel, unsigned grid, unsigned threads, size_t shared_bytes,
                  Arguments arguments) {
  const std::vector<size_t> sizes = emulator::ArgumentSizes(kernel);
  ASSERT_EQ(sizes, std::vector<size_t>{sizeof(Arguments)}) << kernel;
  void* pointers[] = {&arguments};
  ASSERT_TRUE(emulator::Run(kernel, {{grid, 1, 1}, {threads, 1, 1}, shared_bytes}, pointers));
}

// Floats aligned as a device's allocations are, of the exact size; they start as NaN.
class DeviceFloats {
 public:
  explicit DeviceFloats(size_t count) : count_(count) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, (count ? count : 1) * sizeof(float))) std::abort();
    data_ = static_cast<float*>(memory);
    for (size_t i = 0; i < count; i++) data_[i] = std::numeric_limits<float>::quiet_NaN();
  }
  explicit DeviceFloats(const std::vector<float>& values) : DeviceFloats(values.size()) {
    for (size_t i = 0; i < count_; i++) data_[i] = values[i];
  }
  DeviceFloats(const DeviceFloats&) = delete;
  DeviceFloats& operator=(const DeviceFloats&) = delete;
  ~DeviceFloats() { std::free(data_); }

  float* data() { return data_; }
  size_t size() const { return count_; }
  float& operator[](size_t i) { return data_[i]; }
  std::vector<float> values() const { return std::vector<float>(data_, data_ + count_); }

 private:
  float* data_;
  size_t count_;
};

// NaN is where NaN is expected, and nowhere else; a tolerance is of the largest element.
inline void Near(const std::string& what, const std::vector<float>& actual,
                 const std::vector<double>& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 1;
  for (double x : expected) largest = std::isnan(x) ? largest : std::max(largest, std::abs(x));
  for (size_t i = 0; i < actual.size(); i++) {
    const bool is_near = std::isnan(expected[i])
                             ? std::isnan(actual[i])
                             : std::abs(actual[i] - expected[i]) <= tolerance * largest;
    if (!is_near) FAIL() << what << " " << i << " is " << actual[i] << ", not " << expected[i];
  }
}

inline std::vector<float> RandomFloats(size_t count, unsigned seed, float scale = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

// A test in every order of the threads; under the sanitizers in one.
class InEveryOrder : public ::testing::TestWithParam<emulator::Order> {
 protected:
  void SetUp() override { emulator::SetOrder(GetParam()); }
};

inline std::string OrderName(const ::testing::TestParamInfo<emulator::Order>& info) {
  switch (info.param) {
    case emulator::Order::kForward:
      return "Forward";
    case emulator::Order::kReverse:
      return "Reverse";
    default:
      return "Random";
  }
}

// What the sanitizers look for is in one order as in another, and they take their time.
inline auto Orders() {
  using emulator::Order;
#if defined(NL_SANITIZE_ADDRESS)
  return ::testing::Values(Order::kRandom);
#else
  return ::testing::Values(Order::kForward, Order::kReverse, Order::kRandom);
#endif
}

#define NL_IN_EVERY_ORDER(suite)                                         \
  INSTANTIATE_TEST_SUITE_P(Emulated, suite, ::nested_learning::Orders(), \
                           ::nested_learning::OrderName)

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CUDA_TESTS_TESTING_H_
