// What the tests of the two scans share: closeness to a float64 reference, and small dense helpers
// in float64.
#ifndef NESTED_LEARNING_TESTS_REFERENCE_H_
#define NESTED_LEARNING_TESTS_REFERENCE_H_

#include <cmath>
#include <string>
#include <vector>

#include "tests/testing.h"

namespace nl_testing {

// Largest errors, relative to an element's own size plus the tensor's root mean square.
constexpr double kScanTolerance = 5e-5;
constexpr double kScanGradientTolerance = 2e-4;

using Doubles = std::vector<double>;

inline void ExpectClose(const Doubles& expected, const Buffer& actual, double tolerance,
                        const std::string& where) {
  ASSERT_EQ(static_cast<int64_t>(expected.size()), actual.count()) << where;
  double squares = 0;
  for (double value : expected) squares += value * value;
  const double rms = std::sqrt(squares / std::max<size_t>(1, expected.size()));
  for (int64_t i = 0; i < actual.count(); ++i) {
    // Float32 has nothing between 0 and its smallest numbers.
    const double allowed =
        tolerance * (std::abs(expected[i]) + rms) + std::numeric_limits<float>::min();
    // Written so that a NaN fails.
    ASSERT_TRUE(std::abs(actual[i] - expected[i]) <= allowed)
        << where << "[" << i << "] is " << actual[i] << ", expected " << expected[i] << " within "
        << allowed;
  }
  actual.ExpectGuardsUntouched();
}

inline Doubles ToDoubles(const Buffer& buffer) {
  return Doubles(buffer.data(), buffer.data() + buffer.count());
}

inline void ExpectSameBits(const Buffer& expected, const Buffer& actual, const std::string& where) {
  ASSERT_EQ(expected.count(), actual.count());
  ASSERT_EQ(0, std::memcmp(expected.data(), actual.data(), expected.count() * sizeof(float)))
      << where;
}

// x [rows] times M [rows, columns].
inline Doubles Times(const double* x, const double* m, int64_t rows, int64_t columns) {
  Doubles y(columns);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) y[j] += x[i] * m[i * columns + j];
  }
  return y;
}

// y [columns] times Mᵀ, M [rows, columns].
inline Doubles TimesTransposed(const double* y, const double* m, int64_t rows, int64_t columns) {
  Doubles x(rows);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) x[i] += y[j] * m[i * columns + j];
  }
  return x;
}

// M += factor xᵀ y.
inline void AddOuter(double factor, const double* x, const double* y, int64_t rows, int64_t columns,
                     double* m) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) m[i * columns + j] += factor * x[i] * y[j];
  }
}

inline double Inner(const double* x, const double* y, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += x[i] * y[i];
  return sum;
}

inline void AddTo(const Doubles& x, double* sum) {
  for (size_t i = 0; i < x.size(); ++i) sum[i] += x[i];
}

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_REFERENCE_H_
