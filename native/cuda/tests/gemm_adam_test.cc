#include <string>

#include "cuda/tests/faults.h"
#include "cuda/tests/gemm_testing.h"
#include "kernels/gemm/gemm.cuh"
#include "kernels/gemm_adam/gemm_adam.cuh"

namespace nested_learning {
namespace {

struct Case {
  int m, n, k;
  bool accumulated = false, clear = false, bfloat16 = false, decoupled = true;
  int shift = 0;  // floats by which arrays begin beside a boundary of 16 bytes
};

// A weight with its moments on the device, and what its gradient is made of.
struct Weight {
  Weight(const Case& c, unsigned seed)
      : c(c),
        x(c.shift + c.k * c.m),
        dy(c.shift + c.k * c.n),
        g(c.shift + c.m * c.n),
        w(c.shift + c.m * c.n),
        m(c.shift + c.m * c.n),
        v(c.shift + c.m * c.n) {
    Fill(x, seed, 1);
    Fill(dy, seed + 1, 1 / std::sqrt(c.k + 1.0f));
    Fill(g, seed + 2, 1);
    Fill(w, seed + 3, 1);
    if (c.bfloat16) {
      for (int i = 0; i < c.m * c.n; i++) {
        Halves(m)[i] = static_cast<uint16_t>(0x3e00 + i % 61);
        Halves(v)[i] = static_cast<uint16_t>(0x3f00 + i % 47);
      }
    } else {
      Fill(m, seed + 4, 0.3f);
      Fill(v, seed + 5, 0.5f);
      for (int i = 0; i < c.m * c.n; i++) v[c.shift + i] *= v[c.shift + i];
    }
  }

  void Fill(DeviceFloats& values, unsigned seed, float scale) {
    const std::vector<float> random = RandomFloats(values.size(), seed, scale);
    for (size_t i = c.shift; i < values.size(); i++) values[i] = random[i];
  }

  uint16_t* Halves(DeviceFloats& values) {
    return reinterpret_cast<uint16_t*>(values.data() + c.shift);
  }
  float Moment(DeviceFloats& values, int i) {
    return c.bfloat16 ? __uint_as_float(static_cast<unsigned>(Halves(values)[i]) << 16)
                      : values[c.shift + i];
  }

  AdamTensor Step(float* gradient) {
    return {w.data() + c.shift,
            gradient,
            m.data() + c.shift,
            v.data() + c.shift,
            static_cast<int64_t>(c.m) * c.n,
            {77, 3, 0.9f, 1 - 0.9f, 0.99f, 1 - 0.99f, 0.02f, 1.5f, c.decoupled ? 0 : 0.03f,
             c.decoupled ? 0.002f : 0, 0.1f, 0.5f, c.bfloat16, c.clear},
            0,
            0};
  }

