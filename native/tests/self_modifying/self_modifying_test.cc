#include "tests/reference.h"

using nl_testing::Buffer;
using nl_testing::Doubles;

namespace {

class SelfModifying : public nl_testing::KernelTest {};

constexpr double kNormEpsilon = 1e-6;

struct Case {
  int32_t batch, time, heads, dim, chunk;
  int32_t objective = NL_OBJECTIVE_L2, read = NL_READ_BEFORE;
  float eta_bias = -0.5f, alpha_bias = 1.5f;
  bool unit_values = false, exact_gradient = false;

  int64_t tokens() const { return int64_t{batch} * time * heads; }
  int64_t columns() const { return 3 * int64_t{dim} + 2; }
  int64_t state() const { return int64_t{batch} * heads * dim * columns(); }
  int64_t chunks() const { return (time + chunk - 1) / chunk; }
  std::string Name() const {
    return std::to_string(batch) + "x" + std::to_string(time) + "x" + std::to_string(heads) + "x" +
           std::to_string(dim) + " chunk " + std::to_string(chunk) +
           (objective == NL_OBJECTIVE_L2 ? " L2" : " dot") +
           (read == NL_READ_AFTER ? " after" : " before") + (unit_values ? " unit values" : "");
  }
};

struct Tensors {
  explicit Tensors(const Case& c)
      : shape(c),
        x(Buffer::Uniform(c.tokens() * c.dim, 1, -1, 1, 1)),
        q(Buffer::Uniform(c.tokens() * c.dim, 2)),
        s0(Buffer::Uniform(c.state(), 3, -1 / std::sqrt(float(c.dim)), 1 / std::sqrt(float(c.dim)),
                           2)),
        d_o(Buffer::Uniform(c.tokens() * c.dim, 4)),
        d_s(Buffer::Uniform(c.state(), 5)),
        o(c.tokens() * c.dim, 1),
        s(c.state()),
        states(c.state() * c.chunks()),
        dx(c.tokens() * c.dim, 3),
        dq(c.tokens() * c.dim),
        ds0(c.state()) {}

  nl_self_modifying_arguments Arguments() {
    nl_self_modifying_arguments a = {};
    a.size = sizeof(a);
    a.batch = shape.batch;
    a.time = shape.time;
    a.heads = shape.heads;
    a.dim = shape.dim;
    a.chunk = shape.chunk;
    a.objective = shape.objective;
    a.read = shape.read;
    a.eta_scale = kEtaScale;
    a.eta_bias = shape.eta_bias;
    a.alpha_bias = shape.alpha_bias;
    a.norm_epsilon = static_cast<float>(kNormEpsilon);
    a.x = x.data();
    a.q = q.data();
    a.s0 = s0.data();
    a.o = o.data();
    a.s = s.data();
    a.states = states.data();
    a.flags = (shape.unit_values ? NL_SELF_MODIFYING_NORMALIZE_VALUES : 0) |
              (shape.exact_gradient ? NL_SELF_MODIFYING_EXACT_GRADIENT : 0);
    return a;
  }

  nl_self_modifying_gradients Gradients() {
    nl_self_modifying_gradients g = {};
    g.size = sizeof(g);
    g.d_o = d_o.data();
    g.d_s = d_s.data();
    g.dx = dx.data();
    g.dq = dq.data();
    g.ds0 = ds0.data();
    return g;
  }

  void Forward() {
    const auto a = Arguments();
    int64_t floats;
    ASSERT_EQ(NL_OK, nl_self_modifying_forward_workspace(&a, &floats)) << nl_last_error();
    Buffer workspace(floats, 1);
    ASSERT_EQ(NL_OK, nl_self_modifying_forward(&a, 0, int64_t{shape.batch} * shape.heads,
                                               workspace.data()))
        << nl_last_error();
    workspace.ExpectGuardsUntouched();
  }

  void Backward() {
    const auto a = Arguments();
    const auto g = Gradients();
    int64_t floats;
    ASSERT_EQ(NL_OK, nl_self_modifying_backward_workspace(&a, &floats)) << nl_last_error();
    Buffer workspace(floats, 1);
    ASSERT_EQ(NL_OK, nl_self_modifying_backward(&a, &g, 0, int64_t{shape.batch} * shape.heads,
                                                workspace.data()))
        << nl_last_error();
    workspace.ExpectGuardsUntouched();
  }

