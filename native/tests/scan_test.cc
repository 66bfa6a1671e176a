#include "scan_testing.h"

#include <optional>

using nl_testing::Buffer;
using nl_testing::Doubles;

namespace {

class Scan : public nl_testing::KernelTest {};

struct Case {
  int32_t batch, time, heads, dk, dv, chunk;
  int32_t read = NL_READ_AFTER, write = NL_WRITE_GIVEN;
  bool decay = true, erase = true, momentum = true, states = true;
  // Every third α is 0 (log α = −∞) and every fourth μ.
  bool resets = false;

  int64_t tokens() const { return int64_t{batch} * time * heads; }
  int64_t state() const { return int64_t{batch} * heads * dk * dv; }
  int64_t chunks() const { return (time + chunk - 1) / chunk; }
  std::string Name() const {
    return std::to_string(batch) + "x" + std::to_string(time) + "x" + std::to_string(heads) + " " +
           std::to_string(dk) + "x" + std::to_string(dv) + " chunk " + std::to_string(chunk) +
           (read == NL_READ_AFTER ? " after" : " before") + " write " + std::to_string(write) +
           (decay ? " decay" : "") + (erase ? " erase" : "") + (momentum ? " momentum" : "") +
           (states ? " states" : "") + (resets ? " resets" : "");
  }
};

// The tensors of one call, forward and backward.
struct Tensors {
  explicit Tensors(const Case& c)
      : shape(c),
        q(Buffer::Uniform(c.tokens() * c.dk, 1, -1, 1, 1)),
        k(Buffer::Uniform(c.tokens() * c.dk, 2, -KeySize(c), KeySize(c))),
        u(Buffer::Uniform(c.tokens() * c.dv, 3, -1, 1, 2)),
        log_alpha(Buffer::Uniform(c.tokens(), 4, -1, 0)),
        erase(Buffer::Uniform(c.tokens(), 5, 0, 1)),
        mu(Buffer::Uniform(c.tokens(), 6, 0, 1)),
        theta(Buffer::Uniform(c.tokens(), 7, 0, 1)),
        s0(Buffer::Uniform(c.state(), 8)),
        p0(Buffer::Uniform(c.state(), 9)),
        d_o(Buffer::Uniform(c.tokens() * c.dv, 10)),
        d_s(Buffer::Uniform(c.state(), 11)),
        d_p(Buffer::Uniform(c.state(), 12)),
        o(c.tokens() * c.dv, 3),
        s(c.state()),
        p(c.state()),
        states(c.state() * c.chunks()),
        momenta(c.state() * c.chunks()),
        dq(c.tokens() * c.dk, 1),
        dk(c.tokens() * c.dk),
        du(c.tokens() * c.dv),
        d_log_alpha(c.tokens()),
        d_erase(c.tokens()),
        d_mu(c.tokens()),
        d_theta(c.tokens()),
        ds0(c.state()),
        dp0(c.state()) {
    if (c.resets) {
      for (int64_t i = 0; i < c.tokens(); i += 3)
        log_alpha[i] = -std::numeric_limits<float>::infinity();
      for (int64_t i = 1; i < c.tokens(); i += 4) mu[i] = 0;
    }
  }

  static float KeySize(const Case& c) { return 1.7f / std::sqrt(static_cast<float>(c.dk)); }

  nl_scan_arguments Arguments() {
    nl_scan_arguments a = {};
    a.size = sizeof(a);
    a.batch = shape.batch;
    a.time = shape.time;
    a.heads = shape.heads;
    a.key_dim = shape.dk;
    a.value_dim = shape.dv;
    a.chunk = shape.chunk;
    a.read = shape.read;
    a.write = shape.write;
    a.scale = kScale;
    a.q = q.data();
    a.k = k.data();
    a.u = u.data();
    if (shape.decay) a.log_alpha = log_alpha.data();
    if (shape.erase) a.erase = erase.data();
    if (shape.momentum) a.mu = mu.data();
    if (shape.write != NL_WRITE_GIVEN) a.theta = theta.data();
    if (shape.states) a.s0 = s0.data();
    if (shape.states && shape.momentum) a.p0 = p0.data();
    a.o = o.data();
    a.s = s.data();
    a.states = states.data();
    if (shape.momentum) a.p = p.data();
    if (shape.momentum) a.momenta = momenta.data();
    return a;
  }

