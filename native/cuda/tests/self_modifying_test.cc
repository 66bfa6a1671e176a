#include <algorithm>
#include <string>

#include "cuda/tests/faults.h"
#include "cuda/tests/testing.h"
#include "kernels/self_modifying/self_modifying.cuh"
#include "nested_learning.h"

namespace nested_learning {
namespace {

static_assert(kSelfModifyingNormalizeValues == NL_SELF_MODIFYING_NORMALIZE_VALUES);

struct Case {
  int batch, heads, dim, count;
  bool normalizes_values;
  float erase_factor;
  float eta_bias = 0.3f, alpha_bias = 1.5f;
  // The chunk is of tokens first .. first + count of `time`; the workspace has `rows` tokens.
  int first = 0, time = 0, rows = 0;

  int columns() const { return 3 * dim + 2; }
  size_t places() const { return size_t{1} * batch * rows * heads; }
  size_t place(int b, int t, int h) const { return (size_t{1} * b * rows + t) * heads + h; }
  size_t row_of_x(int b, int t, int h) const {
    return ((size_t{1} * b * time + first + t) * heads + h) * dim;
  }
  size_t state(int b, int h) const { return (size_t{1} * b * heads + h) * dim * columns(); }
};

constexpr float kEtaScale = 0.2f, kNormEpsilon = 1e-6f;

template <typename T>
struct Inputs {
  std::vector<T> x, s;
};

// What the projections make; of places that are no token of the chunk, NaN.
template <typename T>
struct Projections {
  std::vector<T> k, v, theta, erase, log_alpha, norms, gates;
};

template <typename T>
struct Gradients {
  std::vector<T> dx, ds;
};

template <typename To, typename From>
std::vector<To> As(const std::vector<From>& from) {
  return std::vector<To>(from.begin(), from.end());
}

Case Sized(Case c) {
  c.time = std::max(c.time, c.first + c.count);
  c.rows = std::max(c.rows, c.count);
  return c;
}

// The columns of mem are NaN: nobody reads them here.
Inputs<float> InputsOf(const Case& c) {
  Inputs<float> in{RandomFloats(size_t{1} * c.batch * c.time * c.heads * c.dim, 1),
                   RandomFloats(c.state(c.batch, 0), 2, 1 / std::sqrt(static_cast<float>(c.dim)))};
  for (size_t i = 0; i < in.s.size(); i++) {
    const int column = static_cast<int>(i % c.columns());
    if (column >= 2 * c.dim && column < 3 * c.dim) in.s[i] = std::nanf("");
  }
  return in;
}

Projections<float> UpstreamOf(const Case& c) {
  Projections<float> d;
  unsigned seed = 10;
  for (std::vector<float>* of : {&d.k, &d.v, &d.theta, &d.erase, &d.log_alpha}) {
    const int each = of == &d.k || of == &d.v ? c.dim : 1;
    *of = RandomFloats(c.places() * each, seed++);
    for (int b = 0; b < c.batch; b++) {
      for (size_t i = c.place(b, c.count, 0) * each; i < c.place(b + 1, 0, 0) * each; i++)
        (*of)[i] = std::nanf("");
    }
  }
  return d;
}

// log(1 + e^z)
double Softplus(double z) { return z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z)); }

