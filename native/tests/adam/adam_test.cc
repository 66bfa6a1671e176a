// Adam, and the product that ends in it.
#include "tests/gemm/gemm_testing.h"
#include "tests/testing.h"

using nl_testing::Buffer;

namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999;

// A step's settings, with no tensors yet.
nl_adam_arguments Settings(int step, bool decoupled) {
  nl_adam_arguments a = {};
  a.size = sizeof(a);
  a.decoupled = decoupled;
  a.learning_rate = 0.01f;
  a.epsilon = 1e-8f;
  a.weight_decay = 0.1f;
  a.gradient_scale = 0.5f;
  a.beta1 = kBeta1;
  a.beta2 = kBeta2;
  a.correction1 = 1 - std::pow(kBeta1, step);
  a.correction2 = 1 - std::pow(kBeta2, step);
  a.step = step;
  a.seed = 0x123456789ABCDEFull;
  return a;
}

// The step in double.
struct Reference {
  std::vector<double> w, m, v;

  Reference(const Buffer& start)
      : w(start.data(), start.data() + start.count()), m(w.size()), v(w.size()) {}

  template <class TGradient>
  void Step(const nl_adam_arguments& a, TGradient gradient) {
    for (size_t i = 0; i < w.size(); ++i) {
      const double g = static_cast<double>(a.gradient_scale) * gradient(i) +
                       (a.decoupled ? 0 : static_cast<double>(a.weight_decay) * w[i]);
      m[i] = a.beta1 * m[i] + (1 - a.beta1) * g;
      v[i] = a.beta2 * v[i] + (1 - a.beta2) * g * g;
      const double rate = a.learning_rate;
      if (a.decoupled) w[i] -= rate * a.weight_decay * w[i];
      w[i] -= rate * (m[i] / a.correction1) / (std::sqrt(v[i] / a.correction2) + a.epsilon);
    }
  }
};

