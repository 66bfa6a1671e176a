// Cases of the scan: their tensors, calls of both passes, and the recurrence in float64.
#ifndef NESTED_LEARNING_TESTS_SCAN_SCAN_TESTING_H_
#define NESTED_LEARNING_TESTS_SCAN_SCAN_TESTING_H_

#include <cmath>
#include <string>
#include <vector>

#include "tests/reference.h"

namespace nl_testing {

struct ScanCase {
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
struct ScanTensors {
  explicit ScanTensors(const ScanCase& c)
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

  static float KeySize(const ScanCase& c) { return 1.7f / std::sqrt(static_cast<float>(c.dk)); }

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
  ScanCase shape;
  Buffer q, k, u, log_alpha, erase, mu, theta, s0, p0, d_o, d_s, d_p;
  Buffer o, s, p, states, momenta;
  Buffer dq, dk, du, d_log_alpha, d_erase, d_mu, d_theta, ds0, dp0;
};

// The recurrence and its token-form gradient in float64, one token after the other.
struct ScanReference {
  explicit ScanReference(const ScanTensors& x)
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

  void Head(const ScanTensors& x, int32_t b, int32_t h) {
    const int64_t dk_ = c.dk, dv = c.dv, size = dk_ * dv, head = int64_t{b} * c.heads + h;
    const bool after = c.read == NL_READ_AFTER;
    const double scale = ScanTensors::kScale;
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
      const Doubles seen = Times(k.data(), states[t].data(), dk_, dv);
      const Doubles seen_at_start = Times(k.data(), start.data(), dk_, dv);
      Doubles w(dv);
      for (int64_t j = 0; j < dv; ++j) {
        w[j] = theta(r) * (u[j] - (frozen ? seen_at_start[j] : 0)) - erase(r) * seen[j];
      }
      Doubles next_p = momenta[t], next_s = states[t];
      for (double& value : next_p) value *= mu(r);
      AddOuter(1, k.data(), w.data(), dk_, dv, next_p.data());
      for (int64_t i = 0; i < size; ++i) next_s[i] = alpha(r) * next_s[i] + next_p[i];
      const Doubles read = Times(q.data(), after ? next_s.data() : states[t].data(), dk_, dv);
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
          TimesTransposed(d_o.data(), (after ? states[t + 1] : before).data(), dk_, dv);
      for (int64_t i = 0; i < dk_; ++i) dq[r * dk_ + i] = scale * query[i];
      if (after) AddOuter(scale, q.data(), d_o.data(), dk_, dv, ds.data());
      for (int64_t i = 0; i < size; ++i) dp[i] += ds[i];
      d_log_alpha[r] = alpha(r) * Inner(ds.data(), before.data(), size);
      d_mu[r] = Inner(dp.data(), momenta[t].data(), size);
      const Doubles dw = Times(k.data(), dp.data(), dk_, dv);
      double* dk_row = &dk[r * dk_];
      AddTo(TimesTransposed(writes[t].data(), dp.data(), dk_, dv), dk_row);
      const Doubles seen = Times(k.data(), before.data(), dk_, dv);
      const Doubles seen_at_start = Times(k.data(), start.data(), dk_, dv);
      d_erase[r] = -Inner(dw.data(), seen.data(), dv);
      Doubles dr(dv), d_frozen(dv);
      for (int64_t j = 0; j < dv; ++j) {
        du[r * dv + j] = theta(r) * dw[j];
        d_theta[r] += dw[j] * (u[j] - (frozen ? seen_at_start[j] : 0));
        dr[j] = -erase(r) * dw[j];
        d_frozen[j] = frozen ? -theta(r) * dw[j] : 0;
      }
      AddTo(TimesTransposed(dr.data(), before.data(), dk_, dv), dk_row);
      AddTo(TimesTransposed(d_frozen.data(), start.data(), dk_, dv), dk_row);
      AddOuter(1, k.data(), d_frozen.data(), dk_, dv, d_start.data());
      for (double& value : ds) value *= alpha(r);
      AddOuter(1, k.data(), dr.data(), dk_, dv, ds.data());
      for (double& value : dp) value *= mu(r);
      if (!after) AddOuter(scale, q.data(), d_o.data(), dk_, dv, ds.data());
      if (t % c.chunk == 0) {
        AddTo(d_start, ds.data());
        d_start.assign(size, 0);
      }
    }
    std::copy(ds.begin(), ds.end(), ds0.begin() + head * size);
    std::copy(dp.begin(), dp.end(), dp0.begin() + head * size);
  }

  ScanCase c;
  Doubles o, s, p, dq, dk, du, d_log_alpha, d_erase, d_mu, d_theta, ds0, dp0;
};

inline void ExpectScanForward(const ScanReference& expected, const ScanTensors& x) {
  const std::string name = x.shape.Name();
  ExpectClose(expected.o, x.o, kScanTolerance, name + " o");
  ExpectClose(expected.s, x.s, kScanTolerance, name + " s");
  if (x.shape.momentum) ExpectClose(expected.p, x.p, kScanTolerance, name + " p");
  x.states.ExpectGuardsUntouched();
  x.momenta.ExpectGuardsUntouched();
}

inline void ExpectScanBackward(const ScanReference& expected, const ScanTensors& x) {
  const ScanCase& c = x.shape;
  const std::string name = c.Name();
  const double tolerance = kScanGradientTolerance;
  ExpectClose(expected.dq, x.dq, tolerance, name + " dq");
  ExpectClose(expected.dk, x.dk, tolerance, name + " dk");
  ExpectClose(expected.du, x.du, tolerance, name + " du");
  if (c.decay) ExpectClose(expected.d_log_alpha, x.d_log_alpha, tolerance, name + " d_log_alpha");
  if (c.erase) ExpectClose(expected.d_erase, x.d_erase, tolerance, name + " d_erase");
  if (c.momentum) ExpectClose(expected.d_mu, x.d_mu, tolerance, name + " d_mu");
  if (c.write != NL_WRITE_GIVEN)
    ExpectClose(expected.d_theta, x.d_theta, tolerance, name + " d_theta");
  ExpectClose(expected.ds0, x.ds0, tolerance, name + " ds0");
  if (c.momentum) ExpectClose(expected.dp0, x.dp0, tolerance, name + " dp0");
}

inline void ExpectScanBoth(const ScanCase& c) {
  ScanTensors x(c);
  const ScanReference expected(x);
  x.Forward();
  x.Backward();
  ExpectScanForward(expected, x);
  ExpectScanBackward(expected, x);
}

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_SCAN_SCAN_TESTING_H_