Projections<double> Project(const Case& c, const Inputs<double>& in) {
  const double nan = std::nan("");
  const std::vector<double> of_one(c.places(), nan);
  Projections<double> out{std::vector<double>(c.places() * c.dim, nan),
                          std::vector<double>(c.places() * c.dim, nan),
                          of_one,
                          of_one,
                          of_one,
                          std::vector<double>(c.places() * 2, nan),
                          std::vector<double>(c.places() * 2, nan)};
  for (int b = 0; b < c.batch; b++) {
    for (int t = 0; t < c.count; t++) {
      for (int h = 0; h < c.heads; h++) {
        const double *x = &in.x[c.row_of_x(b, t, h)], *s = &in.s[c.state(b, h)];
        const size_t at = c.place(b, t, h);
        const auto dot = [&](int column) {
          double sum = 0;
          for (int d = 0; d < c.dim; d++) sum += x[d] * s[d * c.columns() + column];
          return sum;
        };
        const auto project = [&](int part, bool normalizes, double* y) {
          double squares = double{kNormEpsilon} * kNormEpsilon;
          for (int d = 0; d < c.dim; d++) {
            y[d] = dot(part * c.dim + d);
            squares += y[d] * y[d];
          }
          const double r = normalizes ? 1 / std::sqrt(squares) : 1;
          for (int d = 0; d < c.dim; d++) y[d] *= r;
          out.norms[2 * at + part] = r;
        };
        project(0, true, &out.k[at * c.dim]);
        project(1, c.normalizes_values, &out.v[at * c.dim]);
        const double eta = dot(3 * c.dim) + c.eta_bias, alpha = dot(3 * c.dim + 1) + c.alpha_bias;
        out.gates[2 * at] = eta;
        out.gates[2 * at + 1] = alpha;
        out.theta[at] = Softplus(eta) * kEtaScale;
        out.erase[at] = c.erase_factor * out.theta[at];
        out.log_alpha[at] = -Softplus(-alpha);
      }
    }
  }
  return out;
}

// Of the loss ⟨upstream, projections⟩; dx is NaN outside of the chunk, ds begins as what is given.
Gradients<double> Backward(const Case& c, const Inputs<double>& in, const Projections<double>& y,
                           const Projections<double>& dy, const std::vector<double>& ds) {
  Gradients<double> out{std::vector<double>(in.x.size(), std::nan("")), ds};
  std::vector<double> dz(c.columns());
  for (int b = 0; b < c.batch; b++) {
    for (int t = 0; t < c.count; t++) {
      for (int h = 0; h < c.heads; h++) {
        const size_t at = c.place(b, t, h);
        const auto project = [&](int part, const double* d, const double* unit) {
          const double r = y.norms[2 * at + part];
          double along = 0;
          for (int i = 0; i < c.dim; i++) along += d[i] * unit[i];
          const bool normalizes = part == 0 || c.normalizes_values;
          for (int i = 0; i < c.dim; i++)
            dz[part * c.dim + i] = normalizes ? r * (d[i] - along * unit[i]) : d[i];
        };
        project(0, &dy.k[at * c.dim], &y.k[at * c.dim]);
        project(1, &dy.v[at * c.dim], &y.v[at * c.dim]);
        const double eta = y.gates[2 * at], alpha = y.gates[2 * at + 1];
        dz[3 * c.dim] =
            (dy.theta[at] + c.erase_factor * dy.erase[at]) * kEtaScale / (1 + std::exp(-eta));
        dz[3 * c.dim + 1] = dy.log_alpha[at] / (1 + std::exp(alpha));
        for (int d = 0; d < c.dim; d++) {
          const size_t place = c.row_of_x(b, t, h) + d, row = c.state(b, h) + d * c.columns();
          double sum = 0;
          for (int j = 0; j < c.columns(); j++) {
            if (j >= 2 * c.dim && j < 3 * c.dim) continue;
            sum += dz[j] * in.s[row + j];
            out.ds[row + j] += in.x[place] * dz[j];
          }
          out.dx[place] = sum;
        }
      }
    }
  }
  return out;
}

std::string Kernel(const char* what, const char* rounding) {
  return std::string("nl_self_modifying_") + what + "_" + rounding;
}

struct Form {
  const char* rounding;
  double tolerance;
};
// Operands of 24, 11 and 8 significant bits.
constexpr Form kForms[] = {{"float32", 2e-6}, {"tf32", 4e-3}, {"bf16", 3e-2}};

class CudaSelfModifying : public InEveryOrder {
 public:
  // Heads' states with others between them, as they are where those of several chunks are saved.
  static int64_t SHead(const Case& c) { return int64_t{2} * c.dim * (3 * c.dim + 2); }
  static std::vector<float> Apart(const Case& c, const std::vector<float>& s) {
    const size_t state = SHead(c) / 2;
    std::vector<float> apart(2 * s.size(), std::nanf(""));
    for (size_t i = 0; i < s.size(); i++) apart[i / state * SHead(c) + i % state] = s[i];
    return apart;
  }

