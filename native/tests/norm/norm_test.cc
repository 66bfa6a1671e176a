#include "tests/testing.h"

using nl_testing::Buffer;

namespace {

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

}  // namespace