  Case c;
  DeviceFloats x, dy, g, w, m, v;
};

int Tiles(const Case& c, int tile) { return ((c.m + tile - 1) / tile) * ((c.n + tile - 1) / tile); }

std::string Kernel(Precision precision, int tile) {
  return std::string("nl_gemm_adam_") + kNames[precision] + "_" + std::to_string(tile);
}

void Commit(Weight& weight, Precision precision, int tile) {
  const Case& c = weight.c;
  GemmAdamArguments a = {};
  a.x = weight.x.data() + c.shift, a.dy = weight.dy.data() + c.shift;
  a.adam = weight.Step(c.accumulated ? weight.g.data() + c.shift : nullptr);
  a.m = c.m, a.n = c.n, a.k = c.k;
  LaunchKernel(Kernel(precision, tile).c_str(), Tiles(c, tile),
               GemmThreads(precision == kExact, tile), GemmSharedBytes(precision == kExact, tile),
               a);
}

// The product, and then the step of it.
void CommitApart(Weight& weight, Precision precision, int tile) {
  const Case& c = weight.c;
  GemmArguments p = {};
  p.a = weight.x.data() + c.shift, p.b = weight.dy.data() + c.shift;
  p.c = weight.g.data() + c.shift;
  p.m = c.m, p.n = c.n, p.k = c.k, p.batches = 1;
  p.row_a = c.m, p.row_b = p.row_c = c.n;
  p.scale = p.residual_scale = 1;
  p.accumulate = c.accumulated, p.transpose_a = 1;
  const std::string name = std::string("nl_gemm_") + kNames[precision] +
                           (precision == kExact ? "_" : "_tn_") + std::to_string(tile);
  LaunchKernel(name.c_str(), Tiles(c, tile), GemmThreads(precision == kExact, tile),
               GemmSharedBytes(precision == kExact, tile), p);
  AdamArguments a = {};
  a.tensors[0] = weight.Step(weight.g.data() + c.shift);
  a.tensors[0].blocks = 2;
  a.count = 1;
  LaunchKernel("nl_adam_commit", 2, kAdamThreads, 0, a);
}

std::string Describe(const Case& c, Precision precision, int tile) {
  return std::string(kNames[precision]) + "_" + std::to_string(tile) + " " + std::to_string(c.m) +
         " x " + std::to_string(c.n) + " x " + std::to_string(c.k) + ", shift " +
         std::to_string(c.shift) + (c.accumulated ? ", accumulated" : "") +
         (c.bfloat16 ? ", bfloat16 moments" : "");
}

class CudaGemmAdam : public InEveryOrder {
 public:
  static void MatchesReference(const Case& c, Precision precision, int tile) {
    Weight weight(c, 5);
    const std::vector<float> g = weight.g.values(), w = weight.w.values(), m = weight.m.values(),
                             v = weight.v.values();
    Commit(weight, precision, tile);
    const AdamConstants step = weight.Step(nullptr).constants;
    // The largest errors as shares of what rounding may cause; NaN counts.
    double worst_w = 0, worst_m = 0, worst_v = 0;
    int wrong = 0;
    const auto keep = [](double& worst, double error) {
      if (!(error <= worst)) worst = error == error ? error : HUGE_VAL;
    };
    for (int i = 0; i < c.m; i++) {
      for (int j = 0; j < c.n; j++) {
        const int at = c.shift + i * c.n + j;
        double sum = 0, size = 0;
        for (int k = 0; k < c.k; k++) {
          const double term = Rounded(weight.x[c.shift + k * c.m + i], precision) *
                              Rounded(weight.dy[c.shift + k * c.n + j], precision);
          sum += term, size += std::fabs(term);
        }
        if (c.accumulated) sum += g[at], size += std::fabs(g[at]);
        // Rounding errors of sums of k add up as a random walk.
        const double e = 0x1p-24, of_sum = e * (4 + 2 * std::sqrt(c.k)) * size;
        const double gradient = double{step.gradient_scale} * sum + double{step.l2} * w[at];
        const double of_gradient = step.gradient_scale * of_sum + 2 * e * std::fabs(gradient);
        const double first = double{step.beta1} * m[at] + double{step.rest1} * gradient;
        const double of_first = step.rest1 * of_gradient + 2 * e * (std::fabs(m[at]) + 1e-3);
        const double second = double{step.beta2} * v[at] + double{step.rest2} * gradient * gradient;
        const double of_second =
            2 * step.rest2 * std::fabs(gradient) * of_gradient + 4 * e * (second + 1e-3);
        const double root = std::sqrt(second * step.root_scale) + step.epsilon;
        const double of_root =
            step.root_scale * of_second / (2 * (root - step.epsilon) + 1e-9) + 4 * e * root;
        const double moved = step.rate * first / root + double{step.decay} * w[at];
        const double of_w = step.rate / root * (of_first + std::fabs(first) / root * of_root) +
                            2 * e * (std::fabs(w[at]) + 1e-3);
        keep(worst_w, std::fabs(weight.w[at] - (w[at] - moved)) / of_w);
        keep(worst_m, std::fabs(weight.m[at] - first) / of_first);
        keep(worst_v, std::fabs(weight.v[at] - second) / of_second);
        const float left = c.accumulated && c.clear ? 0 : g[at];
        wrong += weight.g[at] != left;
      }
    }
    for (int i = 0; i < c.shift; i++)
      wrong += !(std::isnan(weight.w[i]) && std::isnan(weight.m[i]) && std::isnan(weight.v[i]));
    const std::string name = Describe(c, precision, tile);
    EXPECT_LE(worst_w, 1) << name;
    EXPECT_LE(worst_m, 1) << name;
    EXPECT_LE(worst_v, 1) << name;
    EXPECT_EQ(wrong, 0) << name;
  }

