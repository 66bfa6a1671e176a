#include "cuda/tests/faults.h"
#include "cuda/tests/testing.h"
#include "kernels/scan/scan.cuh"

namespace nested_learning {
namespace {

using Doubles = std::vector<double>;

struct Case {
  int batch, time, heads, key_dim, value_dim, chunk;
  CudaScanRead read;
  bool decays, erases, momentum, frozen;
  int phase = 0;
  // Writes of values · S_c, and reads of the columns from read_first on.
  bool values = false;
  int read_first = 0, read_dim = 0;

  int Chunks() const { return (phase + time + chunk - 1) / chunk; }
  int NextPhase() const { return (phase + time) % chunk; }
  int ReadDim() const { return read_dim ? read_dim : value_dim; }
  size_t Tokens() const { return size_t{1} * batch * time * heads; }
  size_t State() const { return size_t{1} * key_dim * value_dim; }
  size_t States() const { return batch * heads * State(); }
};

struct Inputs {
  std::vector<float> q, k, u, values, log_alpha, erase, mu, theta, s0, p0, start;
  std::vector<float> d_o, d_s, d_p, d_next;
};

Inputs InputsOf(const Case& c) {
  const size_t tokens = c.Tokens();
  Inputs in{RandomFloats(tokens * c.key_dim, 1),
            RandomFloats(tokens * c.key_dim, 2),
            RandomFloats(tokens * c.value_dim, 3),
            RandomFloats(tokens * c.key_dim, 11, 0.3f),
            RandomFloats(tokens, 4),
            RandomFloats(tokens, 5),
            RandomFloats(tokens, 8),
            RandomFloats(tokens, 6),
            RandomFloats(c.States(), 7),
            RandomFloats(c.States(), 9, 0.3f),
            RandomFloats(c.States(), 10),
            RandomFloats(tokens * c.ReadDim(), 12),
            RandomFloats(c.States(), 13),
            RandomFloats(c.States(), 14),
            RandomFloats(c.States(), 15)};
  // Keys of unit length; with longer ones the erase would make the memory grow.
  for (size_t t = 0; t < tokens; t++) {
    double norm = 0;
    for (int d = 0; d < c.key_dim; d++)
      norm += double{in.k[t * c.key_dim + d]} * in.k[t * c.key_dim + d];
    for (int d = 0; d < c.key_dim; d++)
      in.k[t * c.key_dim + d] /= static_cast<float>(std::sqrt(norm) + 1e-6);
  }
  for (float& x : in.log_alpha) x = -0.2f * std::abs(x);
  if (tokens > 9) in.log_alpha[9] = -std::numeric_limits<float>::infinity();
  for (float& x : in.erase) x = 1 / (1 + std::exp(-x));
  // Momentum adds up what is erased.
  if (c.momentum) {
    for (float& x : in.erase) x *= 0.2f;
  }
  for (float& x : in.mu) x = 0.9f / (1 + std::exp(-x));
  if (tokens > 12) in.mu[12] = 0;
  for (float& x : in.theta) x = 0.1f / (1 + std::exp(-x));
  return in;
}

struct Results {
  Doubles o, s, p, states, momenta, next_start;
  Doubles dq, dk, du, dvalues, dlog_alpha, derase, dmu, dtheta, ds0, dp0, dstart;
};

// Token by token in double, and back.
Results Reference(const Case& c, const Inputs& in) {
  const int chunks = c.Chunks(), dk = c.key_dim, dv = c.value_dim, dr = c.ReadDim();
  const size_t state = c.State();
  const double scale = 0.7f;
  Results out;
  out.o.resize(c.Tokens() * dr);
  out.s.resize(c.States());
  out.p.resize(c.States());
  out.states.resize(c.States() * chunks);
  out.momenta.resize(c.States() * chunks);
  out.next_start.resize(c.States());
  for (Doubles* rows : {&out.dq, &out.dk, &out.dvalues}) rows->resize(c.Tokens() * dk);
  out.du.resize(c.Tokens() * dv);
  for (Doubles* gates : {&out.dlog_alpha, &out.derase, &out.dmu, &out.dtheta})
    gates->resize(c.Tokens());
  for (Doubles* states : {&out.ds0, &out.dp0, &out.dstart}) states->resize(c.States());

  // x M, M yᵀ and M += scale xᵀ y
  const auto times = [&](const Doubles& x, const Doubles& m) {
    Doubles y(dv);
    for (int d = 0; d < dk; d++) {
      for (int j = 0; j < dv; j++) y[j] += x[d] * m[d * dv + j];
    }
    return y;
  };
  const auto back = [&](const Doubles& m, const Doubles& y) {
    Doubles x(dk);
    for (int d = 0; d < dk; d++) {
      for (int j = 0; j < dv; j++) x[d] += m[d * dv + j] * y[j];
    }
    return x;
  };
  const auto outer = [&](Doubles& m, double factor, const Doubles& x, const Doubles& y) {
    for (int d = 0; d < dk; d++) {
      for (int j = 0; j < dv; j++) m[d * dv + j] += factor * x[d] * y[j];
    }
  };
  const auto dot = [](const Doubles& x, const Doubles& y) {
    double sum = 0;
    for (size_t i = 0; i < x.size(); i++) sum += x[i] * y[i];
    return sum;
  };
  const auto add = [](Doubles& x, double factor, const Doubles& y) {
    for (size_t i = 0; i < x.size(); i++) x[i] += factor * y[i];
  };

  for (int b = 0; b < c.batch; b++) {
    for (int h = 0; h < c.heads; h++) {
      const size_t head = size_t{1} * b * c.heads + h;
      const auto of = [&](const std::vector<float>& x, size_t row, int dim) {
        return Doubles(x.begin() + row * dim, x.begin() + (row + 1) * dim);
      };
      const auto store = [&](Doubles& to, size_t row, const Doubles& x) {
        std::copy(x.begin(), x.end(), to.begin() + row * x.size());
      };
      const auto token_of = [&](int t) { return (size_t{1} * b * c.time + t) * c.heads + h; };
      struct Gates {
        double alpha, erase, mu, theta;
      };
      const auto gates_of = [&](size_t token) {
        return Gates{c.decays ? std::exp(double{in.log_alpha[token]}) : 1,
                     c.erases ? in.erase[token] : 0, c.momentum ? in.mu[token] : 0,
                     c.frozen || c.values ? in.theta[token] : 1};
      };
      const auto starts_chunk = [&](int t) { return (c.phase + t) % c.chunk == 0; };
      const auto in_read = [&](const Doubles& d_o) {
        Doubles wide(dv);
        std::copy(d_o.begin(), d_o.end(), wide.begin() + c.read_first);
        return wide;
      };

      // s[t], p[t] before token t
      std::vector<Doubles> s(c.time + 1), p(c.time + 1), start(c.time + 1), w(c.time);
      s[0] = of(in.s0, head, static_cast<int>(state));
      p[0] = c.momentum ? of(in.p0, head, static_cast<int>(state)) : Doubles(state);
      Doubles current = c.phase ? of(in.start, head, static_cast<int>(state)) : s[0];
      for (int t = 0; t < c.time; t++) {
        const size_t token = token_of(t);
        const Gates g = gates_of(token);
        if (t == 0 || starts_chunk(t)) {
          const size_t at = head * chunks + (c.phase + t) / c.chunk;
          store(out.states, at, s[t]);
          store(out.momenta, at, p[t]);
        }
        if (starts_chunk(t)) current = s[t];
        start[t] = current;
        const Doubles q = of(in.q, token, dk), k = of(in.k, token, dk);
        Doubles base = c.values ? times(of(in.values, token, dk), current) : of(in.u, token, dv);
        if (c.frozen) add(base, -1, times(k, current));
        w[t] = Doubles(dv);
        add(w[t], g.theta, base);
        add(w[t], -g.erase, times(k, s[t]));
        p[t + 1] = Doubles(state);
        add(p[t + 1], g.mu, p[t]);
        outer(p[t + 1], 1, k, w[t]);
        s[t + 1] = p[t + 1];
        if (g.alpha != 0) add(s[t + 1], g.alpha, s[t]);
        const Doubles read = times(q, c.read == CudaScanRead::kAfter    ? s[t + 1]
                                      : c.read == CudaScanRead::kBefore ? s[t]
                                                                        : current);
        for (int j = 0; j < dr; j++) out.o[token * dr + j] = scale * read[c.read_first + j];
      }
      store(out.s, head, s[c.time]);
      store(out.p, head, p[c.time]);
      store(out.next_start, head, c.NextPhase() ? current : s[c.time]);

      Doubles ds = of(in.d_s, head, static_cast<int>(state)), dp(state), dc(state);
      if (c.momentum) dp = of(in.d_p, head, static_cast<int>(state));
      add(c.NextPhase() ? dc : ds, 1, of(in.d_next, head, static_cast<int>(state)));
      for (int t = c.time - 1; t >= 0; t--) {
        const size_t token = token_of(t);
        const Gates g = gates_of(token);
        const Doubles q = of(in.q, token, dk), k = of(in.k, token, dk);
        const Doubles d_o = in_read(of(in.d_o, token, dr));
        Doubles dprevious(state), dkey(dk), dq(dk);
        add(dq, scale,
            back(c.read == CudaScanRead::kAfter    ? s[t + 1]
                 : c.read == CudaScanRead::kBefore ? s[t]
                                                   : start[t],
                 d_o));
        outer(c.read == CudaScanRead::kAfter    ? ds
              : c.read == CudaScanRead::kBefore ? dprevious
                                                : dc,
              scale, q, d_o);
        out.dlog_alpha[token] = g.alpha * dot(ds, s[t]);
        add(dprevious, g.alpha, ds);
        add(dp, 1, ds);
        out.dmu[token] = dot(dp, p[t]);
        const Doubles dw = times(k, dp);
        add(dkey, 1, back(dp, w[t]));
        out.derase[token] = -dot(dw, times(k, s[t]));
        add(dkey, -g.erase, back(s[t], dw));
        outer(dprevious, -g.erase, k, dw);
        Doubles base = of(in.u, token, dv), du(dv), dvalue(dk);
        if (c.values) {
          const Doubles value = of(in.values, token, dk);
          base = times(value, start[t]);
          add(dvalue, g.theta, back(start[t], dw));
          outer(dc, g.theta, value, dw);
        } else {
          add(du, g.theta, dw);
        }
        if (c.frozen) {
          add(base, -1, times(k, start[t]));
          add(dkey, -g.theta, back(start[t], dw));
          outer(dc, -g.theta, k, dw);
        }
        out.dtheta[token] = dot(dw, base);
        for (double& x : dp) x *= g.mu;
        ds = dprevious;
        if (starts_chunk(t)) {
          add(ds, 1, dc);
          dc.assign(state, 0);
        }
        store(out.dq, token, dq);
        store(out.dk, token, dkey);
        store(out.du, token, du);
        store(out.dvalues, token, dvalue);
      }
      store(out.ds0, head, ds);
      store(out.dp0, head, dp);
      store(out.dstart, head, dc);
    }
  }
  return out;
}

// What a launch makes of them.
struct Floats {
  std::vector<float> o, s, p, states, momenta, next_start;
  std::vector<float> dq, dk, du, dvalues, dlog_alpha, derase, dmu, dtheta, ds0, dp0, dstart;
};

class CudaScan : public InEveryOrder {
 public:
  static std::string Name(const char* kernel, bool momentum, const std::string& rounding) {
    return std::string(kernel) + (momentum ? "_momentum_" : "_") + rounding;
  }