  nl_scan_gradients Gradients() {
    nl_scan_gradients g = {};
    g.size = sizeof(g);
    g.d_o = d_o.data();
    g.d_s = d_s.data();
    if (shape.momentum) g.d_p = d_p.data();
    g.dq = dq.data();
    g.dk = dk.data();
    g.du = du.data();
    if (shape.decay) g.d_log_alpha = d_log_alpha.data();
    if (shape.erase) g.d_erase = d_erase.data();
    if (shape.momentum) g.d_mu = d_mu.data();
    if (shape.write != NL_WRITE_GIVEN) g.d_theta = d_theta.data();
    g.ds0 = ds0.data();
    if (shape.momentum) g.dp0 = dp0.data();
    return g;
  }

  void Forward() {
    const auto a = Arguments();
    int64_t pieces, floats;
    ASSERT_EQ(NL_OK, nl_scan_forward_pieces(&a, &pieces)) << nl_last_error();
    ASSERT_EQ(NL_OK, nl_scan_forward_workspace(&a, &floats)) << nl_last_error();
    Buffer workspace(floats, 1);
    ASSERT_EQ(NL_OK, nl_scan_forward(&a, 0, pieces, workspace.data())) << nl_last_error();
    workspace.ExpectGuardsUntouched();
  }

  void Backward() {
    const auto a = Arguments();
    const auto g = Gradients();
    int64_t floats;
    ASSERT_EQ(NL_OK, nl_scan_backward_workspace(&a, &floats)) << nl_last_error();
    Buffer workspace(floats, 1);
    ASSERT_EQ(NL_OK,
              nl_scan_backward(&a, &g, 0, int64_t{shape.batch} * shape.heads, workspace.data()))
        << nl_last_error();
    workspace.ExpectGuardsUntouched();
  }

  static constexpr float kScale = 0.75f;
  Case shape;
  Buffer q, k, u, log_alpha, erase, mu, theta, s0, p0, d_o, d_s, d_p;
  Buffer o, s, p, states, momenta;
  Buffer dq, dk, du, d_log_alpha, d_erase, d_mu, d_theta, ds0, dp0;
};

// The recurrence and its token-form gradient in float64, one token after the other.
struct Reference {
  explicit Reference(const Tensors& x)
      : c(x.shape),
        o(c.tokens() * c.dv),
        s(c.state()),
        p(c.state()),
        dq(c.tokens() * c.dk),
        dk(c.tokens() * c.dk),
        du(c.tokens() * c.dv),
        d_log_alpha(c.tokens()),
        d_erase(c.tokens()),
        d_mu(c.tokens()),
        d_theta(c.tokens()),
        ds0(c.state()),
        dp0(c.state()) {
    for (int32_t b = 0; b < c.batch; ++b) {
      for (int32_t h = 0; h < c.heads; ++h) Head(x, b, h);
    }
  }