  static SelfModifyingChunk ChunkOf(const Case& c, DeviceFloats& x, DeviceFloats& s,
                                    DeviceFloats& k, DeviceFloats& v, DeviceFloats& norms,
                                    DeviceFloats& gates) {
    return {x.data() + c.row_of_x(0, 0, 0),
            s.data(),
            k.data(),
            v.data(),
            norms.data(),
            gates.data(),
            int64_t{1} * c.time * c.heads,
            SHead(c),
            c.heads,
            c.dim,
            c.rows,
            c.count,
            c.normalizes_values ? uint32_t{kSelfModifyingNormalizeValues} : 0u,
            c.erase_factor,
            kEtaScale,
            0};
  }

  static Projections<float> Run(const char* rounding, const Case& c, const Inputs<float>& in) {
    DeviceFloats x(in.x), s(Apart(c, in.s)), k(c.places() * c.dim), v(c.places() * c.dim),
        theta(c.places()), erase(c.places()), log_alpha(c.places()), norms(2 * c.places()),
        gates(2 * c.places());
    const SelfModifyingProjectArguments a{ChunkOf(c, x, s, k, v, norms, gates),
                                          theta.data(),
                                          erase.data(),
                                          log_alpha.data(),
                                          c.eta_bias,
                                          c.alpha_bias,
                                          kNormEpsilon,
                                          0};
    LaunchKernel(Kernel("project", rounding).c_str(),
                 SelfModifyingProjectBlocks(c.batch * c.heads, c.count), kSelfModifyingThreads,
                 SelfModifyingProjectSharedBytes(c.dim), a);
    return {k.values(),         v.values(),     theta.values(), erase.values(),
            log_alpha.values(), norms.values(), gates.values()};
  }

  static Gradients<float> RunBackward(const char* rounding, const Case& c, const Inputs<float>& in,
                                      const Projections<float>& y, const Projections<float>& dy,
                                      const std::vector<float>& ds_given, bool wants_dx = true) {
    DeviceFloats x(in.x), s(Apart(c, in.s)), k(y.k), v(y.v), norms(y.norms), gates(y.gates),
        dk(dy.k), dv(dy.v), d_theta(dy.theta), d_erase(dy.erase), d_log_alpha(dy.log_alpha),
        dx(in.x.size()), ds(ds_given);
    const SelfModifyingProjectBackwardArguments a{
        ChunkOf(c, x, s, k, v, norms, gates),
        dk.data(),
        dv.data(),
        d_theta.data(),
        d_erase.data(),
        d_log_alpha.data(),
        wants_dx ? dx.data() + c.row_of_x(0, 0, 0) : nullptr,
        ds.data()};
    LaunchKernel(Kernel("project_backward", rounding).c_str(),
                 SelfModifyingProjectBackwardBlocks(c.batch * c.heads, c.dim, c.count, wants_dx),
                 kSelfModifyingThreads, SelfModifyingProjectBackwardSharedBytes(c.dim), a);
    return {dx.values(), ds.values()};
  }

  static Inputs<double> Exact(const Inputs<float>& in) {
    return {As<double>(in.x), As<double>(in.s)};
  }

  static Projections<float> Rounded(const Projections<double>& y) {
    return {As<float>(y.k),         As<float>(y.v),     As<float>(y.theta), As<float>(y.erase),
            As<float>(y.log_alpha), As<float>(y.norms), As<float>(y.gates)};
  }
  static Projections<double> Exact(const Projections<float>& y) {
    return {As<double>(y.k),         As<double>(y.v),     As<double>(y.theta), As<double>(y.erase),
            As<double>(y.log_alpha), As<double>(y.norms), As<double>(y.gates)};
  }

  static std::string Describe(const Form& form, const Case& c) {
    return std::string(form.rounding) + " dim " + std::to_string(c.dim) + " count " +
           std::to_string(c.count);
  }