  // Blocks of a kernel that has the columns of S that fit.
  static unsigned BlocksOf(const Case& c) {
    return ScanBlocks(c.batch * c.heads, c.value_dim, ScanColumns(c.momentum));
  }

  // A case's inputs on the device.
  struct Device {
    DeviceFloats q, k, u, values, log_alpha, erase, mu, theta, s0, p0, start;
    ScanArguments a;

    Device(const Case& c, const Inputs& in)
        : q(in.q),
          k(in.k),
          u(in.u),
          values(in.values),
          log_alpha(in.log_alpha),
          erase(in.erase),
          mu(in.mu),
          theta(in.theta),
          s0(in.s0),
          p0(in.p0),
          start(in.start),
          a{} {
      a.q = q.data(), a.k = k.data();
      a.u = c.values ? nullptr : u.data();
      a.values = c.values ? values.data() : nullptr;
      a.log_alpha = c.decays ? log_alpha.data() : nullptr;
      a.erase = c.erases ? erase.data() : nullptr;
      a.mu = c.momentum ? mu.data() : nullptr;
      a.theta = c.frozen || c.values ? theta.data() : nullptr;
      a.s0 = s0.data();
      a.p0 = c.momentum ? p0.data() : nullptr;
      a.start = c.phase ? start.data() : nullptr;
      a.read_tokens = a.write_tokens = c.time;
      a.batch = c.batch, a.time = c.time, a.heads = c.heads;
      a.key_dim = c.key_dim, a.value_dim = c.value_dim;
      a.chunk = c.chunk, a.phase = c.phase;
      a.read_first = c.read_first, a.read_dim = c.ReadDim();
      a.read = c.read, a.frozen = c.frozen, a.scale = 0.7f;
    }
  };