  static constexpr float kEtaScale = 0.3f;
  Case shape;
  Buffer x, q, s0, d_o, d_s, o, s, states, dx, dq, ds0;
};

// Token by token in float64, and its gradient in token form.
struct Reference {
  explicit Reference(const Tensors& t)
      : c(t.shape),
        o(c.tokens() * c.dim),
        s(c.state()),
        dx(c.tokens() * c.dim),
        dq(c.tokens() * c.dim),
        ds0(c.state()) {
    for (int32_t b = 0; b < c.batch; ++b) {
      for (int32_t h = 0; h < c.heads; ++h) Head(t, b, h);
    }
  }

  struct Token {
    Doubles x, q, k, v, w, error;
    double inverse_norm, inverse_value_norm, eta, z_eta, alpha, z_alpha;
  };

  static double Sigmoid(double z) { return 1 / (1 + std::exp(-z)); }
  static double Softplus(double z) {
    return z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z));
  }

  // Gives the row length one and returns the factor.
  static double Normalise(Doubles& row) {
    const double squares = nl_testing::Inner(row.data(), row.data(), row.size());
    const double factor = 1 / std::sqrt(squares + kNormEpsilon * kNormEpsilon);
    for (double& value : row) value *= factor;
    return factor;
  }

  void Head(const Tensors& in, int32_t b, int32_t h) {
    const int64_t d = c.dim, n = c.columns(), size = d * n, head = int64_t{b} * c.heads + h;
    const bool after = c.read == NL_READ_AFTER, l2 = c.objective == NL_OBJECTIVE_L2;
    const auto rows_of = [](const Buffer& buffer, int64_t r, int64_t width) {
      return Doubles(buffer.data() + r * width, buffer.data() + (r + 1) * width);
    };
    const auto row = [&](int32_t t) { return (int64_t{b} * c.time + t) * c.heads + h; };
    std::vector<Doubles> states = {rows_of(in.s0, head, size)};
    std::vector<Token> tokens;
    for (int32_t t = 0; t < c.time; ++t) {
      const int64_t r = row(t);
      const Doubles& start = states[t / c.chunk * c.chunk];
      Token y;
      y.x = rows_of(in.x, r, d);
      y.q = rows_of(in.q, r, d);
      const Doubles projected = nl_testing::Times(y.x.data(), start.data(), d, n);
      y.k.assign(projected.begin(), projected.begin() + d);
      y.v.assign(projected.begin() + d, projected.begin() + 2 * d);
      y.inverse_norm = Normalise(y.k);
      y.inverse_value_norm = c.unit_values ? Normalise(y.v) : 0;
      y.z_eta = projected[3 * d] + c.eta_bias;
      y.z_alpha = projected[3 * d + 1] + c.alpha_bias;
      y.eta = Softplus(y.z_eta) * Tensors::kEtaScale;
      y.alpha = Sigmoid(y.z_alpha);
      // w = −η (k S_{t−1} + [L2] k S_c − v S_c).
      y.error = nl_testing::Times(y.k.data(), states[t].data(), d, n);
      if (l2) nl_testing::AddTo(nl_testing::Times(y.k.data(), start.data(), d, n), y.error.data());
      const Doubles target = nl_testing::Times(y.v.data(), start.data(), d, n);
      y.w.resize(n);
      for (int64_t j = 0; j < n; ++j) {
        y.error[j] -= target[j];
        y.w[j] = -y.eta * y.error[j];
      }
      Doubles next = states[t];
      for (double& value : next) value *= y.alpha;
      nl_testing::AddOuter(1, y.k.data(), y.w.data(), d, n, next.data());
      const Doubles read =
          nl_testing::Times(y.q.data(), after ? next.data() : states[t].data(), d, n);
      std::copy_n(read.begin() + 2 * d, d, o.begin() + r * d);
      states.push_back(next);
      tokens.push_back(y);
    }
    std::copy(states.back().begin(), states.back().end(), s.begin() + head * size);

    Doubles ds = rows_of(in.d_s, head, size), d_start(size);
    for (int32_t t = c.time - 1; t >= 0; --t) {
      const int64_t r = row(t);
      const Token& y = tokens[t];
      const Doubles &before = states[t], &start = states[t / c.chunk * c.chunk];
      Doubles d_read(n);
      for (int64_t j = 0; j < d; ++j) d_read[2 * d + j] = in.d_o[r * d + j];
      const Doubles query =
          nl_testing::TimesTransposed(d_read.data(), (after ? states[t + 1] : before).data(), d, n);
      std::copy(query.begin(), query.end(), dq.begin() + r * d);
      if (after) nl_testing::AddOuter(1, y.q.data(), d_read.data(), d, n, ds.data());
      const double d_alpha = nl_testing::Inner(ds.data(), before.data(), size);
      const Doubles dw = nl_testing::Times(y.k.data(), ds.data(), d, n);
      Doubles dk = nl_testing::TimesTransposed(y.w.data(), ds.data(), d, n);
      const double d_eta = -nl_testing::Inner(dw.data(), y.error.data(), n);
      Doubles d_error(n);
      for (int64_t j = 0; j < n; ++j) d_error[j] = -y.eta * dw[j];
      nl_testing::AddTo(nl_testing::TimesTransposed(d_error.data(), before.data(), d, n),
                        dk.data());
      for (double& value : ds) value *= y.alpha;
      nl_testing::AddOuter(1, y.k.data(), d_error.data(), d, n, ds.data());
      if (l2) {
        nl_testing::AddTo(nl_testing::TimesTransposed(d_error.data(), start.data(), d, n),
                          dk.data());
        nl_testing::AddOuter(1, y.k.data(), d_error.data(), d, n, d_start.data());
      }
      const Doubles minus_dv = nl_testing::TimesTransposed(d_error.data(), start.data(), d, n);
      nl_testing::AddOuter(-1, y.v.data(), d_error.data(), d, n, d_start.data());
      if (!after) nl_testing::AddOuter(1, y.q.data(), d_read.data(), d, n, ds.data());

      Doubles d_projected(n);
      const double along = nl_testing::Inner(dk.data(), y.k.data(), d);
      const double value_along = nl_testing::Inner(minus_dv.data(), y.v.data(), d);
      for (int64_t i = 0; i < d; ++i) {
        d_projected[i] = y.inverse_norm * (dk[i] - along * y.k[i]);
        d_projected[d + i] = c.unit_values
                                 ? y.inverse_value_norm * (value_along * y.v[i] - minus_dv[i])
                                 : -minus_dv[i];
      }
      d_projected[3 * d] = d_eta * Tensors::kEtaScale * Sigmoid(y.z_eta);
      d_projected[3 * d + 1] = d_alpha * y.alpha * Sigmoid(-y.z_alpha);
      const Doubles to_x = nl_testing::TimesTransposed(d_projected.data(), start.data(), d, n);
      std::copy(to_x.begin(), to_x.end(), dx.begin() + r * d);
      nl_testing::AddOuter(1, y.x.data(), d_projected.data(), d, n, d_start.data());
      if (t % c.chunk == 0) {
        nl_testing::AddTo(d_start, ds.data());
        d_start.assign(size, 0);
      }
    }
    std::copy(ds.begin(), ds.end(), ds0.begin() + head * size);
  }

  Case c;
  Doubles o, s, dx, dq, ds0;
};

