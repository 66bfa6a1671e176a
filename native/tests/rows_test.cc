// Column sums, norms, embedding and cross-entropy.
#include "testing.h"

using nl_testing::Buffer;

namespace {

// ---- Column sum

class ColumnSum : public nl_testing::KernelTest {};

TEST_P(ColumnSum, IsAddedToWhatIsThere) {
  for (int64_t columns : nl_testing::Lengths()) {
    for (int64_t rows : {1, 3, 255, 256, 257, 600}) {
      const Buffer x = Buffer::Uniform(rows * columns, 1, -1, 1, 1);
      Buffer sums = Buffer::Uniform(columns, 2, -1, 1, 1);
      const Buffer before = sums;
      nl_column_sum_arguments a = {sizeof(a), 0, rows, columns, x.data(), sums.data()};
      const int64_t pieces = (columns + NL_COLUMN_BLOCK - 1) / NL_COLUMN_BLOCK;
      for (int64_t piece = pieces; piece-- > 0;) EXPECT_OK(nl_column_sum(&a, piece, piece + 1));
      for (int64_t j = 0; j < columns; ++j) {
        double sum = before[j], magnitude = std::abs(sum);
        for (int64_t i = 0; i < rows; ++i) {
          sum += x[i * columns + j];
          magnitude += std::abs(x[i * columns + j]);
        }
        nl_testing::ExpectNear(sum, sums[j], nl_testing::SumTolerance(rows + 1, magnitude), "sum");
      }
      sums.ExpectGuardsUntouched();
      if (HasFailure()) return;
    }
  }
}

NL_TEST_TARGETS(ColumnSum);

// ---- Norms

class Norm : public nl_testing::KernelTest {
 protected:
  static constexpr double kEpsilon[] = {1e-5, 1e-5, 1e-6};

  // y of one row, in double.
  static std::vector<double> Reference(int kind, const std::vector<double>& x, const float* gain,
                                       const float* bias) {
    const double n = static_cast<double>(x.size());
    double mean = 0, squares = 0;
    if (kind == NL_NORM_LAYER) {
      for (double v : x) mean += v / n;
    }
    for (double v : x) squares += (v - mean) * (v - mean);
    const double e = static_cast<float>(kEpsilon[kind]);
    const double scale = 1 / std::sqrt(kind == NL_NORM_L2 ? squares + e * e : squares / n + e);
    std::vector<double> y(x.size());
    for (size_t j = 0; j < x.size(); ++j) {
      y[j] = (x[j] - mean) * scale * (gain ? gain[j] : 1) + (bias ? bias[j] : 0);
    }
    return y;
  }

