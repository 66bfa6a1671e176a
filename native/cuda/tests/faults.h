// Faults planted in kernels, to see that tests notice them.
#ifndef NESTED_LEARNING_CUDA_TESTS_FAULTS_H_
#define NESTED_LEARNING_CUDA_TESTS_FAULTS_H_

#include <functional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include "cuda/emulator.h"

namespace nested_learning {

// A fault that cannot be seen, and why. It is named by code that stands on its line or the next one.
struct UnseenFault {
  emulator::Fault fault;
  const char* code;
  const char* why;
};

// A check launches kernels and has expectations (EXPECT_ or ASSERT_) of what they make. faults_test.cc runs a case's checks for
// each site that its kernels pass, with the fault planted there, and wants one of them to fail: they are of the smallest shapes
// that pass all sites. With a fault that is named as unseen all have to succeed.
struct FaultCase {
  std::string name;
  std::vector<std::function<void()>> checks;
  std::vector<UnseenFault> unseen;
};

inline void PrintTo(const FaultCase& c, std::ostream* out) { *out << c.name; }

inline std::vector<FaultCase>& FaultCases() {
  static std::vector<FaultCase> cases;
  return cases;
}

// For a variable's initial value.
inline bool AddFaultCase(std::string name, std::vector<std::function<void()>> checks,
                         std::vector<UnseenFault> unseen = {}) {
  FaultCases().push_back({std::move(name), std::move(checks), std::move(unseen)});
  return true;
}

// Whether a check fails, without failing itself.
inline bool Fails(const std::function<void()>& check) {
  using Reporter = ::testing::ScopedFakeTestPartResultReporter;
  ::testing::TestPartResultArray results;
  {
    const Reporter reporter(Reporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    check();
  }
  bool fails = false;
  for (int i = 0; i < results.size(); i++) fails |= results.GetTestPartResult(i).failed();
  return fails;
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CUDA_TESTS_FAULTS_H_
