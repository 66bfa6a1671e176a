// What the kernel tests share: a fixture run once for each target that this machine has, buffers that show a write out
// of bounds or a read of what was never written, and seeded numbers.
#ifndef NESTED_LEARNING_TESTS_TESTING_H_
#define NESTED_LEARNING_TESTS_TESTING_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#include "nested_learning.h"

namespace nl_testing {

inline std::vector<int32_t> Targets() {
  std::vector<int32_t> targets;
  for (int32_t i = 0; i < nl_target_count(); ++i) {
    if (nl_target_supported(i)) targets.push_back(i);
  }
  return targets;
}

inline std::string TargetName(const testing::TestParamInfo<int32_t>& info) {
  return nl_target_name(info.param);
}

class KernelTest : public testing::TestWithParam<int32_t> {
 protected:
  void SetUp() override { ASSERT_EQ(NL_OK, nl_target_choose(GetParam())) << nl_last_error(); }
};

// One instance of a test suite for each target, which its name carries: Elementwise.Scale_.../AVX2.
#define NL_TEST_TARGETS(suite)                                                      \
  INSTANTIATE_TEST_SUITE_P(Native, suite, testing::ValuesIn(nl_testing::Targets()), \
                           nl_testing::TargetName)

#define EXPECT_OK(call) EXPECT_EQ(NL_OK, (call)) << nl_last_error()

// Lengths around the vector widths of all targets.
inline const std::vector<int64_t>& Lengths() {
  static const std::vector<int64_t> lengths = {1,  2,  3,  4,  5,  7,  8,  9,  12, 15, 16,
                                               17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 197};
  return lengths;
}

// Floats with guards at both ends; `offset` floats away from 64-byte alignment. Guards are not to be written, and under the
// address sanitizer not to be read either.
class Buffer {
 public:
  explicit Buffer(int64_t count, int offset = 0) : count_(count), offset_(offset) {
    memory_.assign(static_cast<size_t>(count) + 3 * kGuard, Guard());
    const auto address = reinterpret_cast<uintptr_t>(memory_.data() + kGuard);
    start_ = kGuard + (64 - address % 64) % 64 / sizeof(float) + static_cast<size_t>(offset);
    // Outputs start as NaN: one that is left out, or read, shows.
    for (int64_t i = 0; i < count; ++i) (*this)[i] = std::numeric_limits<float>::quiet_NaN();
    Protect(true);
  }

  Buffer(const Buffer& other) : Buffer(other.count_, other.offset_) {
    if (count_ > 0) std::memcpy(data(), other.data(), static_cast<size_t>(count_) * sizeof(float));
  }

  // The elements alone; both have as many.
  Buffer& operator=(const Buffer& other) {
    if (count_ != other.count_) std::abort();
    if (count_ > 0) std::memmove(data(), other.data(), static_cast<size_t>(count_) * sizeof(float));
    return *this;
  }
  ~Buffer() { Protect(false); }

  static Buffer Uniform(int64_t count, uint32_t seed, float low = -1, float high = 1,
                        int offset = 0) {
    Buffer b(count, offset);
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(low, high);
    for (int64_t i = 0; i < count; ++i) b[i] = uniform(random);
    return b;
  }

  float* data() { return memory_.data() + start_; }
  const float* data() const { return memory_.data() + start_; }
  int64_t count() const { return count_; }
  float& operator[](int64_t i) { return memory_[start_ + static_cast<size_t>(i)]; }
  float operator[](int64_t i) const { return memory_[start_ + static_cast<size_t>(i)]; }

  void ExpectGuardsUntouched() const {
    Protect(false);
    for (size_t i = 0; i < memory_.size(); ++i) {
      if (i >= start_ && i < start_ + static_cast<size_t>(count_)) continue;
      uint32_t bits;
      std::memcpy(&bits, &memory_[i], sizeof(bits));
      EXPECT_EQ(kGuardBits, bits) << "written at " << static_cast<int64_t>(i - start_) << " of "
                                  << count_;
    }
    Protect(true);
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr uint32_t kGuardBits = 0x4B1D5EED;

  static float Guard() {
    float guard;
    std::memcpy(&guard, &kGuardBits, sizeof(guard));
    return guard;
  }

  void Protect(bool on) const {
#if defined(__SANITIZE_ADDRESS__)
    const float* end = data() + count_;
    const size_t after = (memory_.size() - start_ - static_cast<size_t>(count_)) * sizeof(float);
    if (on) {
      ASAN_POISON_MEMORY_REGION(memory_.data(), start_ * sizeof(float));
      ASAN_POISON_MEMORY_REGION(end, after);
    } else {
      ASAN_UNPOISON_MEMORY_REGION(memory_.data(), start_ * sizeof(float));
      ASAN_UNPOISON_MEMORY_REGION(end, after);
    }
#else
    static_cast<void>(on);
#endif
  }

  int64_t count_;
  int offset_;
  size_t start_ = 0;
  std::vector<float> memory_;
};

// The one rule of subnormal results: what is below the least normal number compares as zero. An absolute floor of that size
// stands under every tolerance. tests/NestedLearning.Testing/Tolerances.cs says the same of all backends.
constexpr double kLeastNormal = 0x1p-126;

inline void ExpectNear(double expected, float actual, double tolerance, const std::string& where) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual)) << where << " is " << actual << ", expected NaN";
  } else {
    // Written so that a NaN fails.
    EXPECT_TRUE(expected == actual || std::abs(actual - expected) <= tolerance + kLeastNormal)
        << where << " is " << actual << ", expected " << expected << " within " << tolerance;
  }
}

// The position in Highway's tables of the target in use, for tests that compile core headers themselves.
inline int32_t CurrentSlot() {
  int32_t target = 0;
  EXPECT_EQ(NL_OK, nl_target_current(&target)) << nl_last_error();
  const std::string name = nl_target_name(target);
  return name == "AVX2" ? 1 : name == "AVX3" ? 2 : 0;
}

// What rounding to float32 may do to a sum of count products with these absolute values in all, whatever the order. No
// more than a half unit for each product and each addition; and for many of them, whose errors are independent, three
// standard deviations.
inline double SumTolerance(int64_t count, double magnitude) {
  const double n = static_cast<double>(count);
  return std::min(n + 1, 3 * std::sqrt(n)) * magnitude * 0x1p-24;
}

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_TESTING_H_