  void Head(const Tensors& x, int32_t b, int32_t h) {
    const int64_t dk_ = c.dk, dv = c.dv, size = dk_ * dv, head = int64_t{b} * c.heads + h;
    const bool after = c.read == NL_READ_AFTER;
    const double scale = Tensors::kScale;
    Doubles state(size), momentum(size);
    if (c.states) {
      for (int64_t i = 0; i < size; ++i) state[i] = x.s0[head * size + i];
      for (int64_t i = 0; i < size; ++i) momentum[i] = x.p0[head * size + i];
    }
    std::vector<Doubles> states = {state}, momenta = {momentum}, writes;
    const auto row = [&](int32_t t) { return (int64_t{b} * c.time + t) * c.heads + h; };
    const auto rows_of = [](const Buffer& buffer, int64_t r, int64_t width) {
      return Doubles(buffer.data() + r * width, buffer.data() + (r + 1) * width);
    };
    const auto alpha = [&](int64_t r) { return c.decay ? std::exp(double{x.log_alpha[r]}) : 1.0; };
    const auto erase = [&](int64_t r) { return c.erase ? double{x.erase[r]} : 0.0; };
    const auto mu = [&](int64_t r) { return c.momentum ? double{x.mu[r]} : 0.0; };
    const auto theta = [&](int64_t r) {
      return c.write == NL_WRITE_GIVEN ? 1.0 : double{x.theta[r]};
    };
    const bool frozen = c.write == NL_WRITE_FROZEN_L2;

    for (int32_t t = 0; t < c.time; ++t) {
      const int64_t r = row(t);
      const Doubles q = rows_of(x.q, r, dk_), k = rows_of(x.k, r, dk_), u = rows_of(x.u, r, dv);
      const Doubles& start = states[t / c.chunk * c.chunk];
      const Doubles seen = nl_testing::Times(k.data(), states[t].data(), dk_, dv);
      const Doubles seen_at_start = nl_testing::Times(k.data(), start.data(), dk_, dv);
      Doubles w(dv);
      for (int64_t j = 0; j < dv; ++j) {
        w[j] = theta(r) * (u[j] - (frozen ? seen_at_start[j] : 0)) - erase(r) * seen[j];
      }
      Doubles next_p = momenta[t], next_s = states[t];
      for (double& value : next_p) value *= mu(r);
      nl_testing::AddOuter(1, k.data(), w.data(), dk_, dv, next_p.data());
      for (int64_t i = 0; i < size; ++i) next_s[i] = alpha(r) * next_s[i] + next_p[i];
      const Doubles read =
          nl_testing::Times(q.data(), after ? next_s.data() : states[t].data(), dk_, dv);
      for (int64_t j = 0; j < dv; ++j) o[r * dv + j] = scale * read[j];
      states.push_back(next_s);
      momenta.push_back(next_p);
      writes.push_back(w);
    }
    std::copy(states.back().begin(), states.back().end(), s.begin() + head * size);
    std::copy(momenta.back().begin(), momenta.back().end(), p.begin() + head * size);

    Doubles ds = rows_of(x.d_s, head, size), dp(size), d_start(size);
    if (c.momentum) dp = rows_of(x.d_p, head, size);
    for (int32_t t = c.time - 1; t >= 0; --t) {
      const int64_t r = row(t);
      const Doubles q = rows_of(x.q, r, dk_), k = rows_of(x.k, r, dk_), u = rows_of(x.u, r, dv);
      const Doubles d_o = rows_of(x.d_o, r, dv);
      const Doubles& before = states[t];
      const Doubles& start = states[t / c.chunk * c.chunk];
      const Doubles query =
          nl_testing::TimesTransposed(d_o.data(), (after ? states[t + 1] : before).data(), dk_, dv);
      for (int64_t i = 0; i < dk_; ++i) dq[r * dk_ + i] = scale * query[i];
      if (after) nl_testing::AddOuter(scale, q.data(), d_o.data(), dk_, dv, ds.data());
      for (int64_t i = 0; i < size; ++i) dp[i] += ds[i];
      d_log_alpha[r] = alpha(r) * nl_testing::Inner(ds.data(), before.data(), size);
      d_mu[r] = nl_testing::Inner(dp.data(), momenta[t].data(), size);
      const Doubles dw = nl_testing::Times(k.data(), dp.data(), dk_, dv);
      double* dk_row = &dk[r * dk_];
      nl_testing::AddTo(nl_testing::TimesTransposed(writes[t].data(), dp.data(), dk_, dv), dk_row);
      const Doubles seen = nl_testing::Times(k.data(), before.data(), dk_, dv);
      const Doubles seen_at_start = nl_testing::Times(k.data(), start.data(), dk_, dv);
      d_erase[r] = -nl_testing::Inner(dw.data(), seen.data(), dv);
      Doubles dr(dv), d_frozen(dv);
      for (int64_t j = 0; j < dv; ++j) {
        du[r * dv + j] = theta(r) * dw[j];
        d_theta[r] += dw[j] * (u[j] - (frozen ? seen_at_start[j] : 0));
        dr[j] = -erase(r) * dw[j];
        d_frozen[j] = frozen ? -theta(r) * dw[j] : 0;
      }
      nl_testing::AddTo(nl_testing::TimesTransposed(dr.data(), before.data(), dk_, dv), dk_row);
      nl_testing::AddTo(nl_testing::TimesTransposed(d_frozen.data(), start.data(), dk_, dv),
                        dk_row);
      nl_testing::AddOuter(1, k.data(), d_frozen.data(), dk_, dv, d_start.data());
      for (double& value : ds) value *= alpha(r);
      nl_testing::AddOuter(1, k.data(), dr.data(), dk_, dv, ds.data());
      for (double& value : dp) value *= mu(r);
      if (!after) nl_testing::AddOuter(scale, q.data(), d_o.data(), dk_, dv, ds.data());
      if (t % c.chunk == 0) {
        nl_testing::AddTo(d_start, ds.data());
        d_start.assign(size, 0);
      }
    }
    std::copy(ds.begin(), ds.end(), ds0.begin() + head * size);
    std::copy(dp.begin(), dp.end(), dp0.begin() + head * size);
  }

