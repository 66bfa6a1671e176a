#include <string>

#include "cuda/tests/faults.h"
#include "cuda/tests/gemm_testing.h"
#include "kernels/gemm/gemm.cuh"

namespace nested_learning {
namespace {

// Matrices of a batch in rows that are `gap` longer than they are wide, `shift` elements from where an allocation begins.
struct Matrices {
  Matrices(int batches, int rows, int columns, int gap, int shift)
      : rows(rows),
        columns(columns),
        row(columns + gap),
        shift(shift),
        batch(static_cast<int64_t>(rows) * row),
        values(shift + batches * batch) {}

  Matrices& Fill(unsigned seed) {
    const std::vector<float> random = RandomFloats(values.size(), seed);
    for (int64_t b = 0; b * batch < static_cast<int64_t>(values.size()) - shift; b++) {
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
          const int64_t at = shift + b * batch + static_cast<int64_t>(i) * row + j;
          values[at] = random[at];
        }
      }
    }
    return *this;
  }

  float* data() { return values.data() + shift; }
  float& At(int b, int i, int j) {
    return values[shift + b * batch + static_cast<int64_t>(i) * row + j];
  }

  int rows, columns, row, shift;
  int64_t batch;
  DeviceFloats values;
};

struct Case {
  int m, n, k, batches = 1, gap = 0, shift = 0, epilogue = 0;
  bool bias = false, kept = false, residual = false, accumulate = false, in_place = false;
  bool symmetric = false;  // op(B) is op(A)ᵀ
  float scale = 1, residual_scale = 1;
};

double Phi(double x) { return 0.5 * std::erfc(-x * std::sqrt(0.5)); }
double ReferenceGelu(double x) { return x * Phi(x); }
double ReferenceGeluDerivative(double x) {
  return Phi(x) + x * std::exp(-x * x / 2) / std::sqrt(2 * M_PI);
}

void Launch(const std::string& name, bool exact, int tile, const GemmArguments& a) {
  const int rows = (a.m + tile - 1) / tile, columns = (a.n + tile - 1) / tile;
  LaunchKernel(name.c_str(), a.batches * (a.symmetric ? rows * (rows + 1) / 2 : rows * columns),
               GemmThreads(exact, tile), GemmSharedBytes(exact, tile), a);
}

std::string Kernel(Precision precision, bool transpose_a, bool transpose_b, int tile) {
  std::string name = std::string("nl_gemm_") + kNames[precision];
  if (precision != kExact)
    name += std::string("_") + (transpose_a ? 't' : 'n') + (transpose_b ? 't' : 'n');
  return name + "_" + std::to_string(tile);
}