  static void CheckProjections(const Form& form, const Case& c) {
    SCOPED_TRACE(Describe(form, c));
    const Inputs<float> in = InputsOf(c);
    const Projections<double> expected = Project(c, Exact(in));
    const Projections<float> actual = Run(form.rounding, c, in);
    Near("k", actual.k, expected.k, form.tolerance);
    Near("v", actual.v, expected.v, form.tolerance);
    Near("norms", actual.norms, expected.norms, form.tolerance);
    // In float32 whatever the operands of the others.
    Near("gates", actual.gates, expected.gates, 2e-6);
    Near("theta", actual.theta, expected.theta, 2e-6);
    Near("erase", actual.erase, expected.erase, 2e-6);
    Near("log_alpha", actual.log_alpha, expected.log_alpha, 2e-6);
  }

  static void CheckGradients(const Form& form, const Case& c) {
    SCOPED_TRACE(Describe(form, c));
    const Inputs<float> in = InputsOf(c);
    const Projections<float> y = Rounded(Project(c, Exact(in))), dy = UpstreamOf(c);
    const std::vector<float> ds = RandomFloats(in.s.size(), 20);
    const Gradients<double> expected = Backward(c, Exact(in), Exact(y), Exact(dy), As<double>(ds));
    const Gradients<float> actual = RunBackward(form.rounding, c, in, y, dy, ds);
    Near("dx", actual.dx, expected.dx, form.tolerance);
    Near("ds", actual.ds, expected.ds, form.tolerance);
    for (size_t i = 0; i < ds.size(); i++) {
      const int column = static_cast<int>(i % c.columns());
      if (column >= 2 * c.dim && column < 3 * c.dim) {
        ASSERT_EQ(actual.ds[i], ds[i]) << "mem " << i;
      } else if (column >= 3 * c.dim) {
        ASSERT_NEAR(actual.ds[i], expected.ds[i], 2e-6 * std::max(10., std::abs(expected.ds[i])))
            << "gates " << i;
      }
    }
  }
};
NL_IN_EVERY_ORDER(CudaSelfModifying);

// batch, heads, dim, count, normalised values, ε / η, b_η, b_α, first, time, rows
const Case kCases[] = {
    {1, 1, 1, 1, false, 1},
    {2, 3, 1, 3, true, 2, 0.3f, 1.5f, 5, 11, 7},
    {2, 2, 5, 63, true, 1, -2, 4, 0, 70, 64},
    {1, 2, 16, 64, false, 2, 0.3f, 1.5f, 64, 128, 64},
    {3, 1, 33, 3, true, 2, 0.3f, -3, 2, 9, 3},
    {1, 1, 33, 33, false, 1, 0.3f, 1.5f, 7, 41, 40},
    {2, 2, 64, 17, true, 2, 0.3f, 1.5f, 1, 19, 20},
    {1, 1, 100, 64, true, 1},
    {1, 1, 128, 63, true, 2, 0.3f, 1.5f, 1, 64, 64},
    {1, 1, 128, 1, false, 1},
};

TEST_P(CudaSelfModifying, Projections_MatchReference) {
  for (const Case& c : kCases) {
    for (const Form& form : kForms) CheckProjections(form, Sized(c));
  }
}

TEST_P(CudaSelfModifying, Gradients_MatchReference) {
  for (const Case& c : kCases) {
    for (const Form& form : kForms) CheckGradients(form, Sized(c));
  }
}

[[maybe_unused]] const bool kFaultCases = [] {
  for (const Form& form : kForms) {
    // Two tiles of keys and of tokens.
    const Case c = Sized({1, 1, 40, 40, true, 2});
    AddFaultCase(Kernel("project", form.rounding),
                 {[=] { CudaSelfModifying::CheckProjections(form, c); }});
    AddFaultCase(Kernel("project_backward", form.rounding),
                 {[=] { CudaSelfModifying::CheckGradients(form, c); }});
  }
  return true;
}();