  Case c;
  Doubles o, s, p, dq, dk, du, d_log_alpha, d_erase, d_mu, d_theta, ds0, dp0;
};

void ExpectForward(const Reference& expected, const Tensors& x) {
  const std::string name = x.shape.Name();
  nl_testing::ExpectClose(expected.o, x.o, nl_testing::kScanTolerance, name + " o");
  nl_testing::ExpectClose(expected.s, x.s, nl_testing::kScanTolerance, name + " s");
  if (x.shape.momentum)
    nl_testing::ExpectClose(expected.p, x.p, nl_testing::kScanTolerance, name + " p");
  x.states.ExpectGuardsUntouched();
  x.momenta.ExpectGuardsUntouched();
}

void ExpectBackward(const Reference& expected, const Tensors& x) {
  const Case& c = x.shape;
  const std::string name = c.Name();
  const double tolerance = nl_testing::kScanGradientTolerance;
  nl_testing::ExpectClose(expected.dq, x.dq, tolerance, name + " dq");
  nl_testing::ExpectClose(expected.dk, x.dk, tolerance, name + " dk");
  nl_testing::ExpectClose(expected.du, x.du, tolerance, name + " du");
  if (c.decay)
    nl_testing::ExpectClose(expected.d_log_alpha, x.d_log_alpha, tolerance, name + " d_log_alpha");
  if (c.erase) nl_testing::ExpectClose(expected.d_erase, x.d_erase, tolerance, name + " d_erase");
  if (c.momentum) nl_testing::ExpectClose(expected.d_mu, x.d_mu, tolerance, name + " d_mu");
  if (c.write != NL_WRITE_GIVEN)
    nl_testing::ExpectClose(expected.d_theta, x.d_theta, tolerance, name + " d_theta");
  nl_testing::ExpectClose(expected.ds0, x.ds0, tolerance, name + " ds0");
  if (c.momentum) nl_testing::ExpectClose(expected.dp0, x.dp0, tolerance, name + " dp0");
}

void ExpectBoth(const Case& c) {
  Tensors x(c);
  const Reference expected(x);
  x.Forward();
  x.Backward();
  ExpectForward(expected, x);
  ExpectBackward(expected, x);
}

// Sizes around vectors, tiles, segments and chunks.
const Case kShapes[] = {
    {1, 1, 1, 1, 1, 4},      {2, 9, 3, 3, 17, 8},   {1, 8, 2, 17, 3, 8},    {1, 7, 1, 24, 40, 8},
    {1, 70, 2, 8, 12, 64},   {1, 63, 1, 5, 33, 64}, {1, 65, 1, 16, 16, 64}, {2, 33, 2, 12, 20, 32},
    {1, 100, 1, 6, 10, 256}, {1, 5, 1, 2, 150, 2},  {1, 4, 1, 40, 65, 1},   {3, 31, 3, 9, 31, 16},
};

TEST_P(Scan, Results_MatchTheReferenceForEveryShape) {
  for (Case c : kShapes) {
    for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE}) {
      c.read = read;
      ExpectBoth(c);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Scan, Results_MatchTheReferenceForEveryRule) {
  for (int gates = 0; gates < 32; ++gates) {
    for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE}) {
      for (int32_t write : {NL_WRITE_GIVEN, NL_WRITE_SCALED, NL_WRITE_FROZEN_L2}) {
        Case c = {1, 45, 2, 10, 18, 16, read, write};
        c.decay = gates & 1;
        c.erase = gates & 2;
        c.momentum = gates & 4;
        c.states = gates & 8;
        c.resets = gates & 16;
        ExpectBoth(c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// One token without saved states goes another way.
TEST_P(Scan, OneToken_MatchesTheReferenceAndMayBeInPlace) {
  const std::pair<int32_t, int32_t> sizes[] = {{1, 1},   {3, 17},  {16, 8},
                                               {17, 70}, {64, 64}, {5, 150}};
  for (int gates = 0; gates < 32; ++gates) {
    for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE}) {
      for (int32_t write : {NL_WRITE_GIVEN, NL_WRITE_SCALED, NL_WRITE_FROZEN_L2}) {
        const auto [dk, dv] = sizes[(gates + read + write) % std::size(sizes)];
        Case c = {2, 1, 3, dk, dv, 16, read, write};
        c.decay = gates & 1;
        c.erase = gates & 2;
        c.momentum = gates & 4;
        c.states = gates & 8;
        c.resets = gates & 16;
        Tensors x(c), in_place(c);
        const Reference expected(x);
        const auto run = [](const nl_scan_arguments& a) {
          int64_t pieces, floats;
          EXPECT_OK(nl_scan_forward_pieces(&a, &pieces));
          EXPECT_OK(nl_scan_forward_workspace(&a, &floats));
          Buffer workspace(floats);
          EXPECT_OK(nl_scan_forward(&a, 0, pieces, workspace.data()));
        };
        auto a = x.Arguments();
        a.states = a.momenta = nullptr;
        run(a);
        ExpectForward(expected, x);
        if (HasFatalFailure()) return;
        if (!c.states) continue;
        a = in_place.Arguments();
        a.states = a.momenta = nullptr;
        a.s = in_place.s0.data();
        if (c.momentum) a.p = in_place.p0.data();
        run(a);
        nl_testing::ExpectSameBits(x.o, in_place.o, c.Name() + " o");
        nl_testing::ExpectSameBits(x.s, in_place.s0, c.Name() + " s");
        if (c.momentum) nl_testing::ExpectSameBits(x.p, in_place.p0, c.Name() + " p");
      }
    }
  }
}

TEST_P(Scan, FrozenWrites_MatchTheReferenceForLongChunks) {
  for (int32_t chunk : {33, 64, 100}) {
    ExpectBoth({1, 101, 1, 6, 19, chunk, NL_READ_BEFORE, NL_WRITE_FROZEN_L2});
    if (HasFatalFailure()) return;
  }
}

TEST_P(Scan, FrozenStreamCutAnywhere_IsTheWholeStream) {
  // Backward too: gradients of the second part's memory arrive at the first part's results.
  for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE, NL_READ_CHUNK_START}) {
    for (int32_t cut : {1, 7, 8, 13, 23}) {
      for (bool erase : {false, true}) {
        const Case c = {1, 24, 2, 7, 19, 8, read, NL_WRITE_FROZEN_L2, true, erase, erase};
        const std::string name = c.Name() + " cut " + std::to_string(cut);
        Tensors whole(c), x(c);
        whole.Forward();
        whole.Backward();
        Buffer s(c.state()), p(c.state()), start(c.state());
        Buffer d_s(c.state()), d_p(c.state()), d_start(c.state());
        Buffer states(c.state() * (c.chunks() + 1)), momenta(c.state() * (c.chunks() + 1));
        const int64_t keys = cut * c.heads * c.dk, values = cut * c.heads * c.dv;
        const int64_t gates = cut * c.heads;
        const bool inside = cut % c.chunk != 0;
        auto first = x.Arguments(), second = first;
        first.time = cut;
        first.s = s.data();
        if (c.momentum) first.p = p.data();
        first.next_chunk_start = start.data();
        second.time = c.time - cut;
        second.phase = cut % c.chunk;
        second.q += keys;
        second.k += keys;
        second.u += values;
        second.o += values;
        second.log_alpha += gates;
        second.theta += gates;
        if (c.erase) second.erase += gates;
        second.s0 = s.data();
        second.chunk_start = inside ? start.data() : nullptr;
        second.states = states.data();
        auto to_first = x.Gradients(), to_second = to_first;
        to_second.d_o += values;
        to_second.dq += keys;
        to_second.dk += keys;
        to_second.du += values;
        to_second.d_log_alpha += gates;
        to_second.d_theta += gates;
        if (c.erase) to_second.d_erase += gates;
        to_second.ds0 = d_s.data();
        to_second.d_chunk_start = inside ? d_start.data() : nullptr;
        to_first.d_s = d_s.data();
        to_first.d_next_chunk_start = inside ? d_start.data() : nullptr;
        if (c.momentum) {
          second.mu += gates;
          second.p0 = p.data();
          second.momenta = momenta.data();
          to_second.d_mu += gates;
          to_second.dp0 = d_p.data();
          to_first.d_p = d_p.data();
        }
        for (auto* a : {&first, &second}) {
          int64_t pieces, floats;
          EXPECT_OK(nl_scan_forward_pieces(a, &pieces));
          EXPECT_OK(nl_scan_forward_workspace(a, &floats));
          Buffer workspace(floats);
          EXPECT_OK(nl_scan_forward(a, 0, pieces, workspace.data()));
        }
        const auto backward = [&](const nl_scan_arguments& a, const nl_scan_gradients& g) {
          int64_t floats;
          EXPECT_OK(nl_scan_backward_workspace(&a, &floats));
          Buffer workspace(floats);
          EXPECT_OK(nl_scan_backward(&a, &g, 0, c.heads, workspace.data()));
        };
        backward(second, to_second);
        backward(first, to_first);
        const auto close = [&](const Buffer& expected, const Buffer& actual, double tolerance) {
          nl_testing::ExpectClose(nl_testing::ToDoubles(expected), actual, tolerance, name);
        };
        close(whole.o, x.o, nl_testing::kScanTolerance);
        close(whole.s, x.s, nl_testing::kScanTolerance);
        const double tolerance = nl_testing::kScanGradientTolerance;
        close(whole.dq, x.dq, tolerance);
        close(whole.dk, x.dk, tolerance);
        close(whole.du, x.du, tolerance);
        close(whole.d_log_alpha, x.d_log_alpha, tolerance);
        close(whole.d_theta, x.d_theta, tolerance);
        if (c.erase) close(whole.d_erase, x.d_erase, tolerance);
        if (c.momentum) close(whole.d_mu, x.d_mu, tolerance);
        close(whole.ds0, x.ds0, tolerance);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(Scan, TotalDecay_ForgetsAndHasNoGradient) {
  Case c = {1, 70, 1, 8, 8, 64};
  c.momentum = false;
  Tensors x(c);
  for (int64_t t : {10, 40, 64}) x.log_alpha[t] = -std::numeric_limits<float>::infinity();
  x.Forward();
  x.Backward();
  for (int64_t t : {10, 40, 64}) EXPECT_EQ(0.0f, x.d_log_alpha[t]);
  // Only the last reset's tokens are left in the final state.
  for (float& value : std::vector<std::reference_wrapper<float>>{x.u[0], x.k[5], x.s0[3]})
    value += 1;
  const Buffer s = x.s;
  x.Forward();
  nl_testing::ExpectClose(nl_testing::ToDoubles(s), x.s, nl_testing::kScanTolerance, "s");
}

TEST_P(Scan, ChunkLength_DoesNotChangeResults) {
  Case c = {1, 90, 2, 12, 20, 64};
  Tensors first(c);
  first.Forward();
  first.Backward();
  for (int32_t chunk : {1, 7, 32, 256}) {
    c.chunk = chunk;
    Tensors other(c);
    other.Forward();
    other.Backward();
    nl_testing::ExpectClose(nl_testing::ToDoubles(first.o), other.o, nl_testing::kScanTolerance,
                            "o");
    nl_testing::ExpectClose(nl_testing::ToDoubles(first.dk), other.dk,
                            nl_testing::kScanGradientTolerance, "dk");
    nl_testing::ExpectClose(nl_testing::ToDoubles(first.d_log_alpha), other.d_log_alpha,
                            nl_testing::kScanGradientTolerance, "d_log_alpha");
  }
}

TEST_P(Scan, Pieces_DoNotChangeBits) {
  for (const Case& c :
       {Case{2, 37, 3, 12, 20, 16}, Case{1, 37, 1, 12, 150, 16}, Case{2, 37, 5, 12, 70, 16}}) {
    Tensors whole(c), cut(c);
    whole.Forward();
    whole.Backward();
    const auto a = cut.Arguments();
    const auto g = cut.Gradients();
    int64_t pieces, forward, backward;
    EXPECT_OK(nl_scan_forward_pieces(&a, &pieces));
    EXPECT_OK(nl_scan_forward_workspace(&a, &forward));
    EXPECT_OK(nl_scan_backward_workspace(&a, &backward));
    for (int64_t piece = pieces; piece-- > 0;) {
      Buffer workspace(forward);
      EXPECT_OK(nl_scan_forward(&a, piece, piece + 1, workspace.data()));
    }
    for (int64_t piece = int64_t{c.batch} * c.heads; piece-- > 0;) {
      Buffer workspace(backward);
      EXPECT_OK(nl_scan_backward(&a, &g, piece, piece + 1, workspace.data()));
    }
    nl_testing::ExpectSameBits(whole.o, cut.o, "o");
    nl_testing::ExpectSameBits(whole.s, cut.s, "s");
    nl_testing::ExpectSameBits(whole.p, cut.p, "p");
    nl_testing::ExpectSameBits(whole.states, cut.states, "states");
    nl_testing::ExpectSameBits(whole.dq, cut.dq, "dq");
    nl_testing::ExpectSameBits(whole.dk, cut.dk, "dk");
    nl_testing::ExpectSameBits(whole.d_log_alpha, cut.d_log_alpha, "d_log_alpha");
    nl_testing::ExpectSameBits(whole.ds0, cut.ds0, "ds0");
  }
}

TEST_P(Scan, States_AreThoseAtTheChunksStarts) {
  const Case c = {1, 21, 1, 6, 9, 8};
  Tensors x(c);
  x.Forward();
  const int64_t size = c.state();
  for (int64_t i = 0; i < size; ++i) EXPECT_EQ(x.s0[i], x.states[i]);
  for (int32_t chunk = 1; chunk < 3; ++chunk) {
    Case head = c;
    head.time = 8 * chunk;
    Tensors part(head);
    part.Forward();
    for (int64_t i = 0; i < size; ++i) {
      EXPECT_EQ(part.s[i], x.states[chunk * size + i]);
      EXPECT_EQ(part.p[i], x.momenta[chunk * size + i]);
    }
  }
}

TEST_P(Scan, FinalState_MayReplaceTheInitialOne) {
  const Case c = {2, 19, 2, 7, 21, 8};
  Tensors apart(c), in_place(c);
  apart.Forward();
  auto a = in_place.Arguments();
  a.s = in_place.s0.data();
  a.p = in_place.p0.data();
  int64_t pieces, floats;
  EXPECT_OK(nl_scan_forward_pieces(&a, &pieces));
  EXPECT_OK(nl_scan_forward_workspace(&a, &floats));
  Buffer workspace(floats);
  EXPECT_OK(nl_scan_forward(&a, 0, pieces, workspace.data()));
  nl_testing::ExpectSameBits(apart.o, in_place.o, "o");
  nl_testing::ExpectSameBits(apart.s, in_place.s0, "s");
  nl_testing::ExpectSameBits(apart.p, in_place.p0, "p");
}

TEST_P(Scan, NoTokens_PassStatesThrough) {
  Case c = {1, 0, 2, 3, 5, 8};
  Tensors x(c);
  x.Forward();
  x.Backward();
  for (int64_t i = 0; i < c.state(); ++i) {
    EXPECT_EQ(x.s0[i], x.s[i]);
    EXPECT_EQ(x.p0[i], x.p[i]);
    EXPECT_EQ(x.d_s[i], x.ds0[i]);
    EXPECT_EQ(x.d_p[i], x.dp0[i]);
  }
}

TEST_P(Scan, MissingUpstreamGradients_AreZero) {
  const Case c = {1, 40, 2, 6, 10, 16};
  Tensors missing(c), zero(c);
  missing.Forward();
  zero.Forward();
  for (auto* buffer : {&zero.d_o, &zero.d_s, &zero.d_p})
    std::fill_n(buffer->data(), buffer->count(), 0.0f);
  // Each of the three given alone.
  for (int given = 0; given < 3; ++given) {
    auto g = missing.Gradients();
    if (given != 0) g.d_o = nullptr;
    if (given != 1) g.d_s = nullptr;
    if (given != 2) g.d_p = nullptr;
    Tensors filled = zero;
    if (given == 0) filled.d_o = missing.d_o;
    if (given == 1) filled.d_s = missing.d_s;
    if (given == 2) filled.d_p = missing.d_p;
    const auto a = missing.Arguments();
    int64_t floats;
    EXPECT_OK(nl_scan_backward_workspace(&a, &floats));
    Buffer workspace(floats);
    EXPECT_OK(nl_scan_backward(&a, &g, 0, 2, workspace.data()));
    filled.Backward();
    const double tolerance = nl_testing::kScanGradientTolerance;
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.dq), missing.dq, tolerance, "dq");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.dk), missing.dk, tolerance, "dk");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.du), missing.du, tolerance, "du");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.d_mu), missing.d_mu, tolerance, "d_mu");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.ds0), missing.ds0, tolerance, "ds0");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.dp0), missing.dp0, tolerance, "dp0");
  }
}