// The largest error as a share of what rounding may cause; infinite where an element was not written, or one beside C was.
double Error(const Case& c, Precision precision, bool transpose_a, bool transpose_b, int tile) {
  Matrices a(c.batches, transpose_a ? c.k : c.m, transpose_a ? c.m : c.k, c.gap, c.shift);
  Matrices b(c.batches, transpose_b ? c.n : c.k, transpose_b ? c.k : c.n, c.gap, c.shift);
  Matrices out(c.batches, c.m, c.n, c.gap, c.shift);
  Matrices z(c.batches, c.m, c.n, c.gap, c.shift), r(c.batches, c.m, c.n, c.gap, c.shift);
  a.Fill(1), b.Fill(2), r.Fill(3);
  for (int p = 0; c.symmetric && p < c.batches; p++) {
    for (int j = 0; j < c.n; j++) {
      for (int k = 0; k < c.k; k++)
        (transpose_b ? b.At(p, j, k) : b.At(p, k, j)) = transpose_a ? a.At(p, k, j) : a.At(p, j, k);
    }
  }
  if (c.epilogue == 2) z.Fill(4);
  if (c.accumulate || c.in_place) out.Fill(5);
  DeviceFloats bias(RandomFloats(c.n, 6));
  const std::vector<float> before = out.values.values();
  GemmArguments g = {};
  g.a = a.data(), g.b = b.data(), g.c = out.data();
  g.bias = c.bias ? bias.data() : nullptr;
  g.pre_activation = c.epilogue == 2 || c.kept ? z.data() : nullptr;
  g.residual = c.in_place ? out.data() : c.residual ? r.data() : nullptr;
  g.batch_a = a.batch, g.batch_b = b.batch, g.batch_c = out.batch;
  g.m = c.m, g.n = c.n, g.k = c.k, g.batches = c.batches;
  g.row_a = a.row, g.row_b = b.row, g.row_c = out.row;
  g.scale = c.scale, g.residual_scale = c.residual_scale;
  g.epilogue = static_cast<CudaEpilogue>(c.epilogue), g.accumulate = c.accumulate,
  g.symmetric = c.symmetric;
  g.transpose_a = transpose_a, g.transpose_b = transpose_b;
  Launch(Kernel(precision, transpose_a, transpose_b, tile), precision == kExact, tile, g);

  double worst = 0;
  for (int p = 0; p < c.batches; p++) {
    for (int i = 0; i < c.m; i++) {
      for (int j = 0; j < c.n; j++) {
        double sum = 0, size = 0;
        for (int k = 0; k < c.k; k++) {
          const double term = Rounded(transpose_a ? a.At(p, k, i) : a.At(p, i, k), precision) *
                              Rounded(transpose_b ? b.At(p, j, k) : b.At(p, k, j), precision);
          sum += term, size += std::fabs(term);
        }
        sum *= c.scale, size *= std::fabs(c.scale);
        if (c.bias) sum += bias[j], size += std::fabs(bias[j]);
        const double kept = sum;
        if (c.epilogue == 1) sum = ReferenceGelu(sum);
        if (c.epilogue == 2) sum *= ReferenceGeluDerivative(z.At(p, i, j));
        const int64_t at = out.shift + p * out.batch + static_cast<int64_t>(i) * out.row + j;
        const double added = c.accumulate ? before[at]
                             : c.in_place ? c.residual_scale * before[at]
                             : c.residual ? c.residual_scale * r.At(p, i, j)
                                          : 0;
        sum += added, size += std::fabs(added);
        // Rounding errors of sums of k add up as a random walk.
        const double bound = 0x1p-24 * (4 + 2 * std::sqrt(c.k)) * (size + 1e-3);
        double error = std::fabs(out.At(p, i, j) - sum) / bound;
        if (c.kept) error = std::max(error, std::fabs(z.At(p, i, j) - kept) / bound);
        // Not max, which drops a NaN.
        if (!(error <= worst)) worst = error == error ? error : HUGE_VAL;
      }
    }
  }
  for (size_t at = 0; at < out.values.size(); at++) {
    const int64_t i = static_cast<int64_t>(at) - out.shift;
    const bool outside = i < 0 || i % out.row >= c.n;
    if (outside && !std::isnan(out.values[at])) worst = HUGE_VAL;
  }
  return worst;
}

void Check(const Case& c, Precision precision, bool transpose_a, bool transpose_b, int tile) {
  EXPECT_LE(Error(c, precision, transpose_a, transpose_b, tile), 1)
      << Kernel(precision, transpose_a, transpose_b, tile) << " " << c.m << " x " << c.n << " x "
      << c.k << ", gap " << c.gap << ", shift " << c.shift << ", epilogue " << c.epilogue
      << ", transposes " << transpose_a << transpose_b;
}