uint32_t BitsOf(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

// Number i of a tensor of packed bfloat16.
float Half(const Buffer& packed, int64_t i) {
  const uint32_t bits = BitsOf(packed[i / 2]) >> (i % 2 * 16) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// An element's 16 bits, Philox4x32-10 one by one.
uint32_t RandomBits(uint64_t seed, int64_t step, int64_t element) {
  const int64_t i = element % 128 / 2;
  const uint64_t block = static_cast<uint64_t>(16 * (element / 128) + i % 32 / 2);
  uint32_t c[4] = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                   static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32)};
  uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
    const uint32_t next[4] = {
        static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
        static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
    std::copy(next, next + 4, c);
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return c[2 * (i / 32) + i % 2] >> (element % 2 * 16) & 0xFFFF;
}

uint32_t RoundedBits(float value, uint32_t random) {
  return (BitsOf(value) + random) & 0xFFFF0000u;
}

class Adam : public nl_testing::KernelTest {
 protected:
  static void SetMoments(nl_adam_arguments& a, Buffer& w, Buffer& m, Buffer& v) {
    a.w = w.data();
    a.m = m.data();
    a.v = v.data();
  }

  static Buffer Zeros(int64_t count, int offset = 0) {
    Buffer zeros(count, offset);
    for (int64_t i = 0; i < count; ++i) zeros[i] = 0;
    return zeros;
  }
};

TEST_P(Adam, ThreeSteps_MatchTheReference) {
  for (bool decoupled : {false, true}) {
    for (int64_t count : nl_testing::Lengths()) {
      Buffer w = Buffer::Uniform(count, 1, -1, 1, 1), m = Zeros(count, 2), v = Zeros(count, 3);
      Reference reference(w);
      for (int step = 1; step <= 3; ++step) {
        Buffer g = Buffer::Uniform(count, 10 + static_cast<uint32_t>(step), -1, 1, 1);
        const Buffer gradient = g;
        nl_adam_arguments a = Settings(step, decoupled);
        SetMoments(a, w, m, v);
        a.g = g.data();
        a.clear_gradient = step == 2;
        EXPECT_OK(nl_adam_commit(&a, count / 2, count));
        EXPECT_OK(nl_adam_commit(&a, 0, count / 2));
        reference.Step(a, [&](size_t i) { return gradient[static_cast<int64_t>(i)]; });
        for (int64_t i = 0; i < count; ++i) EXPECT_EQ(step == 2 ? 0 : gradient[i], g[i]);
        g.ExpectGuardsUntouched();
      }
      for (int64_t i = 0; i < count; ++i) {
        const size_t s = static_cast<size_t>(i);
        nl_testing::ExpectNear(reference.w[s], w[i], 1e-6, "w");
        nl_testing::ExpectNear(reference.m[s], m[i], 1e-7, "m");
        nl_testing::ExpectNear(reference.v[s], v[i], 1e-9, "v");
      }
      w.ExpectGuardsUntouched();
      m.ExpectGuardsUntouched();
      v.ExpectGuardsUntouched();
      if (HasFailure()) return;
    }
  }
}

TEST_P(Adam, Sums_AreTheSquaresOfChangeAndWeights) {
  for (int64_t count : {1, 7, 16, 1023, 1024, 1025, 3000}) {
    Buffer w = Buffer::Uniform(count, 1, -1, 1, 1), m = Zeros(count), v = Zeros(count);
    Buffer g = Buffer::Uniform(count, 2);
    const Buffer before = w;
    double sums[2] = {-1, -1};
    nl_adam_arguments a = Settings(1, true);
    SetMoments(a, w, m, v);
    a.g = g.data();
    a.sums = sums;
    EXPECT_OK(nl_adam_commit(&a, 0, count));
    double change = 0, value = 0;
    for (int64_t i = 0; i < count; ++i) {
      const double difference = static_cast<double>(w[i]) - before[i];
      change += difference * difference;
      value += static_cast<double>(before[i]) * before[i];
    }
    EXPECT_NEAR(change, sums[0], 1e-12 * change);
    EXPECT_NEAR(value, sums[1], 1e-12 * value);
    EXPECT_OK(nl_adam_commit(&a, count, count));
    EXPECT_EQ(0, sums[0]);
  }
}

// With betas of 0 the moments are g and g² to the bit, and only the rounding is left.
TEST_P(Adam, HalfMoments_AreRoundedByTheNumbersOfTheHeader) {
  for (int64_t count : nl_testing::Lengths()) {
    Buffer w = Buffer::Uniform(count, 1, -1, 1, 1), g = Buffer::Uniform(count, 2);
    Buffer m((count + 1) / 2, 1), v((count + 1) / 2, 3);
    for (int64_t i = 0; i < (count + 1) / 2; ++i) m[i] = v[i] = 0;
    if (count > 3) g[3] = std::numeric_limits<float>::quiet_NaN();
    nl_adam_arguments a = Settings(1, true);
    SetMoments(a, w, m, v);
    a.g = g.data();
    a.moments = NL_MOMENTS_BFLOAT16;
    a.beta1 = a.beta2 = 0;
    a.gradient_scale = 1;
    a.step = 0x500000007;
    EXPECT_OK(nl_adam_commit(&a, count / 2, count));
    EXPECT_OK(nl_adam_commit(&a, 0, count / 2));
    for (int64_t i = 0; i < count; ++i) {
      if (i == 3) {
        EXPECT_TRUE(std::isnan(Half(m, i)) && std::isnan(Half(v, i)));
        continue;
      }
      const uint32_t random = RandomBits(a.seed, a.step, i);
      EXPECT_EQ(RoundedBits(g[i], random), BitsOf(Half(m, i))) << i << " of " << count;
      EXPECT_EQ(RoundedBits(g[i] * g[i], random ^ 0xFFFF), BitsOf(Half(v, i)))
          << i << " of " << count;
    }
    if (count % 2 != 0) {
      EXPECT_EQ(0u, BitsOf(m[count / 2]) >> 16) << "written beyond the last";
    }
    w.ExpectGuardsUntouched();
    m.ExpectGuardsUntouched();
    v.ExpectGuardsUntouched();
    if (HasFailure()) return;
  }
}

TEST_P(Adam, UnknownMoments_AreRefused) {
  Buffer w(4), m(4), v(4), g(4);
  nl_adam_arguments a = Settings(1, true);
  SetMoments(a, w, m, v);
  a.g = g.data();
  a.moments = 2;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_adam_commit(&a, 0, 4));
  EXPECT_STREQ("moments is 2, expected 0 or 1", nl_last_error());
}

// Adam's step on the gradient xᵀ dy; x [k, m], dy [k, n].
void CommitProduct(int64_t m, int64_t n, int64_t k, const Buffer& x, const Buffer& dy,
                   const nl_adam_arguments& adam) {
  nl_gemm_arguments g = {};
  g.size = sizeof(g);
  g.transpose_a = 1;
  g.epilogue = NL_EPILOGUE_ADAM;
  g.m = m;
  g.n = n;
  g.k = k;
  g.a = x.data();
  g.b = dy.data();
  g.adam = &adam;
  nl_testing::RunGemm(g);
}

