// Cases of the deep memory: their tensors, calls of both passes, and the recurrence in float64.
#ifndef NESTED_LEARNING_TESTS_DEEP_MEMORY_DEEP_MEMORY_TESTING_H_
#define NESTED_LEARNING_TESTS_DEEP_MEMORY_DEEP_MEMORY_TESTING_H_

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/reference.h"

namespace nl_testing {

constexpr double kNormEpsilon = 1e-6;

struct DeepMemoryCase {
  int32_t batch, time, heads, dim, hidden, chunk;
  int32_t phase = 0, objective = NL_OBJECTIVE_L2, read = NL_READ_AFTER, residual = 1;
  bool gates = true, erases = true, momentum = true;
  float lowest_log_alpha = -0.35f;

  // So small that a chunk's steps at frozen weights do not shoot past their targets.
  float largest_theta() const {
    const float tokens = static_cast<float>(std::min(chunk, std::max(1, time + phase)));
    return 0.4f / (1 + hidden / 4.0f) / (1 + dim / 12.0f) * std::min(1.0f, 4 / tokens);
  }
  int64_t tokens() const { return int64_t{batch} * time * heads; }
  int64_t weights() const { return int64_t{dim} * hidden; }
  int64_t all_weights() const { return int64_t{batch} * heads * weights(); }
  int64_t chunks() const { return time == 0 ? 0 : (phase + time + chunk - 1) / chunk; }
  std::string Name() const {
    return std::to_string(batch) + "x" + std::to_string(time) + "x" + std::to_string(heads) + "x" +
           std::to_string(dim) + " hidden " + std::to_string(hidden) + " chunk " +
           std::to_string(chunk) + " phase " + std::to_string(phase) + " objective " +
           std::to_string(objective) + " read " + std::to_string(read) + " residual " +
           std::to_string(residual) + (gates ? " gates" : "") + (erases ? " erases" : "") +
           (momentum ? " momentum" : "");
  }
};

// The state of a memory or gradients to it: W1, W2, P1, P2 and the weights at the chunk's start.
enum { kW1, kW2, kP1, kP2, kStart1, kStart2, kStates };
inline const char* const kStateNames[kStates] = {"w1", "w2", "p1", "p2", "start1", "start2"};

struct DeepMemoryTensors {
  explicit DeepMemoryTensors(const DeepMemoryCase& c)
      : shape(c),
        q(Buffer::Uniform(c.tokens() * c.dim, 1, -1, 1, 1)),
        k(Buffer::Uniform(c.tokens() * c.dim, 2)),
        v(Buffer::Uniform(c.tokens() * c.dim, 3, -1, 1, 3)),
        log_alpha(Buffer::Uniform(c.tokens(), 4, c.lowest_log_alpha, 0)),
        theta(Buffer::Uniform(c.tokens(), 5, c.largest_theta() / 8, c.largest_theta())),
        erase(Buffer::Uniform(c.tokens(), 6, 0, 0.9f)),
        mu(Buffer::Uniform(c.tokens(), 7, 0, 0.7f)),
        d_o(Buffer::Uniform(c.tokens() * c.dim, 8)),
        o(c.tokens() * c.dim, 1),
        dq(c.tokens() * c.dim, 3),
        dk(c.tokens() * c.dim),
        dv(c.tokens() * c.dim, 1),
        d_log_alpha(c.tokens()),
        d_theta(c.tokens()),
        d_erase(c.tokens()),
        d_mu(c.tokens()) {
    for (int i = 0; i < kStates; ++i) {
      const bool second = i % 2 == 1;
      const float fan = 1.5f / std::sqrt(static_cast<float>(second ? c.dim : c.hidden));
      const float bound = i == kP1 || i == kP2 ? 0.3f : fan;
      start.push_back(Buffer::Uniform(c.all_weights(), 10 + i, -bound, bound, i % 3));
      final.emplace_back(c.all_weights(), i % 2);
      d_final.push_back(Buffer::Uniform(c.all_weights(), 20 + i));
      d_start.emplace_back(c.all_weights());
      if (i < kStart1) saved.emplace_back(c.all_weights() * c.chunks());
    }
  }

