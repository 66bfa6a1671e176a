#include "tests/testing.h"

using nl_testing::Buffer;

namespace {

class CrossEntropy : public nl_testing::KernelTest {
 protected:
  static nl_cross_entropy_arguments Arguments(float scale, const Buffer& logits,
                                              const std::vector<int32_t>& targets, Buffer& losses,
                                              Buffer& log_sums, const Buffer* dlosses,
                                              Buffer& dlogits) {
    nl_cross_entropy_arguments a = {};
    a.size = sizeof(a);
    a.gradient_scale = scale;
    a.rows = losses.count();
    a.columns = logits.count() / a.rows;
    a.logits = logits.data();
    a.targets = targets.data();
    a.losses = losses.data();
    a.log_sums = log_sums.data();
    a.dlosses = dlosses == nullptr ? nullptr : dlosses->data();
    a.dlogits = dlogits.data();
    return a;
  }
};

TEST_P(CrossEntropy, ForwardAndBackward_MatchTheReference) {
  for (int64_t columns : nl_testing::Lengths()) {
    for (float offset : {0.0f, 1000.0f, -1000.0f}) {
      const int64_t rows = 4;
      const Buffer logits = Buffer::Uniform(rows * columns, 1, offset - 8, offset + 8, 1);
      const Buffer dlosses = Buffer::Uniform(rows, 2);
      const int32_t last = static_cast<int32_t>(columns - 1);
      const std::vector<int32_t> targets = {0, last, -1, last / 2};
      Buffer losses(rows), log_sums(rows), dlogits(rows * columns, 1);
      nl_cross_entropy_arguments a = {sizeof(a),      0,
                                      rows,           columns,
                                      logits.data(),  targets.data(),
                                      losses.data(),  log_sums.data(),
                                      dlosses.data(), dlogits.data()};
      EXPECT_OK(nl_cross_entropy_forward(&a, 0, rows));
      EXPECT_OK(nl_cross_entropy_backward(&a, 0, rows));
      for (int64_t i = 0; i < rows; ++i) {
        const float* x = logits.data() + i * columns;
        const int32_t target = targets[static_cast<size_t>(i)];
        double maximum = x[0], sum = 0;
        for (int64_t j = 0; j < columns; ++j) maximum = std::max<double>(maximum, x[j]);
        for (int64_t j = 0; j < columns; ++j) sum += std::exp(x[j] - maximum);
        const double log_sum = maximum + std::log(sum);
        const double unit = std::max(1.0, std::abs(log_sum)) * 0x1p-23;
        nl_testing::ExpectNear(log_sum, log_sums[i], unit, "log sum");
        nl_testing::ExpectNear(target < 0 ? 0 : log_sum - x[target], losses[i], 2e-6, "loss");
        for (int64_t j = 0; j < columns; ++j) {
          const double p = std::exp(x[j] - log_sum);
          const double expected = target < 0 ? 0 : (p - (j == target ? 1 : 0)) * dlosses[i];
          // logits - log_sums is off by half a unit of log_sums.
          nl_testing::ExpectNear(expected, dlogits[i * columns + j], 1e-6 + unit, "dlogits");
        }
      }
      losses.ExpectGuardsUntouched();
      log_sums.ExpectGuardsUntouched();
      dlogits.ExpectGuardsUntouched();
    }
  }
}

TEST_P(CrossEntropy, Backward_MayOverwriteTheLogits) {
  const Buffer logits = Buffer::Uniform(2 * 21, 1, -3, 3);
  const Buffer dlosses = Buffer::Uniform(2, 2);
  const std::vector<int32_t> targets = {20, -1};
  Buffer losses(2), log_sums(2), apart(2 * 21), same = logits;
  nl_cross_entropy_arguments a = {sizeof(a),
                                  0,
                                  2,
                                  21,
                                  logits.data(),
                                  targets.data(),
                                  losses.data(),
                                  log_sums.data(),
                                  dlosses.data(),
                                  apart.data()};
  EXPECT_OK(nl_cross_entropy_forward(&a, 0, 2));
  EXPECT_OK(nl_cross_entropy_backward(&a, 0, 2));
  a.logits = same.data();
  a.dlogits = same.data();
  EXPECT_OK(nl_cross_entropy_backward(&a, 0, 2));
  for (int64_t i = 0; i < 42; ++i) EXPECT_EQ(apart[i], same[i]);
}

// Around the blocks that a row is gone through in, with masked logits for a first block.
TEST_P(CrossEntropy, WithGradient_MatchesTheReference) {
  for (int64_t columns : {1, 7, 33, 1023, 1024, 1025, 2051, 300001}) {
    const int64_t rows = 3;
    Buffer logits = Buffer::Uniform(rows * columns, 1, -8, 8, 1);
    for (int64_t j = 0; j + 1 < columns && j < 1500; ++j) {
      logits[columns + j] = -std::numeric_limits<float>::infinity();
    }
    const int32_t last = static_cast<int32_t>(columns - 1);
    const std::vector<int32_t> targets = {last / 2, last, -1};
    Buffer losses(rows), log_sums(rows), apart(rows * columns, 2), same = logits;
    Buffer workspace(columns, 3);
    nl_cross_entropy_arguments a =
        Arguments(0.25f, logits, targets, losses, log_sums, nullptr, apart);
    EXPECT_OK(nl_cross_entropy_with_gradient(&a, 0, rows, workspace.data()));
    for (int64_t i = 0; i < rows; ++i) {
      const float* x = logits.data() + i * columns;
      const int32_t target = targets[static_cast<size_t>(i)];
      double maximum = x[last], sum = 0;
      for (int64_t j = 0; j < columns; ++j) maximum = std::max<double>(maximum, x[j]);
      for (int64_t j = 0; j < columns; ++j) sum += std::exp(x[j] - maximum);
      const double log_sum = maximum + std::log(sum);
      nl_testing::ExpectNear(log_sum, log_sums[i], 4e-6, "log sum");
      nl_testing::ExpectNear(target < 0 ? 0 : log_sum - x[target], losses[i], 4e-6, "loss");
      for (int64_t j = 0; j < columns; ++j) {
        const double p = std::exp(x[j] - log_sum);
        const double expected = target < 0 ? 0 : 0.25 * (p - (j == target ? 1 : 0));
        nl_testing::ExpectNear(expected, apart[i * columns + j],
                               2e-6 * std::max(p, std::abs(expected)) + 1e-9, "dlogits");
      }
      if (HasFailure()) return;
    }
    a.logits = a.dlogits = same.data();
    a.log_sums = nullptr;
    EXPECT_OK(nl_cross_entropy_with_gradient(&a, 0, rows, workspace.data()));
    for (int64_t i = 0; i < rows * columns; ++i) ASSERT_EQ(apart[i], same[i]);
    apart.ExpectGuardsUntouched();
    same.ExpectGuardsUntouched();
    workspace.ExpectGuardsUntouched();
  }
}

// Rows written past the caches from an address off a vector boundary are those written through them.
TEST_P(CrossEntropy, LargeGradients_AreTheSame) {
  const int64_t rows = 41, columns = 102401;
  const Buffer logits = Buffer::Uniform(rows * columns, 1, -4, 4);
  const Buffer dlosses = Buffer::Uniform(rows, 2);
  std::vector<int32_t> targets(static_cast<size_t>(rows), 5);
  Buffer losses(rows), log_sums(rows), apart(rows * columns, 3), workspace(columns);
  nl_cross_entropy_arguments a = Arguments(1, logits, targets, losses, log_sums, &dlosses, apart);
  for (bool both : {false, true}) {
    Buffer same = logits;
    const auto run = [&] {
      if (both) {
        EXPECT_OK(nl_cross_entropy_with_gradient(&a, 0, rows, workspace.data()));
      } else {
        EXPECT_OK(nl_cross_entropy_forward(&a, 0, rows));
        EXPECT_OK(nl_cross_entropy_backward(&a, 0, rows));
      }
    };
    a.logits = logits.data();
    a.dlogits = apart.data();
    run();
    a.logits = a.dlogits = same.data();
    run();
    EXPECT_EQ(0, std::memcmp(apart.data(), same.data(), sizeof(float) * rows * columns)) << both;
    apart.ExpectGuardsUntouched();
    same.ExpectGuardsUntouched();
  }
}

TEST_P(CrossEntropy, Nan_GivesNan) {
  for (int64_t at : {0, 7, 36}) {
    Buffer logits = Buffer::Uniform(37, 1), losses(1), log_sums(1);
    logits[at] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<int32_t> targets = {3};
    nl_cross_entropy_arguments a = {
        sizeof(a),       0,       1,      37, logits.data(), targets.data(), losses.data(),
        log_sums.data(), nullptr, nullptr};
    EXPECT_OK(nl_cross_entropy_forward(&a, 0, 1));
    EXPECT_TRUE(std::isnan(losses[0])) << at;
    EXPECT_TRUE(std::isnan(log_sums[0])) << at;
  }
}

TEST_P(CrossEntropy, TargetBeyondTheClasses_IsRefused) {
  const Buffer logits = Buffer::Uniform(4, 1);
  Buffer losses(1), log_sums(1);
  const std::vector<int32_t> targets = {4};
  nl_cross_entropy_arguments a = {
      sizeof(a),       0,       1,      4, logits.data(), targets.data(), losses.data(),
      log_sums.data(), nullptr, nullptr};
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_cross_entropy_forward(&a, 0, 1));
  EXPECT_STREQ("targets[0] is 4, expected -1 to 3", nl_last_error());
}

NL_TEST_TARGETS(CrossEntropy);

}  // namespace
