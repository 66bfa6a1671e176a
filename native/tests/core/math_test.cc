// The functions of core/math-inl.h over all of float32, against the double functions of the C library.
#include "core/dispatch.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/core/math_test.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

void RunMath(int function, const float* x, float* y, size_t count) {
  const F32 d;
  for (size_t i = 0; i < count; i += kLanes) {
    const VecF v = hn::LoadU(d, x + i);
    VecF result = v;
    switch (function) {
      case 0:
        result = Exp(v);
        break;
      case 1:
        result = Log1p(v);
        break;
      case 2:
        result = Sigmoid(v);
        break;
      case 3:
        result = Softplus(v);
        break;
      case 4:
        result = NormalCdf(v);
        break;
      case 5:
        result = Gelu(v);
        break;
      case 6:
        result = GeluGradient(v);
        break;
      case 7:
        result = ExpFlushed(v);
        break;
      case 8:
        result = GeluCurvature(v);
        break;
      case 9:
        static_cast<void>(Gelu(v, result));
        break;
    }
    hn::StoreU(result, d, y + i);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "core/float_environment.h"
#include "tests/testing.h"

namespace nested_learning {
NL_TARGET_TABLE(RunMath);
}  // namespace nested_learning

namespace {

using Reference = double (*)(double);

double NormalCdfReference(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

class Math : public nl_testing::KernelTest {
 protected:
  static constexpr size_t kBatch = 1024;

  std::vector<float> Run(int function, const std::vector<float>& x) {
    std::vector<float> y(x.size());
    const nested_learning::FloatEnvironment environment;
    nested_learning::RunMathTable[nl_testing::CurrentSlot()](function, x.data(), y.data(),
                                                             x.size());
    return y;
  }

  float One(int function, float x) { return Run(function, std::vector<float>(64, x))[0]; }

  // Calls check(x, y) for finite floats spread over all bit patterns.
  template <class TCheck>
  void ForFloats(int function, TCheck check) {
    std::vector<float> x;
    uint64_t bits = 0;
    while (bits < 0x100000000u) {
      x.clear();
      while (x.size() < kBatch && bits < 0x100000000u) {
        const uint32_t pattern = static_cast<uint32_t>(bits);
        float value;
        std::memcpy(&value, &pattern, sizeof(value));
        if (std::isfinite(value)) x.push_back(value);
        bits += 3967;
      }
      while (x.size() % 64 != 0) x.push_back(0.5f);
      const std::vector<float> y = Run(function, x);
      for (size_t i = 0; i < x.size(); ++i) {
        check(x[i], y[i]);
        if (HasFailure()) return;
      }
    }
  }

  // The distance from y to the exact result in units of the last place of the result's float.
  static double Ulps(double exact, float y) {
    if (std::abs(exact) > std::numeric_limits<float>::max()) {
      return std::isinf(y) && (y > 0) == (exact > 0) ? 0 : 1e9;
    }
    if (std::abs(y - exact) <= nl_testing::kLeastNormal) return 0;
    const double unit = std::max(std::ldexp(1.0, std::ilogb(exact == 0 ? 1e-45 : exact) - 23),
                                 std::ldexp(1.0, -149));
    return std::abs(y - exact) / unit;
  }

  void ExpectUlps(int function, Reference reference, double most) {
    ForFloats(function, [&](float x, float y) {
      const double exact = reference(x);
      if (std::isnan(exact)) {
        EXPECT_TRUE(std::isnan(y)) << "at " << x;
      } else {
        EXPECT_LE(Ulps(exact, y), most) << "at " << x << ": " << y << ", expected " << exact;
      }
    });
  }
};

TEST_P(Math, Exp_IsWithinTwoUlps) {
  ExpectUlps(
      0, [](double x) { return std::exp(x); }, 2);
}

TEST_P(Math, Exp_OfTheExtremes) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(0.0f, One(0, -infinity));
  EXPECT_EQ(infinity, One(0, infinity));
  EXPECT_EQ(infinity, One(0, 88.73f));
  EXPECT_EQ(1.0f, One(0, 0.0f));
  EXPECT_EQ(1.0f, One(0, -0.0f));
  EXPECT_EQ(0.0f, One(0, -1000.0f));
  EXPECT_EQ(0.0f, One(0, -87.34f)) << "no subnormal number";
  EXPECT_LE(std::numeric_limits<float>::min(), One(0, -87.3365f));
}

TEST_P(Math, ExpFlushed_IsAccurateOrZero) {
  ForFloats(7, [](float x, float y) {
    if (x > 88) return;
    const double exact = std::exp(static_cast<double>(x));
    if (x < -87.33f) {
      EXPECT_EQ(0.0f, y) << "at " << x;
    } else {
      EXPECT_LE(std::abs(y - exact), exact * (2 * 0x1p-23 + 8e-8 * std::abs(x))) << "at " << x;
    }
  });
  EXPECT_EQ(1.0f, One(7, 0.0f));
  EXPECT_EQ(0.0f, One(7, -std::numeric_limits<float>::infinity()));
}

TEST_P(Math, Log1p_IsWithinThreeUlps) {
  ExpectUlps(
      1, [](double x) { return std::log1p(x); }, 3);
}

TEST_P(Math, Log1p_OfTheExtremes) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(-infinity, One(1, -1.0f));
  EXPECT_EQ(infinity, One(1, infinity));
  EXPECT_EQ(0.0f, One(1, 0.0f));
}

TEST_P(Math, Sigmoid_IsWithinFourUlps) {
  ExpectUlps(
      2, [](double x) { return 1 / (1 + std::exp(-x)); }, 4);
}

TEST_P(Math, Softplus_IsWithinFourUlps) {
  ExpectUlps(
      3, [](double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); },
      4);
}

TEST_P(Math, Infinity_GivesTheLimits) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(1.0f, One(2, infinity));
  EXPECT_EQ(0.0f, One(2, -infinity));
  EXPECT_EQ(infinity, One(3, infinity));
  EXPECT_EQ(0.0f, One(3, -infinity));
  EXPECT_EQ(1.0f, One(4, infinity));
  EXPECT_EQ(0.0f, One(4, -infinity));
  EXPECT_EQ(infinity, One(5, infinity));
}

