// Causal attention against softmax written out in float64, and its gradient.
#include "tests/reference.h"

using nl_testing::Buffer;
using nl_testing::Doubles;

namespace {

constexpr double kTolerance = 2e-5;
constexpr double kGradientTolerance = 5e-5;

// The gradients of a single key vanish: what rounding leaves is beside products of order one.
void ExpectCloseToLargest(const Doubles& expected, const Buffer& actual, double tolerance,
                          const std::string& where) {
  ASSERT_EQ(static_cast<int64_t>(expected.size()), actual.count()) << where;
  double largest = 1e-2;
  for (double value : expected) largest = std::max(largest, std::abs(value));
  for (int64_t i = 0; i < actual.count(); ++i) {
    nl_testing::ExpectNear(expected[static_cast<size_t>(i)], actual[i], tolerance * largest,
                           where + "[" + std::to_string(i) + "]");
    if (testing::Test::HasFailure()) return;
  }
  actual.ExpectGuardsUntouched();
}

class Attention : public nl_testing::KernelTest {};

struct Case {
  int32_t batch, time, keys, heads, key_dim, value_dim;
  float scale = 0.3f;

  int64_t queries() const { return int64_t{batch} * time * heads; }
  int64_t all_keys() const { return int64_t{batch} * keys * heads; }
  std::string Name() const {
    return std::to_string(batch) + "x" + std::to_string(time) + "/" + std::to_string(keys) + "x" +
           std::to_string(heads) + "x" + std::to_string(key_dim) + "/" + std::to_string(value_dim);
  }
};

struct Tensors {
  explicit Tensors(const Case& c, float size = 1)
      : shape(c),
        q(Buffer::Uniform(c.queries() * c.key_dim, 1, -size, size, 1)),
        k(Buffer::Uniform(c.all_keys() * c.key_dim, 2, -size, size, 2)),
        v(Buffer::Uniform(c.all_keys() * c.value_dim, 3)),
        d_o(Buffer::Uniform(c.queries() * c.value_dim, 4, -1, 1, 3)),
        o(c.queries() * c.value_dim, 1),
        log_sums(c.queries()),
        dq(c.queries() * c.key_dim),
        dk(c.all_keys() * c.key_dim, 1),
        dv(c.all_keys() * c.value_dim) {}

  nl_attention_arguments Arguments() {
    nl_attention_arguments a = {};
    a.size = sizeof(a);
    a.batch = shape.batch;
    a.time = shape.time;
    a.keys = shape.keys;
    a.heads = shape.heads;
    a.key_dim = shape.key_dim;
    a.value_dim = shape.value_dim;
    a.scale = shape.scale;
    a.q = q.data();
    a.k = k.data();
    a.v = v.data();
    a.o = o.data();
    a.log_sums = log_sums.data();
    return a;
  }

  void Forward() {
    const auto a = Arguments();
    int64_t pieces, floats;
    ASSERT_EQ(NL_OK, nl_attention_forward_plan(&a, &pieces, &floats)) << nl_last_error();
    Buffer workspace(floats, 1);
    // From the last to the first, each by itself: pieces are independent.
    for (int64_t piece = pieces; piece-- > 0;) {
      ASSERT_EQ(NL_OK, nl_attention_forward(&a, piece, piece + 1, workspace.data()))
          << nl_last_error();
    }
    workspace.ExpectGuardsUntouched();
  }

  void Backward(bool want_q = true, bool want_k = true, bool want_v = true) {
    const auto a = Arguments();
    int64_t pieces, floats, part_floats;
    ASSERT_EQ(NL_OK, nl_attention_backward_plan(&a, &pieces, &floats, &part_floats))
        << nl_last_error();
    Buffer workspace(floats, 1), parts(part_floats);
    nl_attention_gradients g = {};
    g.size = sizeof(g);
    g.d_o = d_o.data();
    g.dq = want_q ? dq.data() : nullptr;
    g.dk = want_k ? dk.data() : nullptr;
    g.dv = want_v ? dv.data() : nullptr;
    g.dq_parts = parts.data();
    for (int64_t piece = pieces; piece-- > 0;) {
      ASSERT_EQ(NL_OK, nl_attention_backward(&a, &g, piece, piece + 1, workspace.data()))
          << nl_last_error();
    }
    ASSERT_EQ(NL_OK, nl_attention_backward_sum(&a, &g, 0, int64_t{shape.batch} * shape.time))
        << nl_last_error();
    workspace.ExpectGuardsUntouched();
    parts.ExpectGuardsUntouched();
  }

