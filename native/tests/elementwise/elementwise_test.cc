#include "tests/testing.h"

using nl_testing::Buffer;

namespace {

class Elementwise : public nl_testing::KernelTest {};

double Reference(int activation, double x) {
  switch (activation) {
    case NL_SIGMOID:
      return 1 / (1 + std::exp(-x));
    case NL_SOFTPLUS:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case NL_LOG_SIGMOID:
      return -Reference(NL_SOFTPLUS, -x);
    default:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
  }
}

double ReferenceSlope(int activation, double x) {
  switch (activation) {
    case NL_SIGMOID:
      return Reference(NL_SIGMOID, x) * Reference(NL_SIGMOID, -x);
    case NL_SOFTPLUS:
      return Reference(NL_SIGMOID, x);
    case NL_LOG_SIGMOID:
      return Reference(NL_SIGMOID, -x);
    default:
      return 0.5 * std::erfc(-x / std::sqrt(2.0)) +
             x * std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
  }
}

nl_elementwise_arguments Arguments(const Buffer* x, const Buffer* y, Buffer* z) {
  nl_elementwise_arguments a = {};
  a.size = sizeof(a);
  a.factor = 0.75f;
  a.x = x->data();
  a.y = y == nullptr ? nullptr : y->data();
  a.z = z->data();
  return a;
}

TEST_P(Elementwise, Activations_MatchTheReference) {
  for (int activation = NL_SIGMOID; activation <= NL_GELU; ++activation) {
    for (int64_t count : nl_testing::Lengths()) {
      for (int offset : {0, 1}) {
        const Buffer x = Buffer::Uniform(count, 1, -12, 12, offset);
        const Buffer dy = Buffer::Uniform(count, 2, -1, 1, offset);
        Buffer y(count, offset), dx(count, offset);
        auto forward = Arguments(&x, nullptr, &y);
        auto backward = Arguments(&x, &dy, &dx);
        forward.activation = backward.activation = activation;
        EXPECT_OK(nl_activation_forward(&forward, 0, count));
        EXPECT_OK(nl_activation_backward(&backward, 0, count));
        for (int64_t i = 0; i < count; ++i) {
          const std::string where =
              "activation " + std::to_string(activation) + " of " + std::to_string(x[i]);
          const double expected = Reference(activation, x[i]);
          nl_testing::ExpectNear(expected, y[i], 1e-6 * std::max(1.0, std::abs(expected)), where);
          nl_testing::ExpectNear(dy[i] * ReferenceSlope(activation, x[i]), dx[i], 1e-6, where);
        }
        y.ExpectGuardsUntouched();
        dx.ExpectGuardsUntouched();
      }
    }
  }
}

TEST_P(Elementwise, Activations_OfNanAreNan) {
  Buffer x(5), dy = Buffer::Uniform(5, 3);
  for (int activation = NL_SIGMOID; activation <= NL_GELU; ++activation) {
    Buffer y = Buffer::Uniform(5, 4), dx = Buffer::Uniform(5, 5);
    auto forward = Arguments(&x, nullptr, &y);
    auto backward = Arguments(&x, &dy, &dx);
    forward.activation = backward.activation = activation;
    EXPECT_OK(nl_activation_forward(&forward, 0, 5));
    EXPECT_OK(nl_activation_backward(&backward, 0, 5));
    for (int64_t i = 0; i < 5; ++i) {
      EXPECT_TRUE(std::isnan(y[i])) << activation;
      EXPECT_TRUE(std::isnan(dx[i])) << activation;
    }
  }
}

TEST_P(Elementwise, UnknownActivation_IsRefused) {
  const Buffer x = Buffer::Uniform(4, 1);
  Buffer y(4);
  auto a = Arguments(&x, nullptr, &y);
  a.activation = 4;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_activation_forward(&a, 0, 4));
  EXPECT_STREQ("activation is 4, expected 0 to 3", nl_last_error());
}

TEST_P(Elementwise, Arithmetic_MatchesTheReference) {
  for (int64_t count : nl_testing::Lengths()) {
    for (int offset : {0, 3}) {
      const Buffer x = Buffer::Uniform(count, 1, -1, 1, offset);
      const Buffer y = Buffer::Uniform(count, 2, -1, 1, offset);
      Buffer sum = Buffer::Uniform(count, 3, -1, 1, offset);
      const Buffer before = sum;
      Buffer product(count, offset), scaled(count, offset);
      const auto add = Arguments(&x, nullptr, &sum);
      const auto multiply = Arguments(&x, &y, &product);
      const auto scale = Arguments(&x, nullptr, &scaled);
      EXPECT_OK(nl_add_scaled(&add, 0, count));
      EXPECT_OK(nl_multiply(&multiply, 0, count));
      EXPECT_OK(nl_scale(&scale, 0, count));
      for (int64_t i = 0; i < count; ++i) {
        nl_testing::ExpectNear(before[i] + 0.75 * x[i], sum[i], 2e-7, "sum");
        EXPECT_EQ(x[i] * y[i], product[i]);
        EXPECT_EQ(0.75f * x[i], scaled[i]);
      }
      sum.ExpectGuardsUntouched();
      product.ExpectGuardsUntouched();
      scaled.ExpectGuardsUntouched();
    }
  }
}

TEST_P(Elementwise, Pieces_DoNotChangeBits) {
  const int64_t count = 197;
  const Buffer x = Buffer::Uniform(count, 1, -5, 5);
  Buffer whole(count), cut(count);
  auto a = Arguments(&x, nullptr, &whole);
  auto b = Arguments(&x, nullptr, &cut);
  a.activation = b.activation = NL_GELU;
  EXPECT_OK(nl_activation_forward(&a, 0, count));
  EXPECT_OK(nl_activation_forward(&b, 61, count));
  EXPECT_OK(nl_activation_forward(&b, 0, 61));
  for (int64_t i = 0; i < count; ++i) EXPECT_EQ(whole[i], cut[i]);
}

TEST_P(Elementwise, SumOfSquares_IsThatOfDoubles) {
  for (int64_t count : {1, 2, 15, 16, 17, 33, 1000, 16383, 16384, 16385, 50000}) {
    const Buffer x = Buffer::Uniform(count, 1, -1, 1, 1);
    const int64_t blocks = (count + NL_SUM_BLOCK - 1) / NL_SUM_BLOCK;
    std::vector<double> sums(static_cast<size_t>(blocks));
    for (int64_t block = blocks; block-- > 0;) {
      EXPECT_OK(nl_sum_of_squares(x.data(), count, sums.data(), block, block + 1));
    }
    double expected = 0, actual = 0;
    for (int64_t i = 0; i < count; ++i) expected += static_cast<double>(x[i]) * x[i];
    for (double sum : sums) actual += sum;
    EXPECT_NEAR(expected, actual, 1e-13 * expected);
  }
  Buffer x = Buffer::Uniform(40, 1);
  x[37] = std::numeric_limits<float>::quiet_NaN();
  double sum = 0;
  EXPECT_OK(nl_sum_of_squares(x.data(), 40, &sum, 0, 1));
  EXPECT_TRUE(std::isnan(sum));
}

NL_TEST_TARGETS(Elementwise);

}  // namespace