TEST_P(Math, NormalCdf_IsRelativelyAccurate) {
  ForFloats(4, [](float x, float y) {
    const double exact = NormalCdfReference(x);
    // Seven roundings in all, and that of x², which the exponential makes x²/2 half units.
    const double relative = 4e-7 + 0.5 * static_cast<double>(x) * x * 0x1p-24;
    if (x < -9.5f) {
      EXPECT_EQ(0.0f, y) << "at " << x;
    } else {
      EXPECT_LE(std::abs(y - exact), relative * exact) << "at " << x << ": " << y;
    }
  });
}

TEST_P(Math, Gelu_IsAccurate) {
  ForFloats(5, [](float x, float y) {
    const double exact = x * NormalCdfReference(x);
    EXPECT_LE(std::abs(y - exact),
              2e-7 * (std::abs(x) + std::abs(exact)) + nl_testing::kLeastNormal)
        << "at " << x << ": " << y;
  });
}

TEST_P(Math, GeluGradient_IsAccurate) {
  const double root = std::sqrt(2 * std::acos(-1.0));
  for (int function : {6, 9}) {
    ForFloats(function, [root](float x, float y) {
      const double exact =
          NormalCdfReference(x) + x * std::exp(-0.5 * static_cast<double>(x) * x) / root;
      EXPECT_LE(std::abs(y - exact), 4e-7) << "at " << x << ": " << y;
    });
  }
}

TEST_P(Math, GeluCurvature_IsAccurate) {
  const double root = std::sqrt(2 * std::acos(-1.0));
  ForFloats(8, [root](float x, float y) {
    const double square = static_cast<double>(x) * x, density = std::exp(-0.5 * square) / root;
    const double exact = density == 0 ? 0 : (2 - square) * density;
    EXPECT_LE(std::abs(y - exact), 4e-7) << "at " << x << ": " << y;
  });
}

// Beyond what the tails add to a sum in float32 they are zeros, and no function makes a subnormal number of one that is not.
TEST_P(Math, Tails_AreZeroAndNeverSubnormal) {
  for (const float x : {-9.51f, -13.0f, -14.0f, -20.0f, -1e6f, -1e30f}) {
    for (int function : {4, 5, 6, 8, 9})
      EXPECT_EQ(0.0f, One(function, x)) << function << " at " << x;
    EXPECT_EQ(0.0f, One(8, -x));
    EXPECT_EQ(1.0f, One(6, -x));
  }
  for (int function = 0; function <= 9; ++function) {
    ForFloats(function, [function](float x, float y) {
      if (std::fpclassify(x) == FP_SUBNORMAL) return;
      EXPECT_NE(FP_SUBNORMAL, std::fpclassify(y)) << function << " at " << x;
    });
  }
}

TEST_P(Math, Nan_GivesNan) {
  // One of them with a payload that shifts into the exponent.
  float marked;
  const uint32_t bits = 0x7FDEADBE;
  std::memcpy(&marked, &bits, sizeof(marked));
  for (int function = 0; function <= 9; ++function) {
    EXPECT_TRUE(std::isnan(One(function, std::numeric_limits<float>::quiet_NaN()))) << function;
    EXPECT_TRUE(std::isnan(One(function, marked))) << function;
  }
}

NL_TEST_TARGETS(Math);

}  // namespace

#endif  // HWY_ONCE