TEST_P(Scan, UnwantedGradients_ChangeNothingElse) {
  const Case c = {1, 40, 1, 6, 10, 16};
  Tensors all(c), some(c);
  all.Forward();
  all.Backward();
  some.Forward();
  const auto a = some.Arguments();
  auto g = some.Gradients();
  g.d_log_alpha = g.d_mu = g.dq = g.ds0 = nullptr;
  int64_t floats;
  EXPECT_OK(nl_scan_backward_workspace(&a, &floats));
  Buffer workspace(floats);
  EXPECT_OK(nl_scan_backward(&a, &g, 0, 1, workspace.data()));
  nl_testing::ExpectSameBits(all.dk, some.dk, "dk");
  nl_testing::ExpectSameBits(all.du, some.du, "du");
  nl_testing::ExpectSameBits(all.d_erase, some.d_erase, "d_erase");
  nl_testing::ExpectSameBits(all.dp0, some.dp0, "dp0");
  for (const auto* buffer : {&some.d_log_alpha, &some.d_mu, &some.dq, &some.ds0}) {
    for (int64_t i = 0; i < buffer->count(); ++i) EXPECT_TRUE(std::isnan((*buffer)[i]));
  }
}

TEST_P(Scan, Nan_ReachesLaterTokensOnly) {
  const Case c = {1, 40, 1, 8, 8, 32};
  Tensors x(c);
  const int64_t at = 13;
  x.u[at * c.dv + 2] = std::numeric_limits<float>::quiet_NaN();
  x.Forward();
  for (int64_t t = 0; t < c.time; ++t) {
    for (int64_t j = 0; j < c.dv; ++j) {
      EXPECT_EQ(t >= at && j == 2, std::isnan(x.o[t * c.dv + j]))
          << "token " << t << " column " << j;
    }
  }
  EXPECT_TRUE(std::isnan(x.s[2]));
}

TEST_P(Scan, BadArguments_AreRefused) {
  Tensors x({1, 4, 1, 3, 3, 4});
  Buffer workspace(1);
  auto a = x.Arguments();
  a.chunk = 257;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("chunk is 257, expected 1 to 256", nl_last_error());
  a = x.Arguments();
  a.write = NL_WRITE_SCALED;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("theta is null", nl_last_error());
  a = x.Arguments();
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_forward(&a, 0, 2, workspace.data()));
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_forward(&a, 0, 1, nullptr));
  EXPECT_STREQ("workspace is null", nl_last_error());
  auto g = x.Gradients();
  a.states = nullptr;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_backward(&a, &g, 0, 1, workspace.data()));
  EXPECT_STREQ("states is null", nl_last_error());
  for (int64_t i = 0; i < x.o.count(); ++i) EXPECT_TRUE(std::isnan(x.o[i]));
}

NL_TEST_TARGETS(Scan);

}  // namespace
