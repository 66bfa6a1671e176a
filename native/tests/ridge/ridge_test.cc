#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/testing.h"

namespace {

using nl_testing::Buffer;

constexpr int64_t kPanel = NL_RIDGE_PANEL;

int64_t Padded(int64_t features) { return (features + kPanel - 1) / kPanel * kPanel; }

int64_t Row(int64_t j) {
  const int64_t panel = j / kPanel;
  return kPanel * kPanel * panel * (panel + 1) / 2 + j % kPanel * kPanel * (panel + 1);
}

std::vector<double> Numbers(int64_t count, int seed) {
  const Buffer floats = Buffer::Uniform(std::max<int64_t>(count, 1), seed, -1, 1);
  std::vector<double> numbers(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) numbers[static_cast<size_t>(i)] = floats[i];
  return numbers;
}

// A group of samples over random rows, with zeros above the diagonal and beyond D, and a float64 reference of it.
struct Group {
  int64_t features, outputs, samples;
  std::vector<double> rows, x, f, c, v, o, e;
  Buffer w, low;
  nl_ridge_arguments a = {};

  Group(int64_t d, int64_t n, int64_t k)
      : features(d),
        outputs(k),
        samples(n),
        w(Buffer::Uniform(d * k, 7, -1, 1)),
        low(Buffer::Uniform(d * k, 8, -1e-8f, 1e-8f)) {
    const int64_t padded = Padded(d);
    rows.assign(static_cast<size_t>(padded * (padded + kPanel) / 2), 0.0);
    const std::vector<double> random = Numbers(d * d, 1);
    for (int64_t j = 0; j < d; ++j) {
      for (int64_t i = 0; i < j; ++i) At(j, i) = random[static_cast<size_t>(j * d + i)] / 4;
      At(j, j) = 1;
    }
    x = Numbers(n * padded, 2), c = Numbers(n * padded, 3), v = Numbers(n * padded, 4);
    e = Numbers(n * k, 5);
    for (int64_t i = d; i < padded; ++i) {
      for (int64_t s = 0; s < n; ++s) {
        x[static_cast<size_t>(s * padded + i)] = 0;
        c[static_cast<size_t>(i * n + s)] = v[static_cast<size_t>(i * n + s)] = 0;
      }
    }
    f.assign(static_cast<size_t>(n * padded), NAN), o.assign(static_cast<size_t>(n * k), NAN);
    a.size = sizeof(a);
    a.samples = static_cast<int32_t>(n);
    a.features = d, a.outputs = k;
    a.rows = rows.data(), a.x = x.data(), a.f = f.data(), a.v = v.data(), a.o = o.data();
    a.e = e.data(), a.w = w.data(), a.w_low = low.data();
  }