  static Floats Forward(const std::string& rounding, const Case& c, const Inputs& in) {
    Device device(c, in);
    DeviceFloats o(c.Tokens() * c.ReadDim()), saved(c.States() * c.Chunks()),
        momenta(c.States() * c.Chunks()), next_start(in.start);
    ScanArguments& a = device.a;
    // In place.
    a.s = device.s0.data();
    if (c.momentum) a.p = device.p0.data(), a.momenta = momenta.data();
    if (c.phase) a.start = next_start.data();
    a.o = o.data(), a.states = saved.data(), a.next_start = next_start.data();
    LaunchKernel(Name("nl_scan_forward", c.momentum, rounding).c_str(), BlocksOf(c), kScanThreads,
                 ScanSharedBytes(c.key_dim, c.momentum), a);
    Floats out;
    out.o = o.values(), out.s = device.s0.values(), out.p = device.p0.values();
    out.states = saved.values(), out.momenta = momenta.values();
    out.next_start = next_start.values();
    return out;
  }

  // With the reference's states before each chunk.
  static Floats Backward(const std::string& rounding, const Case& c, const Inputs& in,
                         const Results& reference) {
    const size_t tokens = c.Tokens(), states = c.States();
    Device device(c, in);
    DeviceFloats saved(std::vector<float>(reference.states.begin(), reference.states.end())),
        momenta(std::vector<float>(reference.momenta.begin(), reference.momenta.end()));
    DeviceFloats d_o(in.d_o), d_s(in.d_s), d_p(in.d_p), d_next(in.d_next), w(tokens * c.value_dim),
        y(tokens * c.value_dim), d_states(states * c.Chunks()), d_momenta(states * c.Chunks()),
        dq(tokens * c.key_dim), dk(tokens * c.key_dim), du(tokens * c.value_dim),
        dvalues(tokens * c.key_dim), dlog_alpha(tokens), derase(tokens), dmu(tokens),
        dtheta(tokens), dstart(states);
    ScanArguments& a = device.a;
    a.states = saved.data(), a.momenta = c.momentum ? momenta.data() : nullptr;
    a.d_o = d_o.data(), a.d_s = d_s.data(), a.d_p = c.momentum ? d_p.data() : nullptr;
    a.d_next_start = d_next.data();
    a.w = w.data(), a.y = y.data(), a.d_states = d_states.data();
    a.d_momenta = c.momentum ? d_momenta.data() : nullptr;
    a.d_q = dq.data(), a.d_k = dk.data();
    a.d_u = c.values ? nullptr : du.data();
    a.d_values = c.values ? dvalues.data() : nullptr;
    a.d_log_alpha = dlog_alpha.data(), a.d_erase = derase.data(), a.d_mu = dmu.data();
    a.d_theta = dtheta.data();
    // In place.
    a.d_s0 = d_s.data(), a.d_p0 = c.momentum ? d_p.data() : nullptr;
    a.d_start = c.phase ? dstart.data() : nullptr;
    LaunchKernel(Name("nl_scan_writes", false, rounding).c_str(),
                 c.Chunks() * ScanBlocks(c.batch * c.heads, c.value_dim, kScanWritesColumns),
                 kScanThreads, ScanWritesSharedBytes(c.key_dim, c.momentum), a);
    LaunchKernel(Name("nl_scan_states", c.momentum, rounding).c_str(), BlocksOf(c), kScanThreads,
                 ScanSharedBytes(c.key_dim, c.momentum), a);
    LaunchKernel(Name("nl_scan_tokens", false, rounding).c_str(), c.Chunks() * c.batch * c.heads,
                 kScanThreads, ScanTokensSharedBytes(c.key_dim), a);
    Floats out;
    out.dq = dq.values(), out.dk = dk.values(), out.du = du.values();
    out.dvalues = dvalues.values(), out.dlog_alpha = dlog_alpha.values();
    out.derase = derase.values(), out.dmu = dmu.values(), out.dtheta = dtheta.values();
    out.ds0 = d_s.values(), out.dp0 = d_p.values(), out.dstart = dstart.values();
    return out;
  }