  nl_deep_memory_arguments Arguments() {
    nl_deep_memory_arguments a = {};
    a.size = sizeof(a);
    a.batch = shape.batch;
    a.time = shape.time;
    a.heads = shape.heads;
    a.dim = shape.dim;
    a.hidden = shape.hidden;
    a.chunk = shape.chunk;
    a.phase = shape.phase;
    a.objective = shape.objective;
    a.read = shape.read;
    a.flags = shape.residual ? NL_DEEP_MEMORY_RESIDUAL : 0;
    a.norm_epsilon = static_cast<float>(kNormEpsilon);
    a.q = q.data();
    a.k = k.data();
    a.v = v.data();
    if (shape.gates) {
      a.log_alpha = log_alpha.data();
      a.theta = theta.data();
    }
    if (shape.erases) a.erase = erase.data();
    a.w1_start = start[kW1].data();
    a.w2_start = start[kW2].data();
    if (shape.phase > 0) {
      a.chunk_start1 = start[kStart1].data();
      a.chunk_start2 = start[kStart2].data();
    }
    a.o = o.data();
    a.w1 = final[kW1].data();
    a.w2 = final[kW2].data();
    a.next_chunk_start1 = final[kStart1].data();
    a.next_chunk_start2 = final[kStart2].data();
    a.saved_w1 = saved[kW1].data();
    a.saved_w2 = saved[kW2].data();
    if (shape.momentum) {
      a.mu = mu.data();
      a.p1_start = start[kP1].data();
      a.p2_start = start[kP2].data();
      a.p1 = final[kP1].data();
      a.p2 = final[kP2].data();
      a.saved_p1 = saved[kP1].data();
      a.saved_p2 = saved[kP2].data();
    }
    return a;
  }

  nl_deep_memory_gradients Gradients() {
    nl_deep_memory_gradients g = {};
    g.size = sizeof(g);
    g.d_o = d_o.data();
    g.d_w1 = d_final[kW1].data();
    g.d_w2 = d_final[kW2].data();
    g.d_next_chunk_start1 = d_final[kStart1].data();
    g.d_next_chunk_start2 = d_final[kStart2].data();
    g.dq = dq.data();
    g.dk = dk.data();
    g.dv = dv.data();
    if (shape.gates) {
      g.d_log_alpha = d_log_alpha.data();
      g.d_theta = d_theta.data();
    }
    if (shape.erases) g.d_erase = d_erase.data();
    g.d_w1_start = d_start[kW1].data();
    g.d_w2_start = d_start[kW2].data();
    g.d_chunk_start1 = d_start[kStart1].data();
    g.d_chunk_start2 = d_start[kStart2].data();
    if (shape.momentum) {
      g.d_p1 = d_final[kP1].data();
      g.d_p2 = d_final[kP2].data();
      g.d_mu = d_mu.data();
      g.d_p1_start = d_start[kP1].data();
      g.d_p2_start = d_start[kP2].data();
    }
    return g;
  }

  int64_t heads() const { return int64_t{shape.batch} * shape.heads; }

  void Forward() {
    const auto a = Arguments();
    int64_t floats;
    ASSERT_EQ(NL_OK, nl_deep_memory_forward_workspace(&a, &floats)) << nl_last_error();
    Buffer workspace(floats, 1);
    ASSERT_EQ(NL_OK, nl_deep_memory_forward(&a, 0, heads(), workspace.data())) << nl_last_error();
    workspace.ExpectGuardsUntouched();
  }

  void Backward() { Backward(Gradients()); }

  void Backward(const nl_deep_memory_gradients& g) {
    const auto a = Arguments();
    int64_t floats;
    ASSERT_EQ(NL_OK, nl_deep_memory_backward_workspace(&a, &floats)) << nl_last_error();
    Buffer workspace(floats, 1);
    ASSERT_EQ(NL_OK, nl_deep_memory_backward(&a, &g, 0, heads(), workspace.data()))
        << nl_last_error();
    workspace.ExpectGuardsUntouched();
  }

  // Every output and every gradient of what is given.
  std::vector<std::pair<std::string, const Buffer*>> Results() const {
    std::vector<std::pair<std::string, const Buffer*>> all = {
        {"o", &o}, {"dq", &dq}, {"dk", &dk}, {"dv", &dv}};
    if (shape.gates) all.push_back({"d_log_alpha", &d_log_alpha});
    if (shape.gates) all.push_back({"d_theta", &d_theta});
    if (shape.erases) all.push_back({"d_erase", &d_erase});
    if (shape.momentum) all.push_back({"d_mu", &d_mu});
    for (int i = 0; i < kStates; ++i) {
      if ((i == kP1 || i == kP2) && !shape.momentum) continue;
      all.push_back({kStateNames[i], &final[i]});
      all.push_back({std::string("d_") + kStateNames[i], &d_start[i]});
      if (i < kStart1) all.push_back({std::string("saved ") + kStateNames[i], &saved[i]});
    }
    return all;
  }