  double& At(int64_t j, int64_t i) { return rows[static_cast<size_t>(Row(j) + i)]; }
  double Key(int64_t s, int64_t i) { return x[static_cast<size_t>(s * Padded(features) + i)]; }
  double Weight(int64_t i, int64_t k) const {
    return static_cast<double>(w[i * outputs + k]) + static_cast<double>(low[i * outputs + k]);
  }
  int64_t Pieces(int64_t count, int64_t block) const { return (count + block - 1) / block; }
};

class Ridge : public nl_testing::KernelTest {};

void ExpectRefused(const std::string& name, int32_t status) {
  EXPECT_EQ(NL_INVALID_ARGUMENT, status);
  EXPECT_NE(std::string(nl_last_error()).find(name), std::string::npos) << nl_last_error();
}

TEST_P(Ridge, Reading_IsTheProductsOfRowsAndKeys) {
  for (int64_t d : nl_testing::Lengths()) {
    for (int64_t n = 1; n <= NL_RIDGE_GROUP; ++n) {
      Group g(d, n, d % 23 + 1);
      for (int64_t p = g.Pieces(d, NL_RIDGE_ROWS); p-- > 0;) {
        EXPECT_OK(nl_ridge_read_rows(&g.a, p, p + 1));
      }
      for (int64_t p = g.Pieces(g.outputs, NL_RIDGE_COLUMNS); p-- > 0;) {
        EXPECT_OK(nl_ridge_read_outputs(&g.a, p, p + 1));
      }
      for (int64_t s = 0; s < n; ++s) {
        for (int64_t j = 0; j < Padded(d); ++j) {
          double sum = 0;
          for (int64_t i = 0; i <= j && j < d; ++i) sum += g.At(j, i) * g.Key(s, i);
          EXPECT_NEAR(sum, g.f[static_cast<size_t>(j * n + s)], 1e-13) << d << " " << j;
        }
        for (int64_t k = 0; k < g.outputs; ++k) {
          double sum = 0;
          for (int64_t i = 0; i < d; ++i) sum += g.Key(s, i) * g.Weight(i, k);
          EXPECT_NEAR(sum, g.o[static_cast<size_t>(s * g.outputs + k)], 1e-13) << d << " " << k;
        }
      }
      if (HasFailure()) return;
    }
  }
}

TEST_P(Ridge, Writing_GoesDownTheRows) {
  for (int64_t d : nl_testing::Lengths()) {
    for (int64_t n = 1; n <= NL_RIDGE_GROUP; ++n) {
      Group g(d, n, d % 19);
      Group expected = g;
      g.f = g.c;
      g.a.rows = g.rows.data(), g.a.f = g.f.data(), g.a.v = g.v.data(), g.a.e = g.e.data();
      for (int64_t p = g.Pieces(d, NL_RIDGE_COLUMNS); p-- > 0;) {
        EXPECT_OK(nl_ridge_write(&g.a, p, p + 1));
      }
      for (int64_t i = 0; i < d; ++i) {
        std::vector<double> gains(static_cast<size_t>(n), 0.0);
        for (int64_t j = i; j < d; ++j) {
          for (int64_t s = 0; s < n; ++s) {
            const auto at = static_cast<size_t>(j * n + s);
            double& gain = gains[static_cast<size_t>(s)];
            const double before = expected.At(j, i);
            expected.At(j, i) = before - expected.c[at] * gain;
            gain += expected.v[at] * before;
          }
        }
        for (int64_t k = 0; k < g.outputs; ++k) {
          double sum = expected.Weight(i, k);
          for (int64_t s = 0; s < n; ++s) {
            sum += gains[static_cast<size_t>(s)] * g.e[static_cast<size_t>(s * g.outputs + k)];
          }
          const double scale = std::max(1.0, std::abs(sum));
          EXPECT_NEAR(sum / scale, g.Weight(i, k) / scale, 1e-11) << d << " " << i << " " << k;
          EXPECT_EQ(g.w[i * g.outputs + k], static_cast<float>(g.Weight(i, k)));
        }
        for (int64_t j = i; j < d; ++j) {
          const double scale = std::max(1.0, std::abs(expected.At(j, i)));
          EXPECT_NEAR(expected.At(j, i) / scale, g.At(j, i) / scale, 1e-11) << d << " " << j;
        }
      }
      for (int64_t j = 0; j < Padded(d); ++j) {
        for (int64_t i = j < d ? j + 1 : 0; i < kPanel * (j / kPanel + 1); ++i) {
          EXPECT_EQ(g.At(j, i), 0) << "beyond the diagonal";
        }
      }
      g.w.ExpectGuardsUntouched();
      g.low.ExpectGuardsUntouched();
      if (HasFailure()) return;
    }
  }
}

TEST_P(Ridge, BadArguments_AreNamed) {
  Group g(9, 2, 3);
  g.a.samples = 9;
  ExpectRefused("samples", nl_ridge_write(&g.a, 0, 1));
  g.a.samples = 0;
  ExpectRefused("samples", nl_ridge_read_rows(&g.a, 0, 1));
  g.a.samples = 2;
  g.a.features = -1;
  ExpectRefused("features", nl_ridge_read_outputs(&g.a, 0, 0));
  g.a.features = 9;
  g.a.rows = nullptr;
  ExpectRefused("rows", nl_ridge_read_rows(&g.a, 0, 1));
  g.a.w_low = nullptr;
  ExpectRefused("w_low", nl_ridge_read_outputs(&g.a, 0, 1));
  ExpectRefused("pieces 0 to 2", nl_ridge_write(&g.a, 0, 2));
}

NL_TEST_TARGETS(Ridge);

}  // namespace