[[maybe_unused]] const bool kFaultCases = [] {
  for (Precision precision : {kExact, kTf32, kBf16}) {
    for (int transposes = 0; transposes < (precision == kExact ? 1 : 4); transposes++) {
      for (int tile : {64, 128}) {
        // Three tiles, one of them mirrored. The last step's stage is the first, where sums are left afterwards: of the only
        // step, or of one after all stages.
        Case c = {tile + 1, tile + 1, tile == 64 ? 65 : 5};
        c.symmetric = true, c.scale = 0.3f;
        const bool transpose_a = transposes & 1, transpose_b = transposes & 2;
        AddFaultCase(Kernel(precision, transpose_a, transpose_b, tile),
                     {[=] { Check(c, precision, transpose_a, transpose_b, tile); }});
      }
    }
  }
  return true;
}();

class CudaGemm : public InEveryOrder {};
NL_IN_EVERY_ORDER(CudaGemm);

TEST_P(CudaGemm, EveryKernel_MultipliesAnyShape) {
  const Case cases[] = {
      {1, 1, 1},          {64, 64, 64},       {65, 63, 33, 1, 3, 1}, {5, 70, 7, 1, 1},
      {66, 4, 100, 1, 4}, {20, 24, 16, 3, 0}, {7, 9, 5, 2, 3, 2},    {3, 3, 0},
  };
  for (int precision = 0; precision < 3; precision++) {
    for (int transposes = 0; transposes < 4; transposes++) {
      for (const Case& c : cases)
        Check(c, static_cast<Precision>(precision), transposes & 1, transposes & 2, 64);
    }
  }
}

TEST_P(CudaGemm, LargeTile_MultipliesItsEdges) {
  for (int precision = 0; precision < 3; precision++) {
    for (int transposes = 0; transposes < 4; transposes++)
      Check({130, 133, 40, 1, transposes}, static_cast<Precision>(precision), transposes & 1,
            transposes & 2, 128);
  }
}

TEST_P(CudaGemm, ManyTiles_AreAllComputed) {
  // Two groups of rows of tiles, the second not full.
  Check({600, 130, 3}, kTf32, false, true, 64);
}

TEST_P(CudaGemm, Epilogues_MatchTheReference) {
  Case gelu = {33, 70, 20};
  gelu.epilogue = 1, gelu.bias = gelu.kept = true;
  Case gelu_residual = {33, 70, 20, 1, 2};
  gelu_residual.epilogue = 1, gelu_residual.residual = true, gelu_residual.residual_scale = -0.5f;
  Case gradient = {33, 70, 20};
  gradient.epilogue = 2;
  Case added = {33, 70, 20, 2};
  added.accumulate = added.bias = true;
  Case scaled = {33, 72, 20, 2};
  scaled.scale = 0.3f, scaled.in_place = true, scaled.residual_scale = 3.5f;
  for (int precision = 0; precision < 3; precision++) {
    for (const Case& c : {gelu, gelu_residual, gradient, added, scaled}) {
      Check(c, static_cast<Precision>(precision), false, false, 64);
      if (precision == kBf16) Check(c, kBf16, false, false, 128);
    }
  }
}

TEST_P(CudaGemm, SymmetricProduct_IsMirrored) {
  for (int precision = 0; precision < 3; precision++) {
    for (int tile : {64, 128}) {
      const int n = tile + 73, k = 19;
      Matrices x(1, n, k, 1, 0), s(1, n, n, 1, 0), c(1, n, n, 1, 0);
      x.Fill(1), s.Fill(2);
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++) s.At(0, j, i) = s.At(0, i, j);
      }
      GemmArguments g = {};
      g.a = g.b = x.data(), g.c = c.data(), g.residual = s.data();
      g.m = g.n = n, g.k = k, g.batches = 1;
      g.row_a = g.row_b = x.row, g.row_c = c.row;
      g.scale = 1, g.residual_scale = 0.25f;
      g.symmetric = 1, g.transpose_b = 1;
      Launch(Kernel(static_cast<Precision>(precision), false, true, tile), precision == kExact,
             tile, g);
      int wrong = 0;
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          double sum = 0.25 * s.At(0, i, j);
          for (int l = 0; l < k; l++)
            sum += Rounded(x.At(0, i, l), static_cast<Precision>(precision)) *
                   Rounded(x.At(0, j, l), static_cast<Precision>(precision));
          wrong += !(std::fabs(c.At(0, i, j) - sum) <= 1e-5 * (1 + std::fabs(sum)));
          wrong += c.At(0, i, j) != c.At(0, j, i);
        }
      }
      EXPECT_EQ(wrong, 0) << kNames[precision] << " " << tile;
    }
  }
}