// The gradient is a product, and so known to no more than a sum's rounding: within that of the product,
// the same weights and moments as by the reference.
TEST_P(Adam, StepOfAProduct_MatchesTheReference) {
  const int64_t shapes[][3] = {{1, 1, 1},      {3, 5, 0},      {7, 17, 3},     {47, 127, 65},
                               {48, 128, 9},   {49, 129, 257}, {100, 300, 33}, {2, 200, 600},
                               {193, 530, 41}, {50, 145, 600}};
  for (const auto& shape : shapes) {
    for (int kind = 0; kind < 3; ++kind) {  // no gradient before, one, one that is cleared
      const int64_t m = shape[0], n = shape[1], k = shape[2], count = m * n;
      const Buffer x = Buffer::Uniform(k * m, 1, -1, 1, 1),
                   dy = Buffer::Uniform(k * n, 2, -1, 1, 2);
      Buffer w = Buffer::Uniform(count, 3, -1, 1, 1), first = Zeros(count, 2),
             second = Zeros(count, 3);
      Buffer g = Buffer::Uniform(count, 4, -1, 1, 1);
      const Buffer before = g;
      Reference reference(w);
      nl_adam_arguments a = Settings(1, true);
      SetMoments(a, w, first, second);
      a.g = kind == 0 ? nullptr : g.data();
      a.clear_gradient = kind == 2;
      // Away from 0, where the step's sign would hang on rounding.
      a.epsilon = 0.1f;
      CommitProduct(m, n, k, x, dy, a);
      reference.Step(a, [&](size_t i) {
        double sum = kind == 0 ? 0 : before[static_cast<int64_t>(i)];
        for (int64_t t = 0; t < k; ++t) {
          sum += static_cast<double>(x[t * m + static_cast<int64_t>(i) / n]) *
                 dy[t * n + static_cast<int64_t>(i) % n];
        }
        return sum;
      });
      const double rounding = nl_testing::SumTolerance(k + 1, static_cast<double>(k + 1)) + 1e-6;
      for (int64_t i = 0; i < count; ++i) {
        const size_t s = static_cast<size_t>(i);
        nl_testing::ExpectNear(reference.w[s], w[i], 0.1 * rounding + 1e-6, "w");
        nl_testing::ExpectNear(reference.m[s], first[i], rounding, "m");
        nl_testing::ExpectNear(reference.v[s], second[i],
                               1e-3 * rounding * (1 + std::abs(reference.m[s]) * 20), "v");
        EXPECT_EQ(kind == 2 ? 0 : before[i], g[i]);
      }
      w.ExpectGuardsUntouched();
      first.ExpectGuardsUntouched();
      second.ExpectGuardsUntouched();
      g.ExpectGuardsUntouched();
      if (HasFailure()) return;
    }
  }
}

// The same step as apart, on the same gradient: every bit, whatever the kind of the moments.
TEST_P(Adam, StepOfAProduct_IsThatOfItsGradient) {
  const int64_t m = 50, n = 203, k = 1, count = m * n;
  const Buffer x = Buffer::Uniform(m, 1), dy = Buffer::Uniform(n, 2);
  for (int32_t moments : {NL_MOMENTS_FLOAT32, NL_MOMENTS_BFLOAT16}) {
    Buffer w = Buffer::Uniform(count, 3), first = Zeros(count), second = Zeros(count);
    Buffer other = w, other_first = first, other_second = second, g(count);
    for (int64_t i = 0; i < count; ++i) g[i] = x[i / n] * dy[i % n];
    nl_adam_arguments a = Settings(3, false);
    a.moments = moments;
    SetMoments(a, w, first, second);
    CommitProduct(m, n, k, x, dy, a);
    SetMoments(a, other, other_first, other_second);
    a.g = g.data();
    EXPECT_OK(nl_adam_commit(&a, 0, count));
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_EQ(BitsOf(other[i]), BitsOf(w[i])) << i;
      EXPECT_EQ(BitsOf(other_first[i]), BitsOf(first[i])) << i;
      EXPECT_EQ(BitsOf(other_second[i]), BitsOf(second[i])) << i;
      if (HasFailure()) return;
    }
  }
}

NL_TEST_TARGETS(Adam);

}  // namespace