void ExpectBoth(const Case& c) {
  Tensors t(c);
  const Reference expected(t);
  t.Forward();
  t.Backward();
  const std::string name = c.Name();
  nl_testing::ExpectClose(expected.o, t.o, nl_testing::kScanTolerance, name + " o");
  nl_testing::ExpectClose(expected.s, t.s, nl_testing::kScanTolerance, name + " s");
  nl_testing::ExpectClose(expected.dx, t.dx, nl_testing::kScanGradientTolerance, name + " dx");
  nl_testing::ExpectClose(expected.dq, t.dq, nl_testing::kScanGradientTolerance, name + " dq");
  nl_testing::ExpectClose(expected.ds0, t.ds0, nl_testing::kScanGradientTolerance, name + " ds0");
  t.states.ExpectGuardsUntouched();
}

TEST_P(SelfModifying, Results_MatchTheReference) {
  const Case shapes[] = {
      {1, 1, 1, 1, 4},    {2, 9, 3, 3, 8},    {1, 7, 1, 17, 8},   {1, 8, 2, 24, 8},
      {1, 40, 2, 12, 16}, {1, 33, 1, 16, 32}, {1, 31, 1, 40, 16}, {1, 70, 1, 6, 64},
      {1, 12, 1, 8, 1},   {1, 65, 1, 5, 256},
  };
  for (Case c : shapes) {
    for (int32_t objective : {NL_OBJECTIVE_L2, NL_OBJECTIVE_DOT}) {
      for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE}) {
        for (bool unit_values : {false, true}) {
          c.objective = objective;
          c.read = read;
          c.unit_values = unit_values;
          ExpectBoth(c);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(SelfModifying, ExtremeGates_MatchTheReference) {
  // η next to nothing, η large; α 0 to the last bit, α 1.
  for (float alpha_bias : {-120.0f, 30.0f}) {
    for (float eta_bias : {-30.0f, 2.0f}) {
      Case c = {1, 19, 1, 9, 8};
      c.alpha_bias = alpha_bias;
      c.eta_bias = eta_bias;
      ExpectBoth(c);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(SelfModifying, Pieces_DoNotChangeBits) {
  const Case c = {2, 21, 3, 10, 8};
  Tensors whole(c), cut(c);
  whole.Forward();
  whole.Backward();
  const auto a = cut.Arguments();
  const auto g = cut.Gradients();
  int64_t forward, backward;
  EXPECT_OK(nl_self_modifying_forward_workspace(&a, &forward));
  EXPECT_OK(nl_self_modifying_backward_workspace(&a, &backward));
  for (int64_t head = 6; head-- > 0;) {
    Buffer workspace(forward);
    EXPECT_OK(nl_self_modifying_forward(&a, head, head + 1, workspace.data()));
  }
  for (int64_t head = 6; head-- > 0;) {
    Buffer workspace(backward);
    EXPECT_OK(nl_self_modifying_backward(&a, &g, head, head + 1, workspace.data()));
  }
  nl_testing::ExpectSameBits(whole.o, cut.o, "o");
  nl_testing::ExpectSameBits(whole.s, cut.s, "s");
  nl_testing::ExpectSameBits(whole.states, cut.states, "states");
  nl_testing::ExpectSameBits(whole.dx, cut.dx, "dx");
  nl_testing::ExpectSameBits(whole.dq, cut.dq, "dq");
  nl_testing::ExpectSameBits(whole.ds0, cut.ds0, "ds0");
}

TEST_P(SelfModifying, SequenceInParts_GivesTheSameResults) {
  // Cut at a chunk's end, the state carried over in place.
  Case c = {1, 24, 2, 7, 8};
  Tensors whole(c);
  whole.Forward();
  Tensors part(c);
  auto a = part.Arguments();
  int64_t floats;
  EXPECT_OK(nl_self_modifying_forward_workspace(&a, &floats));
  Buffer workspace(floats);
  const int64_t row = int64_t{c.heads} * c.dim;
  a.s = part.s0.data();
  a.states = nullptr;
  for (int32_t start : {0, 16}) {
    a.time = start == 0 ? 16 : 8;
    a.x = part.x.data() + start * row;
    a.q = part.q.data() + start * row;
    a.o = part.o.data() + start * row;
    EXPECT_OK(nl_self_modifying_forward(&a, 0, 2, workspace.data()));
  }
  nl_testing::ExpectSameBits(whole.o, part.o, "o");
  nl_testing::ExpectSameBits(whole.s, part.s0, "s");
}

TEST_P(SelfModifying, SequenceCutAnywhere_GivesTheSameResults) {
  // Backward too: gradients of the second part's memories arrive at the first part's results.
  for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE, NL_READ_CHUNK_START}) {
    for (int32_t objective : {NL_OBJECTIVE_L2, NL_OBJECTIVE_DOT}) {
      for (int32_t cut : {1, 7, 8, 13, 23}) {
        Case c = {1, 24, 2, 7, 8, objective, read};
        c.exact_gradient = cut > 7;
        const std::string name = c.Name() + " cut " + std::to_string(cut);
        Tensors whole(c), x(c);
        whole.Forward();
        whole.Backward();
        Buffer s(c.state()), start(c.state()), d_s(c.state()), d_start(c.state());
        Buffer states(c.state() * (c.chunks() + 1));
        const int64_t rest = cut * c.heads * c.dim;
        const bool inside = cut % c.chunk != 0;
        auto first = x.Arguments(), second = first;
        first.time = cut;
        first.s = s.data();
        first.next_chunk_start = start.data();
        second.time = c.time - cut;
        second.phase = cut % c.chunk;
        second.x += rest;
        second.q += rest;
        second.o += rest;
        second.s0 = s.data();
        second.chunk_start = inside ? start.data() : nullptr;
        second.states = states.data();
        auto to_first = x.Gradients(), to_second = to_first;
        to_second.d_o += rest;
        to_second.dx += rest;
        to_second.dq += rest;
        to_second.ds0 = d_s.data();
        to_second.d_chunk_start = inside ? d_start.data() : nullptr;
        to_first.d_s = d_s.data();
        to_first.d_next_chunk_start = inside ? d_start.data() : nullptr;
        int64_t forward, backward;
        EXPECT_OK(nl_self_modifying_forward_workspace(&second, &forward));
        EXPECT_OK(nl_self_modifying_backward_workspace(&second, &backward));
        int64_t forward_first, backward_first;
        EXPECT_OK(nl_self_modifying_forward_workspace(&first, &forward_first));
        EXPECT_OK(nl_self_modifying_backward_workspace(&first, &backward_first));
        Buffer workspace(std::max({forward, backward, forward_first, backward_first}));
        EXPECT_OK(nl_self_modifying_forward(&first, 0, c.heads, workspace.data()));
        EXPECT_OK(nl_self_modifying_forward(&second, 0, c.heads, workspace.data()));
        EXPECT_OK(nl_self_modifying_backward(&second, &to_second, 0, c.heads, workspace.data()));
        EXPECT_OK(nl_self_modifying_backward(&first, &to_first, 0, c.heads, workspace.data()));
        const auto close = [&](const Buffer& expected, const Buffer& actual, double tolerance) {
          nl_testing::ExpectClose(nl_testing::ToDoubles(expected), actual, tolerance, name);
        };
        close(whole.o, x.o, nl_testing::kScanTolerance);
        close(whole.s, x.s, nl_testing::kScanTolerance);
        close(whole.dx, x.dx, nl_testing::kScanGradientTolerance);
        close(whole.dq, x.dq, nl_testing::kScanGradientTolerance);
        close(whole.ds0, x.ds0, nl_testing::kScanGradientTolerance);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(SelfModifying, NoTokens_PassTheStateThrough) {
  const Case c = {1, 0, 2, 3, 8};
  Tensors t(c);
  t.Forward();
  t.Backward();
  for (int64_t i = 0; i < c.state(); ++i) {
    EXPECT_EQ(t.s0[i], t.s[i]);
    EXPECT_EQ(t.d_s[i], t.ds0[i]);
  }
}

TEST_P(SelfModifying, MissingUpstreamGradients_AreZero) {
  const Case c = {1, 21, 1, 6, 8};
  for (bool give_output : {true, false}) {
    Tensors zero(c), missing(c);
    zero.Forward();
    missing.Forward();
    auto g = missing.Gradients();
    Buffer& zeroed = give_output ? zero.d_s : zero.d_o;
    std::fill_n(zeroed.data(), zeroed.count(), 0.0f);
    (give_output ? g.d_s : g.d_o) = nullptr;
    const auto a = missing.Arguments();
    int64_t floats;
    EXPECT_OK(nl_self_modifying_backward_workspace(&a, &floats));
    Buffer workspace(floats);
    EXPECT_OK(nl_self_modifying_backward(&a, &g, 0, 1, workspace.data()));
    zero.Backward();
    const double tolerance = nl_testing::kScanGradientTolerance;
    nl_testing::ExpectClose(nl_testing::ToDoubles(zero.dx), missing.dx, tolerance, "dx");
    nl_testing::ExpectClose(nl_testing::ToDoubles(zero.dq), missing.dq, tolerance, "dq");
    nl_testing::ExpectClose(nl_testing::ToDoubles(zero.ds0), missing.ds0, tolerance, "ds0");
  }
}

TEST_P(SelfModifying, Nan_ReachesLaterTokensOnly) {
  const Case c = {1, 20, 1, 6, 16};
  Tensors t(c);
  const int64_t at = 5;
  t.x[at * c.dim + 1] = std::numeric_limits<float>::quiet_NaN();
  t.Forward();
  // Reads come before the token's own write.
  for (int64_t token = 0; token < c.time; ++token) {
    for (int64_t i = 0; i < c.dim; ++i) {
      EXPECT_EQ(token > at, std::isnan(t.o[token * c.dim + i])) << "token " << token;
    }
  }
}

TEST_P(SelfModifying, BadArguments_AreRefused) {
  Tensors t({1, 4, 1, 3, 4});
  Buffer workspace(1);
  auto a = t.Arguments();
  a.dim = 0;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_self_modifying_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("dim is 0, expected at least 1", nl_last_error());
  a = t.Arguments();
  a.objective = 2;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_self_modifying_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("objective is 2, expected 0 or 1", nl_last_error());
  a = t.Arguments();
  a.flags = 5;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_self_modifying_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("flags is 5, expected bits of 3 alone", nl_last_error());
  a = t.Arguments();
  a.x = nullptr;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_self_modifying_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("x is null", nl_last_error());
  for (int64_t i = 0; i < t.o.count(); ++i) EXPECT_TRUE(std::isnan(t.o[i]));
}

NL_TEST_TARGETS(SelfModifying);

}  // namespace