  static Floats Decode(const Case& c, const Inputs& in) {
    Device device(c, in);
    DeviceFloats next_start(in.start), o(c.Tokens() * c.value_dim);
    ScanArguments& a = device.a;
    // In place.
    a.s = device.s0.data();
    if (c.momentum) a.p = device.p0.data();
    if (c.phase) a.start = next_start.data();
    a.o = o.data(), a.next_start = next_start.data();
    LaunchKernel("nl_scan_decode", ScanBlocks(c.batch * c.heads, c.value_dim, kScanDecodeColumns),
                 kScanDecodeThreads, 0, a);
    Floats out;
    out.o = o.values(), out.s = device.s0.values(), out.p = device.p0.values();
    out.next_start = next_start.values();
    return out;
  }

  static std::string Describe(const std::string& rounding, const Case& c) {
    return rounding + " T " + std::to_string(c.time) + " Dk " + std::to_string(c.key_dim) + " Dv " +
           std::to_string(c.value_dim) + " chunk " + std::to_string(c.chunk) + " phase " +
           std::to_string(c.phase) + " read " + std::to_string(static_cast<int>(c.read)) +
           (c.decays ? " decays" : "") + (c.erases ? " erases" : "") +
           (c.momentum ? " momentum" : "") + (c.frozen ? " frozen" : "") +
           (c.values ? " values" : "");
  }