TEST_P(CudaSelfModifying, GradientOfTheState_DoesNotDependOnWhetherThatOfXIsWanted) {
  const Case c = Sized({2, 2, 33, 40, true, 2, 0.3f, 1.5f, 1, 42, 41});
  const Inputs<float> in = InputsOf(c);
  const Projections<float> y = Rounded(Project(c, Exact(in))), dy = UpstreamOf(c);
  const std::vector<float> ds(in.s.size(), 1);
  for (const Form& form : kForms) {
    EXPECT_EQ(RunBackward(form.rounding, c, in, y, dy, ds, false).ds,
              RunBackward(form.rounding, c, in, y, dy, ds).ds);
  }
}

// The kernel's gradients against differences of the reference's loss, which knows none of their formulas.
TEST_P(CudaSelfModifying, Gradients_MatchFiniteDifferences) {
  for (const Case& given : {Case{2, 2, 5, 3, true, 2, 0.3f, 1.5f, 1, 6, 4},
                            Case{1, 2, 16, 3, false, 1, -1, 0.5f, 0, 3, 3}}) {
    const Case c = Sized(given);
    const Inputs<float> in = InputsOf(c);
    const Projections<float> y = Rounded(Project(c, Exact(in))), dy = UpstreamOf(c);
    const std::vector<float> zero(in.s.size());
    const Gradients<float> actual = RunBackward("float32", c, in, y, dy, zero);
    const auto loss = [&](const Inputs<double>& at) {
      const Projections<double> z = Project(c, at);
      double sum = 0;
      const auto add = [&](const std::vector<float>& d, const std::vector<double>& of) {
        for (size_t i = 0; i < d.size(); i++) sum += std::isnan(d[i]) ? 0 : d[i] * of[i];
      };
      add(dy.k, z.k);
      add(dy.v, z.v);
      add(dy.theta, z.theta);
      add(dy.erase, z.erase);
      add(dy.log_alpha, z.log_alpha);
      return sum;
    };
    Inputs<double> at = Exact(in);
    const auto slope = [&](double& x) {
      const double kept = x, step = 1e-5;
      x = kept + step;
      const double above = loss(at);
      x = kept - step;
      const double below = loss(at);
      x = kept;
      return (above - below) / (2 * step);
    };
    for (size_t i = 0; i < at.x.size(); i++) {
      if (!std::isnan(actual.dx[i])) {
        ASSERT_NEAR(actual.dx[i], slope(at.x[i]), 2e-5) << "dx " << i;
      } else {
        ASSERT_EQ(slope(at.x[i]), 0) << "dx " << i;
      }
    }
    for (size_t i = 0; i < at.s.size(); i++) {
      if (!std::isnan(at.s[i])) {
        ASSERT_NEAR(actual.ds[i], slope(at.s[i]), 2e-5) << "ds " << i;
      } else {
        ASSERT_EQ(actual.ds[i], 0) << "ds " << i;
      }
    }
  }
}

// Both tails: η down to the least normal number and from there on 0, log α from −100 to as close to 0, and their slopes.
TEST_P(CudaSelfModifying, Gates_KeepTheirAccuracyInTheTails) {
  for (float z : {-100.f, -88.f, -30.f, -3.f, 0.f, 3.f, 30.f, 88.f, 100.f}) {
    const Case c = Sized({1, 1, 1, 1, false, 2, z, -z});
    Inputs<float> in = InputsOf(c);
    in.x[0] = 1.25f;
    in.s[3] = in.s[4] = 0;
    const Projections<double> expected = Project(c, Exact(in));
    const auto near = [&](const char* what, float actual, double value) {
      EXPECT_NEAR(actual, value, 6e-7 * std::abs(value) + 0x1p-126) << what << " at " << z;
    };
    for (const Form& form : kForms) {
      const Projections<float> actual = Run(form.rounding, c, in);
      near("theta", actual.theta[0], expected.theta[0]);
      near("erase", actual.erase[0], expected.erase[0]);
      near("log_alpha", actual.log_alpha[0], expected.log_alpha[0]);

      const Projections<float> dy{{0}, {0}, {0.5f}, {0.75f}, {-2}, {}, {}};
      const Gradients<float> d =
          RunBackward(form.rounding, c, in, actual, dy, std::vector<float>(5));
      // Of the slopes themselves, so that one that is flushed is not multiplied.
      near("dS_eta", d.ds[3] / (1.25f * 2), kEtaScale / (1 + std::exp(-double{z})));
      near("dS_alpha", d.ds[4] / (1.25f * -2), 1 / (1 + std::exp(-double{z})));
    }
  }
}