  DeepMemoryCase shape;
  Buffer q, k, v, log_alpha, theta, erase, mu, d_o;
  Buffer o, dq, dk, dv, d_log_alpha, d_theta, d_erase, d_mu;
  std::vector<Buffer> start, final, d_final, d_start, saved;
};

inline double NormalCdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
inline double Density(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * std::acos(-1.0)); }
inline double Gelu(double x) { return x * NormalCdf(x); }
inline double Slope(double x) { return NormalCdf(x) + x * Density(x); }
inline double Curvature(double x) { return (2 - x * x) * Density(x); }

template <class TFunction>
inline Doubles Map(const Doubles& x, TFunction f) {
  Doubles y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = f(x[i]);
  return y;
}

inline Doubles Scaled(double factor, const Doubles& x) {
  return Map(x, [=](double value) { return factor * value; });
}

inline Doubles Multiply(const Doubles& x, const Doubles& y) {
  Doubles z(x.size());
  for (size_t i = 0; i < x.size(); ++i) z[i] = x[i] * y[i];
  return z;
}

inline void Add(double factor, const Doubles& x, double* sum) {
  for (size_t i = 0; i < x.size(); ++i) sum[i] += factor * x[i];
}

inline Doubles Times(const Doubles& x, const Doubles& m) {
  return Times(x.data(), m.data(), x.size(), m.size() / x.size());
}

inline Doubles TimesTransposed(const Doubles& y, const Doubles& m) {
  return TimesTransposed(y.data(), m.data(), m.size() / y.size(), y.size());
}

inline void AddOuter(const Doubles& x, const Doubles& y, Doubles& m) {
  AddOuter(1, x.data(), y.data(), x.size(), y.size(), m.data());
}

inline double Inner(const Doubles& x, const Doubles& y) {
  return Inner(x.data(), y.data(), x.size());
}

// Token by token in float64, and its gradient in token form, one layer's memory after the other.
struct DeepMemoryReference {
  explicit DeepMemoryReference(const DeepMemoryTensors& t)
      : in(t),
        c(t.shape),
        o(c.tokens() * c.dim),
        dq(o.size()),
        dk(o.size()),
        dv(o.size()),
        d_log_alpha(c.tokens()),
        d_theta(c.tokens()),
        d_erase(c.tokens()),
        d_mu(c.tokens()),
        final(kStates, Doubles(c.all_weights())),
        d_start(final),
        saved(kStart1, Doubles(c.all_weights() * c.chunks())) {
    for (int64_t head = 0; head < t.heads(); ++head) Head(head);
  }

  struct Token {
    Doubles q, k, z, h, error, back, step;
    double theta, alpha, erase, mu;
    double norm[2];
    Doubles key[2], u[2];
  };

  // W and P of a layer before each token and after the last.
  struct Layer {
    std::vector<Doubles> w, p;
  };

  Doubles Part(const Buffer& all, int64_t index, int64_t size) const {
    return Doubles(all.data() + index * size, all.data() + (index + 1) * size);
  }

  static double Norm(const Doubles& x) {
    return std::sqrt(Inner(x, x) + kNormEpsilon * kNormEpsilon);
  }

  Token TokenAt(int64_t row, const Doubles& start1, const Doubles& start2) const {
    Token x;
    x.q = Part(in.q, row, c.dim);
    x.k = Part(in.k, row, c.dim);
    x.theta = c.gates ? in.theta[row] : 1;
    x.alpha = c.gates ? std::exp(static_cast<double>(in.log_alpha[row])) : 1;
    x.erase = c.erases ? in.erase[row] : 0;
    x.mu = c.momentum ? in.mu[row] : 0;
    x.z = Times(x.k, start2);
    x.h = Map(x.z, Gelu);
    x.error = Scaled(-1, Part(in.v, row, c.dim));
    if (c.objective == NL_OBJECTIVE_L2) {
      Add(1, Times(x.h, start1), x.error.data());
      if (c.residual) Add(1, x.k, x.error.data());
    }
    x.back = TimesTransposed(x.error, start1);
    x.step = Multiply(x.back, Map(x.z, Slope));
    x.norm[0] = Norm(x.h);
    x.norm[1] = Norm(x.k);
    x.key[0] = Scaled(1 / x.norm[0], x.h);
    x.key[1] = Scaled(1 / x.norm[1], x.k);
    x.u[0] = Scaled(-x.theta * x.norm[0], x.error);
    x.u[1] = Scaled(-x.theta * x.norm[1], x.step);
    return x;
  }