  Case shape;
  Buffer q, k, v, d_o, o, log_sums, dq, dk, dv;
};

struct Reference {
  explicit Reference(const Tensors& t)
      : o(t.o.count()),
        log_sums(t.log_sums.count()),
        dq(t.dq.count()),
        dk(t.dk.count()),
        dv(t.dv.count()) {
    const Case& c = t.shape;
    const int64_t d = c.key_dim, e = c.value_dim;
    for (int64_t row = 0; row < c.queries(); ++row) {
      const int64_t h = row % c.heads, time = row / c.heads % c.time, b = row / c.heads / c.time;
      const int64_t seen = c.keys - c.time + time + 1;
      const auto key_row = [&](int64_t j) { return (b * c.keys + j) * c.heads + h; };
      Doubles p(seen);
      double maximum = -1e300, sum = 0;
      for (int64_t j = 0; j < seen; ++j) {
        for (int64_t i = 0; i < d; ++i) p[j] += double{t.q[row * d + i]} * t.k[key_row(j) * d + i];
        p[j] *= c.scale;
        maximum = std::max(maximum, p[j]);
      }
      for (double& x : p) sum += std::exp(x - maximum);
      log_sums[row] = maximum + std::log(sum);
      double delta = 0;
      for (double& x : p) x = std::exp(x - log_sums[row]);
      for (int64_t i = 0; i < e; ++i) {
        for (int64_t j = 0; j < seen; ++j) o[row * e + i] += p[j] * t.v[key_row(j) * e + i];
        delta += o[row * e + i] * t.d_o[row * e + i];
      }
      for (int64_t j = 0; j < seen; ++j) {
        double dp = 0;
        for (int64_t i = 0; i < e; ++i) {
          dp += double{t.d_o[row * e + i]} * t.v[key_row(j) * e + i];
          dv[key_row(j) * e + i] += p[j] * t.d_o[row * e + i];
        }
        const double ds = c.scale * p[j] * (dp - delta);
        for (int64_t i = 0; i < d; ++i) {
          dq[row * d + i] += ds * t.k[key_row(j) * d + i];
          dk[key_row(j) * d + i] += ds * t.q[row * d + i];
        }
      }
    }
  }

  Doubles o, log_sums, dq, dk, dv;
};

// One token; around a panel, a block of keys and a block of queries; a cache of keys; ranges of keys.
const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      {1, 1, 1, 1, 1, 1},       {2, 1, 1, 3, 5, 7},       {1, 1, 300, 2, 16, 24},
      {1, 2, 131, 1, 64, 64},   {1, 15, 15, 2, 8, 8},     {1, 16, 16, 1, 8, 16},
      {1, 17, 17, 2, 9, 17},    {2, 33, 33, 2, 12, 20},   {1, 63, 65, 2, 16, 16},
      {1, 127, 127, 1, 17, 33}, {1, 128, 128, 1, 16, 16}, {1, 129, 129, 1, 16, 65},
      {1, 255, 258, 1, 8, 8},   {1, 257, 257, 2, 16, 8},  {1, 70, 400, 1, 33, 15},
      {2, 300, 311, 9, 4, 6},   {1, 600, 600, 1, 8, 130},
  };
  return cases;
}

TEST_P(Attention, ForwardAndBackward_MatchTheReference) {
  for (const Case& c : Cases()) {
    Tensors t(c);
    t.Forward();
    const Reference expected(t);
    ExpectCloseToLargest(expected.o, t.o, kTolerance, c.Name() + " o");
    ExpectCloseToLargest(expected.log_sums, t.log_sums, kTolerance, c.Name() + " log sums");
    t.Backward();
    ExpectCloseToLargest(expected.dq, t.dq, kGradientTolerance, c.Name() + " dq");
    ExpectCloseToLargest(expected.dk, t.dk, kGradientTolerance, c.Name() + " dk");
    ExpectCloseToLargest(expected.dv, t.dv, kGradientTolerance, c.Name() + " dv");
    if (HasFatalFailure()) return;
  }
}

TEST_P(Attention, UnwantedGradients_AreNotWritten) {
  Tensors all({1, 150, 170, 2, 9, 17});
  all.Forward();
  all.Backward();
  for (int wanted = 0; wanted < 7; ++wanted) {
    Tensors t({1, 150, 170, 2, 9, 17});
    t.Forward();
    const Buffer untouched_q = t.dq, untouched_k = t.dk, untouched_v = t.dv;
    t.Backward(wanted & 1, wanted & 2, wanted & 4);
    nl_testing::ExpectSameBits(wanted & 1 ? all.dq : untouched_q, t.dq, "dq");
    nl_testing::ExpectSameBits(wanted & 2 ? all.dk : untouched_k, t.dk, "dk");
    nl_testing::ExpectSameBits(wanted & 4 ? all.dv : untouched_v, t.dv, "dv");
  }
}