  static void HasTheBitsOfItsParts(const Case& c, Precision precision, int tile) {
    Weight together(c, 9), apart(c, 9);
    Commit(together, precision, tile);
    CommitApart(apart, precision, tile);
    int different = 0;
    for (size_t i = c.shift; i < together.w.size(); i++) {
      different += __float_as_uint(together.w[i]) != __float_as_uint(apart.w[i]);
      different += __float_as_uint(together.m[i]) != __float_as_uint(apart.m[i]);
      different += __float_as_uint(together.v[i]) != __float_as_uint(apart.v[i]);
      if (c.accumulated && c.clear) different += together.g[i] != 0;
    }
    EXPECT_EQ(different, 0) << Describe(c, precision, tile);
  }
};
NL_IN_EVERY_ORDER(CudaGemmAdam);

[[maybe_unused]] const bool kFaultCases = [] {
  for (Precision precision : {kExact, kTf32, kBf16}) {
    for (int tile : {64, 128}) {
      // The last step's stage is the first, where sums are left afterwards: of the only step, or of one after all stages.
      const Case c = {tile + 1, tile + 1, tile == 64 ? 65 : 5};
      AddFaultCase(Kernel(precision, tile),
                   {[=] { CudaGemmAdam::MatchesReference(c, precision, tile); }});
    }
  }
  return true;
}();

TEST_P(CudaGemmAdam, Step_MatchesReference) {
  const Case cases[] = {
      {1, 1, 1},
      {3, 5, 0, true},
      {1, 70, 9},
      {70, 1, 9, true, true},
      {63, 65, 33, true, true, false, false, 1},
      {64, 64, 64, true, false, false, true, 3},
      {65, 60, 17, false, true, false, false},
  };
  for (int precision = 0; precision < 3; precision++) {
    for (const Case& c : cases) MatchesReference(c, static_cast<Precision>(precision), 64);
    for (bool accumulated : {false, true})
      MatchesReference({accumulated ? 127 : 129, accumulated ? 132 : 131, 70, accumulated, true},
                       static_cast<Precision>(precision), 128);
  }
}

TEST_P(CudaGemmAdam, Bits_AreThoseOfTheProductAndItsStep) {
  for (int p = 0; p < 3; p++) {
    const Precision precision = static_cast<Precision>(p);
    for (bool bfloat16 : {false, true}) {
      // Rows of whole fours, and rows that begin anywhere in a four of the random bits.
      for (int columns : {68, 65, 66, 67}) {
        const bool accumulated = columns > 66;
        HasTheBitsOfItsParts({67, columns, 20, accumulated, accumulated, bfloat16, columns < 67},
                             precision, 64);
      }
      HasTheBitsOfItsParts({131, 64, 20, !bfloat16, bfloat16, bfloat16}, precision, 128);
      HasTheBitsOfItsParts({5, 64, 9, bfloat16, false, bfloat16, false, 1}, precision, 64);
    }
  }
}

TEST_P(CudaGemmAdam, Nan_StaysInItsColumnOrElement) {
  for (int precision = 0; precision < 3; precision++) {
    for (bool bfloat16 : {false, true}) {
      Case c = {60, 70, 20, true};
      c.bfloat16 = bfloat16;
      Weight weight(c, 3);
      const float nan = std::numeric_limits<float>::quiet_NaN();
      weight.dy[3 * c.n + 37] = nan;
      weight.g[11 * c.n + 5] = nan;
      Commit(weight, static_cast<Precision>(precision), 64);
      int wrong = 0;
      for (int i = 0; i < c.m * c.n; i++) {
        const bool expected = i % c.n == 37 || i == 11 * c.n + 5;
        wrong += std::isnan(weight.w[i]) != expected;
        wrong += std::isnan(weight.Moment(weight.m, i)) != expected;
        wrong += std::isnan(weight.Moment(weight.v, i)) != expected;
      }
      EXPECT_EQ(wrong, 0) << Describe(c, static_cast<Precision>(precision), 64);
    }
  }
}

}  // namespace
}  // namespace nested_learning