  void Head(int64_t head) {
    const int64_t size = c.weights();
    Layer layer[2];
    Doubles given[2];
    for (int i = 0; i < 2; ++i) {
      layer[i].w = {Part(in.start[kW1 + i], head, size)};
      layer[i].p = {c.momentum ? Part(in.start[kP1 + i], head, size) : Doubles(size)};
      given[i] = Part(in.start[kStart1 + i], head, size);
    }
    const auto row = [&](int64_t t) {
      return (head / c.heads * c.time + t) * c.heads + head % c.heads;
    };
    const auto start = [&](int64_t t, int i) -> const Doubles& {
      const int64_t first = t - (t + c.phase) % c.chunk;
      return first < 0 ? given[i] : layer[i].w[first];
    };
    const auto read = [&](int64_t t, int i) -> const Doubles& {
      return c.read == NL_READ_CHUNK_START ? start(t, i)
                                           : layer[i].w[t + (c.read == NL_READ_AFTER)];
    };
    std::vector<Token> tokens;
    for (int64_t t = 0; t < c.time; ++t) {
      tokens.push_back(TokenAt(row(t), start(t, 0), start(t, 1)));
      const Token& x = tokens.back();
      for (int i = 0; i < 2; ++i) {
        Doubles w = x.u[i], p = Scaled(x.mu, layer[i].p[t]), next = Scaled(x.alpha, layer[i].w[t]);
        Add(-x.erase, Times(x.key[i], layer[i].w[t]), w.data());
        AddOuter(x.key[i], w, p);
        Add(1, p, next.data());
        layer[i].w.push_back(next);
        layer[i].p.push_back(p);
      }
      double* to = o.data() + row(t) * c.dim;
      Add(1, Times(Map(Times(x.q, read(t, 1)), Gelu), read(t, 0)), to);
      if (c.residual) Add(1, x.q, to);
    }
    const auto put = [&](const Doubles& from, Doubles& to, int64_t index) {
      std::copy(from.begin(), from.end(), to.begin() + index * size);
    };
    for (int i = 0; i < 2; ++i) {
      put(layer[i].w.back(), final[kW1 + i], head);
      put(layer[i].p.back(), final[kP1 + i], head);
      put(start(c.time, i), final[kStart1 + i], head);
      for (int64_t chunk = 0; chunk < c.chunks(); ++chunk) {
        const int64_t t = std::max<int64_t>(0, chunk * c.chunk - c.phase);
        put(layer[i].w[t], saved[kW1 + i], head * c.chunks() + chunk);
        put(layer[i].p[t], saved[kP1 + i], head * c.chunks() + chunk);
      }
    }

    Doubles dw[2], dp[2], d_frozen[2];
    for (int i = 0; i < 2; ++i) {
      dw[i] = Part(in.d_final[kW1 + i], head, size);
      dp[i] = c.momentum ? Part(in.d_final[kP1 + i], head, size) : Doubles(size);
      d_frozen[i] = Part(in.d_final[kStart1 + i], head, size);
    }
    for (int64_t t = c.time; t >= 0; --t) {
      if ((t + c.phase) % c.chunk == 0) {
        for (int i = 0; i < 2; ++i) {
          Add(1, d_frozen[i], dw[i].data());
          d_frozen[i].assign(size, 0);
        }
      }
      if (t == 0) break;
      TokenBackward(tokens[t - 1], row(t - 1), layer, t - 1, start(t - 1, 0), start(t - 1, 1),
                    read(t - 1, 0), read(t - 1, 1), dw, dp, d_frozen);
    }
    for (int i = 0; i < 2; ++i) {
      put(dw[i], d_start[kW1 + i], head);
      put(dp[i], d_start[kP1 + i], head);
      put(d_frozen[i], d_start[kStart1 + i], head);
    }
  }