// Scores of thousands: one key takes all, and nothing overflows.
TEST_P(Attention, LargeScores_DoNotOverflow) {
  Tensors t({1, 70, 70, 2, 16, 8}, 60);
  t.Forward();
  const Reference expected(t);
  // Scores are rounded to 1e-3 of themselves' unit, so probabilities are off by as much.
  ExpectCloseToLargest(expected.o, t.o, 4e-3, "o");
  t.Backward();
  for (const Buffer* b : {&t.dq, &t.dk, &t.dv}) {
    for (int64_t i = 0; i < b->count(); ++i) ASSERT_TRUE(std::isfinite((*b)[i]));
  }
}

TEST_P(Attention, Nan_ReachesNoEarlierQueryAndNoOtherHead) {
  const Case c = {2, 150, 155, 2, 9, 7};
  Tensors clean(c);
  clean.Forward();
  clean.Backward();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (int what = 0; what < 2; ++what) {
    for (int64_t token : {0, 7, 64, 133, 154}) {
      Tensors t(c);
      const int64_t row = (int64_t{c.keys} + token) * c.heads + 1;
      (what == 0 ? t.k[row * c.key_dim + 2] : t.v[row * c.value_dim + 2]) = nan;
      t.Forward();
      t.Backward();
      for (int64_t i = 0; i < t.o.count(); ++i) {
        const int64_t at = i / c.value_dim, h = at % c.heads, q = at / c.heads % c.time,
                      b = at / c.heads / c.time;
        const bool reached =
            b == 1 && h == 1 && q + 5 >= token && (what == 0 || i % c.value_dim == 2);
        ASSERT_EQ(reached, std::isnan(t.o[i])) << what << " " << token << " o " << i;
        if (!reached) {
          ASSERT_EQ(clean.o[i], t.o[i]);
        }
      }
      for (int64_t i = 0; i < t.dq.count(); ++i) {
        const int64_t at = i / c.key_dim, h = at % c.heads, q = at / c.heads % c.time,
                      b = at / c.heads / c.time;
        const bool reached = b == 1 && h == 1 && q + 5 >= token;
        if (!reached) {
          ASSERT_EQ(clean.dq[i], t.dq[i]) << what << " " << token << " dq " << i;
        }
      }
    }
  }
  // A query's own NaN reaches the keys it sees and no others.
  Tensors t(c);
  const int64_t query = 40;
  t.d_o[((int64_t{c.time} + query) * c.heads + 1) * c.value_dim] = nan;
  t.Forward();
  t.Backward();
  for (int64_t i = 0; i < t.dk.count(); ++i) {
    const int64_t at = i / c.key_dim, h = at % c.heads, j = at / c.heads % c.keys,
                  b = at / c.heads / c.keys;
    ASSERT_EQ(b == 1 && h == 1 && j <= query + 5, std::isnan(t.dk[i])) << "dk " << i;
  }
}

TEST_P(Attention, LogSums_MayBeNull) {
  Tensors with({1, 40, 40, 1, 8, 8}), without({1, 40, 40, 1, 8, 8});
  with.Forward();
  auto a = without.Arguments();
  a.log_sums = nullptr;
  int64_t pieces, floats;
  ASSERT_EQ(NL_OK, nl_attention_forward_plan(&a, &pieces, &floats));
  Buffer workspace(floats);
  ASSERT_EQ(NL_OK, nl_attention_forward(&a, 0, pieces, workspace.data())) << nl_last_error();
  nl_testing::ExpectSameBits(with.o, without.o, "o");
}

TEST_P(Attention, BadArguments_AreRefused) {
  Tensors t({1, 4, 4, 1, 8, 8});
  auto a = t.Arguments();
  int64_t pieces, floats;
  a.keys = 3;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_attention_forward_plan(&a, &pieces, &floats));
  EXPECT_STREQ("keys is 3, expected at least time", nl_last_error());
  a = t.Arguments();
  Buffer workspace(1);
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_attention_forward(&a, 0, 5, workspace.data()));
  a.k = nullptr;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_attention_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("k is null", nl_last_error());
}

NL_TEST_TARGETS(Attention);

}  // namespace