  static std::vector<double> Row(const Buffer& x, int64_t row, int64_t columns) {
    return std::vector<double>(x.data() + row * columns, x.data() + (row + 1) * columns);
  }
};

constexpr double Norm::kEpsilon[];

TEST_P(Norm, Forward_MatchesTheReference) {
  for (int kind = NL_NORM_RMS; kind <= NL_NORM_L2; ++kind) {
    for (int64_t columns : nl_testing::Lengths()) {
      for (bool affine : {false, true}) {
        const int64_t rows = 5;
        const Buffer x = Buffer::Uniform(rows * columns, 1, -2, 3, 1);
        const Buffer gain = Buffer::Uniform(columns, 2, 0.5, 2, 2);
        const Buffer bias = Buffer::Uniform(columns, 3, -1, 1, 3);
        Buffer y(rows * columns, 1);
        nl_norm_arguments a = {};
        a.size = sizeof(a);
        a.kind = kind;
        a.rows = rows;
        a.columns = columns;
        a.epsilon = static_cast<float>(kEpsilon[kind]);
        a.x = x.data();
        a.gain = affine ? gain.data() : nullptr;
        a.bias = affine ? bias.data() : nullptr;
        a.y = y.data();
        EXPECT_OK(nl_norm_forward(&a, 2, rows));
        EXPECT_OK(nl_norm_forward(&a, 0, 2));
        for (int64_t i = 0; i < rows; ++i) {
          const auto expected = Reference(kind, Row(x, i, columns), a.gain, a.bias);
          for (int64_t j = 0; j < columns; ++j) {
            // One column makes layer norm's x - mean nothing but rounding, scaled up by 1/sqrt(epsilon).
            nl_testing::ExpectNear(
                expected[static_cast<size_t>(j)], y[i * columns + j], 4e-6,
                "kind " + std::to_string(kind) + " columns " + std::to_string(columns));
          }
        }
        y.ExpectGuardsUntouched();
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(Norm, Backward_MatchesDifferencesOfTheReference) {
  for (int kind = NL_NORM_RMS; kind <= NL_NORM_L2; ++kind) {
    for (int64_t columns : {2, 7, 16, 17, 33}) {
      for (bool affine : {false, true}) {
        const int64_t rows = 2 * NL_NORM_BLOCK + 3, blocks = 3;
        const Buffer x = Buffer::Uniform(rows * columns, 1, -2, 3, 1);
        const Buffer dy = Buffer::Uniform(rows * columns, 4, -1, 1, 1);
        const Buffer gain = Buffer::Uniform(columns, 2, 0.5, 2, 2);
        Buffer dx(rows * columns, 1), dgain(blocks * columns, 1), dbias(blocks * columns, 2);
        nl_norm_arguments a = {};
        a.size = sizeof(a);
        a.kind = kind;
        a.rows = rows;
        a.columns = columns;
        a.epsilon = static_cast<float>(kEpsilon[kind]);
        a.x = x.data();
        a.gain = affine ? gain.data() : nullptr;
        a.dy = dy.data();
        a.dx = dx.data();
        a.dgain = affine ? dgain.data() : nullptr;
        a.dbias = affine ? dbias.data() : nullptr;
        EXPECT_OK(nl_norm_backward(&a, 1, blocks));
        EXPECT_OK(nl_norm_backward(&a, 0, 1));
        const std::string where =
            "kind " + std::to_string(kind) + " columns " + std::to_string(columns);
        std::vector<double> gain_sums(static_cast<size_t>(columns)), bias_sums = gain_sums;
        for (int64_t i = 0; i < rows; ++i) {
          auto row = Row(x, i, columns);
          const auto normal = Reference(kind, row, nullptr, nullptr);
          double size = 0;
          for (double v : row) size += v * v;
          for (int64_t j = 0; j < columns; ++j) {
            const size_t s = static_cast<size_t>(j);
            gain_sums[s] += dy[i * columns + j] * normal[s];
            bias_sums[s] += dy[i * columns + j];
            const double h = 1e-6, kept = row[s];
            row[s] = kept + h;
            const auto up = Reference(kind, row, a.gain, nullptr);
            row[s] = kept - h;
            const auto down = Reference(kind, row, a.gain, nullptr);
            row[s] = kept;
            double slope = 0;
            for (int64_t l = 0; l < columns; ++l) {
              slope += dy[i * columns + l] *
                       (up[static_cast<size_t>(l)] - down[static_cast<size_t>(l)]) / (2 * h);
            }
            // Short rows of small numbers have steep norms.
            nl_testing::ExpectNear(
                slope, dx[i * columns + j],
                2e-5 * std::max(1.0, 4 / std::sqrt(size / static_cast<double>(columns))),
                where + " dx");
          }
        }
        for (int64_t j = 0; affine && j < columns; ++j) {
          double g = 0, b = 0;
          for (int64_t block = 0; block < blocks; ++block) {
            g += dgain[block * columns + j];
            b += dbias[block * columns + j];
          }
          nl_testing::ExpectNear(gain_sums[static_cast<size_t>(j)], g, 4e-5, where + " dgain");
          nl_testing::ExpectNear(bias_sums[static_cast<size_t>(j)], b, 1e-5, where + " dbias");
        }
        dx.ExpectGuardsUntouched();
        dgain.ExpectGuardsUntouched();
        dbias.ExpectGuardsUntouched();
        if (HasFailure()) return;
      }
    }
  }
}

// Squares of numbers below 2^-63 are subnormal, and so is the square of such an epsilon.
TEST_P(Norm, TinyRows_KeepTheirLength) {
  const int64_t columns = 20;
  for (int kind : {NL_NORM_RMS, NL_NORM_L2}) {
    for (const double size : {0.0, 1e-30, 1e-20, 3e-20, 1e-19, 1e-15, 1e-5}) {
      Buffer x = Buffer::Uniform(columns, 5), y(columns);
      double squares = 0;
      for (int64_t j = 0; j < columns; ++j) {
        x[j] = static_cast<float>(x[j] * size);
        squares += static_cast<double>(x[j]) * x[j];
      }
      nl_norm_arguments a = {};
      a.size = sizeof(a);
      a.kind = kind;
      a.rows = 1;
      a.columns = columns;
      a.epsilon = kind == NL_NORM_L2 ? 1e-20f : 2e-38f;
      a.x = x.data();
      a.y = y.data();
      EXPECT_OK(nl_norm_forward(&a, 0, 1));
      const double epsilon = a.epsilon;
      const double inside =
          kind == NL_NORM_L2 ? squares + epsilon * epsilon : squares / columns + epsilon;
      for (int64_t j = 0; j < columns; ++j) {
        nl_testing::ExpectNear(x[j] / std::sqrt(inside), y[j], 4e-6,
                               "kind " + std::to_string(kind) + " size " + std::to_string(size));
      }
    }
  }
}

TEST_P(Norm, Nan_StaysInItsRow) {
  Buffer x = Buffer::Uniform(3 * 20, 1), y(3 * 20);
  x[20 + 3] = std::numeric_limits<float>::quiet_NaN();
  for (int kind = NL_NORM_RMS; kind <= NL_NORM_L2; ++kind) {
    nl_norm_arguments a = {};
    a.size = sizeof(a);
    a.kind = kind;
    a.rows = 3;
    a.columns = 20;
    a.epsilon = 1e-5f;
    a.x = x.data();
    a.y = y.data();
    EXPECT_OK(nl_norm_forward(&a, 0, 3));
    for (int64_t i = 0; i < 60; ++i) EXPECT_EQ(i / 20 == 1, std::isnan(y[i])) << kind << " " << i;
  }
}

NL_TEST_TARGETS(Norm);

// ---- Embedding

class Embedding : public nl_testing::KernelTest {};

TEST_P(Embedding, ForwardAndBackward_MatchTheReference) {
  const std::vector<int32_t> tokens = {3, 0, 3, 4, 3};
  for (int64_t columns : nl_testing::Lengths()) {
    const Buffer table = Buffer::Uniform(5 * columns, 1, -1, 1, 1);
    const Buffer dy = Buffer::Uniform(5 * columns, 2, -1, 1, 2);
    Buffer y(5 * columns, 3), dtable = Buffer::Uniform(5 * columns, 3, -1, 1, 1);
    const Buffer before = dtable;
    nl_embedding_arguments a = {sizeof(a),    0,        5,         columns,      5, tokens.data(),
                                table.data(), y.data(), dy.data(), dtable.data()};
    EXPECT_OK(nl_embedding_forward(&a, 2, 5));
    EXPECT_OK(nl_embedding_forward(&a, 0, 2));
    const int64_t pieces = (columns + NL_COLUMN_BLOCK - 1) / NL_COLUMN_BLOCK;
    for (int64_t piece = pieces; piece-- > 0;)
      EXPECT_OK(nl_embedding_backward(&a, piece, piece + 1));
    for (int64_t t = 0; t < 5; ++t) {
      for (int64_t j = 0; j < columns; ++j) {
        EXPECT_EQ(table[tokens[static_cast<size_t>(t)] * columns + j], y[t * columns + j]);
        // The same additions in the same order: the same bits.
        float sum = before[t * columns + j];
        for (int64_t s = 0; s < 5; ++s) {
          if (tokens[static_cast<size_t>(s)] == t) sum += dy[s * columns + j];
        }
        EXPECT_EQ(sum, dtable[t * columns + j]);
      }
    }
    y.ExpectGuardsUntouched();
    dtable.ExpectGuardsUntouched();
  }
}

TEST_P(Embedding, IndexBeyondTheTable_IsRefused) {
  const std::vector<int32_t> tokens = {1, 5};
  const Buffer table = Buffer::Uniform(5 * 4, 1);
  Buffer y(2 * 4);
  nl_embedding_arguments a = {sizeof(a),    0,        2,       4,      5, tokens.data(),
                              table.data(), y.data(), nullptr, nullptr};
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_embedding_forward(&a, 0, 2));
  EXPECT_STREQ("indices[1] is 5, expected 0 to 4", nl_last_error());
  EXPECT_TRUE(std::isnan(y[0])) << "nothing is written before the check";
}

NL_TEST_TARGETS(Embedding);

// ---- Cross-entropy

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

// What is written past the caches, from a place that is no vector's boundary, is what is written through them.
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

TEST_P(CrossEntropy, Nan_ComesThrough) {
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