  void ReadBackward(const Token& x, int64_t row, const Doubles& w1, const Doubles& w2,
                    Doubles* to) {
    const Doubles d_o = Part(in.d_o, row, c.dim), y = Times(x.q, w2);
    AddOuter(Map(y, Gelu), d_o, to[0]);
    const Doubles dy = Multiply(TimesTransposed(d_o, w1), Map(y, Slope));
    AddOuter(x.q, dy, to[1]);
    Add(1, TimesTransposed(dy, w2), dq.data() + row * c.dim);
    if (c.residual) Add(1, d_o, dq.data() + row * c.dim);
  }

  void TokenBackward(const Token& x, int64_t row, const Layer* layer, int64_t t,
                     const Doubles& start1, const Doubles& start2, const Doubles& read1,
                     const Doubles& read2, Doubles* dw, Doubles* dp, Doubles* d_frozen) {
    if (c.read == NL_READ_AFTER) ReadBackward(x, row, read1, read2, dw);
    if (c.read == NL_READ_CHUNK_START) ReadBackward(x, row, read1, read2, d_frozen);
    Doubles d_input[2], du[2];
    const Doubles* step[2] = {&x.error, &x.step};
    for (int i = 0; i < 2; ++i) {
      const Doubles &before = layer[i].w[t], erased = Times(x.key[i], before);
      Doubles w = x.u[i];
      Add(-x.erase, erased, w.data());
      Add(1, dw[i], dp[i].data());
      d_log_alpha[row] += x.alpha * Inner(dw[i], before);
      d_mu[row] += Inner(dp[i], layer[i].p[t]);
      du[i] = Times(x.key[i], dp[i]);
      Doubles d_key = TimesTransposed(w, dp[i]);
      d_erase[row] -= Inner(du[i], erased);
      const Doubles d_erased = Scaled(-x.erase, du[i]);
      Add(1, TimesTransposed(d_erased, before), d_key.data());
      dw[i] = Scaled(x.alpha, dw[i]);
      AddOuter(x.key[i], d_erased, dw[i]);
      dp[i] = Scaled(x.mu, dp[i]);
      // key = input / norm, u = -theta norm step.
      const double along = Inner(du[i], *step[i]);
      d_theta[row] -= x.norm[i] * along;
      d_input[i] = Scaled(1 / x.norm[i], d_key);
      Add(-x.theta * along - Inner(d_key, x.key[i]) / x.norm[i], x.key[i], d_input[i].data());
    }
    const Doubles d_step = Scaled(-x.theta * x.norm[1], du[1]);
    const Doubles d_back = Multiply(d_step, Map(x.z, Slope));
    Doubles dz = Multiply(Multiply(d_step, x.back), Map(x.z, Curvature));
    Doubles d_error = Times(d_back, start1);
    AddOuter(d_back, x.error, d_frozen[0]);
    Add(-x.theta * x.norm[0], du[0], d_error.data());
    Add(-1, d_error, dv.data() + row * c.dim);
    if (c.objective == NL_OBJECTIVE_L2) {
      Add(1, TimesTransposed(d_error, start1), d_input[0].data());
      AddOuter(x.h, d_error, d_frozen[0]);
      if (c.residual) Add(1, d_error, dk.data() + row * c.dim);
    }
    Add(1, Multiply(d_input[0], Map(x.z, Slope)), dz.data());
    Add(1, TimesTransposed(dz, start2), dk.data() + row * c.dim);
    AddOuter(x.k, dz, d_frozen[1]);
    Add(1, d_input[1], dk.data() + row * c.dim);
    if (c.read == NL_READ_BEFORE) ReadBackward(x, row, read1, read2, dw);
  }

  // As DeepMemoryTensors::Results.
  std::vector<const Doubles*> Results() const {
    std::vector<const Doubles*> all = {&o, &dq, &dk, &dv};
    if (c.gates) all.insert(all.end(), {&d_log_alpha, &d_theta});
    if (c.erases) all.push_back(&d_erase);
    if (c.momentum) all.push_back(&d_mu);
    for (int i = 0; i < kStates; ++i) {
      if ((i == kP1 || i == kP2) && !c.momentum) continue;
      all.push_back(&final[i]);
      all.push_back(&d_start[i]);
      if (i < kStart1) all.push_back(&saved[i]);
    }
    return all;
  }

  const DeepMemoryTensors& in;
  DeepMemoryCase c;
  Doubles o, dq, dk, dv, d_log_alpha, d_theta, d_erase, d_mu;
  std::vector<Doubles> final, d_start, saved;
};

}  // namespace nl_testing

#endif  // NESTED_LEARNING_TESTS_DEEP_MEMORY_DEEP_MEMORY_TESTING_H_