// X ← a X + (b A + c A A) X, A = X Xᵀ, by the three products of NewtonSchulz.Orthogonalize, and of the same operands in double.
TEST_P(CudaGemm, NewtonSchulz_IsThreeProducts) {
  const double first = 3.4445, third = -4.7750, fifth = 2.0315, held = std::pow(fifth, 0.25);
  for (Precision precision : {kExact, kBf16}) {
    for (bool tall : {false, true}) {
      const int rows = tall ? 100 : 70, columns = tall ? 70 : 100, n = 70;
      Matrices x(1, rows, columns, 0, 0), a(1, n, n, 0, 0), terms(1, n, n, 0, 0);
      Matrices to(1, rows, columns, 0, 0);
      x.Fill(7);
      double norm = 0;
      for (int i = 0; i < rows * columns; i++) norm += double{x.values[i]} * x.values[i];
      for (int i = 0; i < rows * columns; i++)
        x.values[i] *= static_cast<float>(held / std::sqrt(norm));
      const auto product = [&](Matrices& p, Matrices& q, Matrices& c, bool ta, bool tb, bool mirror,
                               Matrices* residual, double residual_scale, double scale) {
        GemmArguments g = {};
        g.a = p.data(), g.b = q.data(), g.c = c.data();
        g.residual = residual ? residual->data() : nullptr;
        g.m = c.rows, g.n = c.columns, g.k = ta ? p.rows : p.columns, g.batches = 1;
        g.row_a = p.row, g.row_b = q.row, g.row_c = c.row;
        g.scale = static_cast<float>(scale);
        g.residual_scale = static_cast<float>(residual_scale);
        g.symmetric = mirror, g.transpose_a = ta, g.transpose_b = tb;
        Launch(Kernel(precision, ta, tb, 64), precision == kExact, 64, g);
      };
      product(x, x, a, tall, !tall, true, nullptr, 0, 1);
      product(a, a, terms, false, false, true, &a, third / std::sqrt(fifth), 1);
      // The scale by which X is held comes off in the last product.
      product(tall ? x : terms, tall ? terms : x, to, false, false, false, &x, first / held,
              1 / held);

      // The same polynomial of X itself, in double and along the shorter side.
      const auto at = [&](int i, int j) {
        return static_cast<double>(tall ? x.At(0, j, i) : x.At(0, i, j)) / held;
      };
      std::vector<double> square(n * n), polynomial(n * n);
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          for (int k = 0; k < 100; k++) square[i * n + j] += at(i, k) * at(j, k);
        }
      }
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          polynomial[i * n + j] = third * square[i * n + j];
          for (int k = 0; k < n; k++)
            polynomial[i * n + j] += fifth * square[i * n + k] * square[k * n + j];
        }
      }
      double difference = 0, size = 0;
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < 100; j++) {
          double sum = first * at(i, j);
          for (int k = 0; k < n; k++) sum += polynomial[i * n + k] * at(k, j);
          const double got = tall ? to.At(0, j, i) : to.At(0, i, j);
          difference += (got - sum) * (got - sum);
          size += sum * sum;
        }
      }
      // The terms' sum is half of X's share at most; its operands are off by 2⁻⁹ each where rounded.
      EXPECT_LE(std::sqrt(difference / size), precision == kExact ? 1e-6 : 0x1p-9)
          << kNames[precision] << " tall " << tall;
    }
  }
}

}  // namespace
}  // namespace nested_learning