  static void CheckForward(const std::string& rounding, const Case& c, double tolerance) {
    SCOPED_TRACE(Describe(rounding, c));
    const Inputs in = InputsOf(c);
    const Results expected = Reference(c, in);
    const Floats actual = Forward(rounding, c, in);
    Near("o", actual.o, expected.o, tolerance);
    Near("s", actual.s, expected.s, tolerance);
    Near("states", actual.states, expected.states, tolerance);
    if (c.momentum) {
      Near("p", actual.p, expected.p, tolerance);
      Near("momenta", actual.momenta, expected.momenta, tolerance);
    }
    Near("next start", actual.next_start, expected.next_start, tolerance);
  }

  static void CheckBackward(const std::string& rounding, const Case& c, double tolerance) {
    SCOPED_TRACE(Describe(rounding, c));
    const Inputs in = InputsOf(c);
    const Results expected = Reference(c, in);
    const Floats actual = Backward(rounding, c, in, expected);
    Near("dq", actual.dq, expected.dq, tolerance);
    Near("dk", actual.dk, expected.dk, tolerance);
    if (c.values)
      Near("dvalues", actual.dvalues, expected.dvalues, tolerance);
    else
      Near("du", actual.du, expected.du, tolerance);
    Near("dlog alpha", actual.dlog_alpha, expected.dlog_alpha, tolerance);
    if (c.erases) Near("derase", actual.derase, expected.derase, tolerance);
    if (c.momentum) Near("dmu", actual.dmu, expected.dmu, tolerance);
    if (c.frozen || c.values) Near("dtheta", actual.dtheta, expected.dtheta, tolerance);
    Near("ds0", actual.ds0, expected.ds0, tolerance);
    if (c.momentum) Near("dp0", actual.dp0, expected.dp0, tolerance);
    if (c.phase) Near("dstart", actual.dstart, expected.dstart, tolerance);
  }