TEST_P(CudaSelfModifying, ZeroProjections_AreZeroKeys) {
  const Case c = Sized({1, 1, 7, 2, true, 1});
  Inputs<float> in = InputsOf(c);
  for (float& x : in.x) x = 0;
  for (const Form& form : kForms) {
    const Projections<float> y = Run(form.rounding, c, in);
    for (float k : y.k) EXPECT_EQ(k, 0);
    for (float v : y.v) EXPECT_EQ(v, 0);
    for (float r : y.norms) EXPECT_NEAR(r, 1e6, 1);
  }
}

TEST_P(CudaSelfModifying, NaN_ReachesNoOtherTokenAndNoOtherHead) {
  const Case c = Sized({2, 2, 20, 40, true, 1, 0.3f, 1.5f, 1, 42, 41});
  const Inputs<float> clean = InputsOf(c);
  for (const Form& form : kForms) {
    const Projections<float> expected = Run(form.rounding, c, clean);
    for (int token : {5, 39}) {
      Inputs<float> in = clean;
      in.x[c.row_of_x(1, token, 1) + 3] = std::nanf("");
      const Projections<float> actual = Run(form.rounding, c, in);
      const auto check = [&](const char* what, const std::vector<float>& values,
                             const std::vector<float>& before) {
        const size_t each = values.size() / c.places();
        for (size_t i = 0; i < values.size(); i++) {
          if (i / each == c.place(1, token, 1) || std::isnan(before[i])) {
            ASSERT_TRUE(std::isnan(values[i])) << form.rounding << " " << what << " " << i;
          } else {
            ASSERT_EQ(values[i], before[i]) << form.rounding << " " << what << " " << i;
          }
        }
      };
      check("k", actual.k, expected.k);
      check("v", actual.v, expected.v);
      check("theta", actual.theta, expected.theta);
      check("erase", actual.erase, expected.erase);
      check("log_alpha", actual.log_alpha, expected.log_alpha);
    }
  }
}

TEST_P(CudaSelfModifying, NaN_ReachesGradientsOfItsTokenAndItsHeadsState) {
  const Case c = Sized({2, 2, 20, 40, false, 1, 0.3f, 1.5f, 1, 42, 41});
  const Inputs<float> in = InputsOf(c);
  const Projections<float> y = Rounded(Project(c, Exact(in))), clean = UpstreamOf(c);
  const std::vector<float> ds(in.s.size());
  for (const Form& form : kForms) {
    const Gradients<float> expected = RunBackward(form.rounding, c, in, y, clean, ds);
    const int token = 16;
    Projections<float> dy = clean;
    dy.k[c.place(1, token, 0) * c.dim + 3] = std::nanf("");
    const Gradients<float> actual = RunBackward(form.rounding, c, in, y, dy, ds);
    const size_t row = c.row_of_x(1, token, 0);
    for (size_t i = 0; i < actual.dx.size(); i++) {
      if ((i >= row && i < row + c.dim) || std::isnan(expected.dx[i])) {
        ASSERT_TRUE(std::isnan(actual.dx[i])) << form.rounding << " dx " << i;
      } else {
        ASSERT_EQ(actual.dx[i], expected.dx[i]) << form.rounding << " dx " << i;
      }
    }
    for (size_t i = 0; i < ds.size(); i++) {
      const bool is_keys =
          i >= c.state(1, 0) && i < c.state(1, 1) && static_cast<int>(i % c.columns()) < c.dim;
      if (is_keys) {
        ASSERT_TRUE(std::isnan(actual.ds[i])) << form.rounding << " ds " << i;
      } else {
        ASSERT_EQ(actual.ds[i], expected.ds[i]) << form.rounding << " ds " << i;
      }
    }
  }
}

}  // namespace
}  // namespace nested_learning