  static void CheckDecode(const Case& c) {
    SCOPED_TRACE(Describe("float32", c));
    const Inputs in = InputsOf(c);
    const Results expected = Reference(c, in);
    const Floats actual = Decode(c, in);
    Near("o", actual.o, expected.o, 2e-6);
    Near("s", actual.s, expected.s, 2e-6);
    if (c.momentum) Near("p", actual.p, expected.p, 2e-6);
    Near("next start", actual.next_start, expected.next_start, 2e-6);
  }
};
NL_IN_EVERY_ORDER(CudaScan);

constexpr CudaScanRead kAfter = CudaScanRead::kAfter, kBefore = CudaScanRead::kBefore,
                       kChunkStart = CudaScanRead::kChunkStart;

const Case kCases[] = {
    // batch, time, heads, Dk, Dv, chunk; read; decays, erases, momentum, frozen; phase
    {1, 1, 1, 1, 1, 64, kAfter, true, true, false, false},
    {2, 65, 2, 17, 5, 64, kAfter, true, true, false, false},
    {1, 63, 1, 16, 70, 64, kBefore, true, true, false, false},
    {1, 128, 1, 33, 64, 64, kAfter, false, true, false, false},
    {1, 40, 2, 24, 24, 16, kBefore, true, false, false, true},
    {1, 50, 1, 128, 8, 20, kChunkStart, true, true, false, true},
    {1, 33, 1, 8, 8, 32, kChunkStart, false, false, false, true},
    {1, 64, 1, 12, 9, 64, kAfter, false, false, false, false},
    {1, 1, 1, 3, 2, 64, kBefore, true, true, true, false},
    {1, 70, 2, 20, 36, 64, kAfter, true, true, true, false},
    {1, 47, 1, 16, 33, 16, kBefore, true, true, true, true},
    {1, 34, 2, 9, 12, 32, kAfter, true, false, true, false},
    {1, 20, 1, 40, 8, 10, kChunkStart, false, true, true, true},
    {1, 41, 2, 12, 10, 16, kAfter, true, true, false, true, 5},
    {1, 35, 1, 12, 40, 16, kChunkStart, true, true, true, true, 13},
    {1, 6, 1, 5, 7, 16, kBefore, true, true, false, true, 4},
    {2, 30, 1, 8, 26, 16, kBefore, true, true, false, true, 0, true, 16, 8},
    {1, 40, 1, 12, 38, 16, kAfter, true, true, false, false, 7, true, 24, 12},
    {1, 9, 2, 4, 14, 16, kChunkStart, true, true, false, true, 3, true, 8, 4},
};

// Tolerances by the significant bits of an operand: 24, 11 and 8.
struct Form {
  const char* rounding;
  double forward, backward;
};
constexpr Form kForms[] = {{"float32", 2e-6, 4e-6}, {"tf32", 4e-3, 8e-3}, {"bf16", 3e-2, 6e-2}};

void Check(const Form& form, const Case& c) {
  CudaScan::CheckForward(form.rounding, c, form.forward);
  CudaScan::CheckBackward(form.rounding, c, form.backward);
}

TEST_P(CudaScan, Float32_MatchesReference) {
  for (const Case& c : kCases) Check(kForms[0], c);
}

TEST_P(CudaScan, RoundedOperands_MatchReference) {
  const Case cases[] = {
      {1, 1, 1, 1, 1, 64, kAfter, true, true, false, false},
      {2, 65, 1, 17, 5, 64, kAfter, true, true, false, false},
      {1, 40, 1, 40, 36, 64, kBefore, true, true, true, false},
      {1, 20, 1, 12, 10, 16, kAfter, true, true, true, true, 5},
      {1, 9, 2, 4, 14, 16, kChunkStart, true, true, false, true, 3, true, 8, 4},
  };
  for (const Case& c : cases) {
    Check(kForms[1], c);
    Check(kForms[2], c);
  }
}

[[maybe_unused]] const bool kFaultCases = [] {
  for (const Form& form : kForms) {
    for (bool momentum : {false, true}) {
      // With several tiles of keys and of values; and with keys of one element, so that much is erased.
      const Case wide{1, 40, 1, 40, 36, 20, kAfter, true, true, momentum, true};
      const Case narrow{1, 70, 1, 1, 40, 64, kAfter, true, true, momentum, false};
      AddFaultCase(CudaScan::Name("nl_scan_forward", momentum, form.rounding),
                   {[=] { CudaScan::CheckForward(form.rounding, wide, form.forward); },
                    [=] { CudaScan::CheckForward(form.rounding, narrow, form.forward); }});
      AddFaultCase(CudaScan::Name("nl_scan_backward", momentum, form.rounding),
                   {[=] { CudaScan::CheckBackward(form.rounding, wide, form.backward); },
                    [=] { CudaScan::CheckBackward(form.rounding, narrow, form.backward); }},
                   {{emulator::Fault::kNoBarrier, "shared.s[d * kW + j] += d_next[at]; });",
                     "both sides add, and the emulator loses no sum"}});
    }
  }
  AddFaultCase("nl_scan_decode",
               {[] {
                  CudaScan::CheckDecode({1, 3, 1, 40, 12, 2, kAfter, true, true, true, true});
                },
                [] {
                  CudaScan::CheckDecode({1, 3, 1, 40, 12, 2, kChunkStart, true, true, true, true});
                },
                [] {
                  CudaScan::CheckDecode({1, 3, 1, 40, 12, 2, kBefore, true, true, true, true});
                }});
  return true;
}();

const Case kDecodeCases[] = {
    {1, 1, 1, 1, 1, 64, kAfter, true, true, false, false},
    {2, 1, 3, 128, 64, 64, kAfter, true, true, false, false},
    {1, 1, 2, 17, 40, 64, kBefore, true, true, true, false},
    {2, 8, 2, 24, 33, 64, kAfter, false, true, true, false},
    {1, 5, 1, 16, 36, 64, kAfter, true, false, true, false},
    {1, 7, 2, 12, 10, 4, kBefore, true, true, false, true, 3},
    {1, 8, 1, 9, 8, 4, kChunkStart, true, true, true, true},
    {1, 2, 1, 9, 8, 16, kChunkStart, true, true, true, true, 11},
    {1, 3, 1, 40, 12, 8, kAfter, true, true, true, true, 5},
};

TEST_P(CudaScan, Decode_MatchesReference) {
  for (const Case& c : kDecodeCases) CudaScan::CheckDecode(c);
}

TEST_P(CudaScan, LongChunks_AreComputedInPieces) {
  for (int chunk : {70, 128, 300}) {
    const Case c{2, 141, 1, 8, 9, chunk, kAfter, true, true, true, false};
    const Inputs in = InputsOf(c);
    const Results expected = Reference(c, in);
    const Floats actual = Forward("float32", c, in);
    Near("o", actual.o, expected.o, 2e-6);
    Near("s", actual.s, expected.s, 2e-6);
    Near("states", actual.states, expected.states, 2e-6);
    Near("momenta", actual.momenta, expected.momenta, 2e-6);
  }
}

TEST_P(CudaScan, NaN_ReachesNoEarlierTokenAndNoOtherHead) {
  for (bool momentum : {false, true}) {
    const Case c{1, 70, 2, 16, 16, 64, kAfter, true, true, momentum, false};
    for (const char* rounding : {"float32", "tf32", "bf16"}) {
      for (int t : {5, 37, 66}) {
        Inputs in = InputsOf(c);
        in.u[(t * 2 + 1) * c.value_dim + 3] = std::nanf("");
        in.k[(t * 2 + 1) * c.key_dim + 3] = std::nanf("");
        const Floats actual = Forward(rounding, c, in);
        for (int i = 0; i < c.time; i++) {
          for (int h = 0; h < 2; h++) {
            const float o = actual.o[(i * 2 + h) * c.value_dim + 3];
            EXPECT_EQ(std::isnan(o), h == 1 && i >= t)
                << rounding << " token " << i << " of head " << h;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace nested_learning
