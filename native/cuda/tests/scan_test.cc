#include "cuda/tests/testing.h"
#include "kernels/scan/scan.cuh"

namespace nested_learning {
namespace {

struct Case {
  int batch, time, heads, key_dim, value_dim, chunk;
  CudaScanRead read;
  bool decays, erases, frozen;
};

struct Inputs {
  std::vector<float> q, k, u, log_alpha, erase, theta, s0;
};

Inputs InputsOf(const Case& c) {
  const size_t tokens = size_t{1} * c.batch * c.time * c.heads;
  Inputs in{RandomFloats(tokens * c.key_dim, 1),
            RandomFloats(tokens * c.key_dim, 2),
            RandomFloats(tokens * c.value_dim, 3),
            RandomFloats(tokens, 4),
            RandomFloats(tokens, 5),
            RandomFloats(tokens, 6),
            RandomFloats(size_t{1} * c.batch * c.heads * c.key_dim * c.value_dim, 7)};
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
  for (float& x : in.theta) x = 0.1f / (1 + std::exp(-x));
  return in;
}

struct Outputs {
  std::vector<double> o, s, states, chunk_start;
};

// Token by token in double.
Outputs Reference(const Case& c, const Inputs& in) {
  const int chunks = (c.time + c.chunk - 1) / c.chunk;
  const size_t state = size_t{1} * c.key_dim * c.value_dim;
  Outputs out;
  out.o.resize(in.u.size());
  out.s.assign(in.s0.begin(), in.s0.end());
  out.states.resize(size_t{1} * c.batch * c.heads * chunks * state);
  out.chunk_start = out.s;
  for (int b = 0; b < c.batch; b++) {
    for (int h = 0; h < c.heads; h++) {
      double* s = &out.s[(size_t{1} * b * c.heads + h) * state];
      std::vector<double> start(s, s + state);
      const auto dot = [&](const float* x, const double* m, int j) {
        double sum = 0;
        for (int d = 0; d < c.key_dim; d++) sum += x[d] * m[d * c.value_dim + j];
        return sum;
      };
      for (int t = 0; t < c.time; t++) {
        const size_t token = (size_t{1} * b * c.time + t) * c.heads + h;
        const float *q = &in.q[token * c.key_dim], *k = &in.k[token * c.key_dim],
                    *u = &in.u[token * c.value_dim];
        if (t % c.chunk == 0) {
          start.assign(s, s + state);
          std::copy(s, s + state,
                    &out.states[((size_t{1} * b * c.heads + h) * chunks + t / c.chunk) * state]);
        }
        const double alpha = c.decays ? std::exp(double{in.log_alpha[token]}) : 1;
        for (int j = 0; j < c.value_dim; j++) {
          double w = u[j];
          if (c.frozen) w = in.theta[token] * (w - dot(k, start.data(), j));
          if (c.erases) w -= in.erase[token] * dot(k, s, j);
          double* o = &out.o[token * c.value_dim + j];
          if (c.read == CudaScanRead::kBefore) *o = 0.7 * dot(q, s, j);
          if (c.read == CudaScanRead::kChunkStart) *o = 0.7 * dot(q, start.data(), j);
          for (int d = 0; d < c.key_dim; d++) {
            double* at = &s[d * c.value_dim + j];
            *at = alpha * *at + k[d] * w;
          }
          if (c.read == CudaScanRead::kAfter) *o = 0.7 * dot(q, s, j);
        }
      }
      if (c.time % c.chunk == 0) start.assign(s, s + state);
      std::copy(start.begin(), start.end(),
                &out.chunk_start[(size_t{1} * b * c.heads + h) * state]);
    }
  }
  return out;
}

class CudaScan : public InEveryOrder {
 protected:
  struct Result {
    std::vector<float> o, s, states, chunk_start;
  };
  static Result Run(const char* kernel, const Case& c, const Inputs& in) {
    const int chunks = (c.time + c.chunk - 1) / c.chunk;
    const size_t state = in.s0.size();
    DeviceFloats q(in.q), k(in.k), u(in.u), log_alpha(in.log_alpha), erase(in.erase),
        theta(in.theta), s(in.s0), o(in.u.size()), states(state * chunks), chunk_start(state);
    const ScanArguments a{q.data(), k.data(), u.data(), c.decays ? log_alpha.data() : nullptr,
                          c.erases ? erase.data() : nullptr, c.frozen ? theta.data() : nullptr,
                          // In place.
                          s.data(), o.data(), s.data(), states.data(), chunk_start.data(), c.batch,
                          c.time, c.heads, c.key_dim, c.value_dim, c.chunk, c.read, c.frozen, 0.7f,
                          0};
    const unsigned across = (c.value_dim + kScanColumns - 1) / kScanColumns;
    LaunchKernel(kernel, c.batch * c.heads * across, kScanThreads, ScanSharedBytes(c.key_dim), a);
    return {o.values(), s.values(), states.values(), chunk_start.values()};
  }

  static void Near(const char* what, const std::vector<float>& actual,
                   const std::vector<double>& expected, double tolerance) {
    ASSERT_EQ(actual.size(), expected.size()) << what;
    double largest = 1;
    for (double x : expected) largest = std::max(largest, std::abs(x));
    for (size_t i = 0; i < actual.size(); i++)
      ASSERT_NEAR(actual[i], expected[i], tolerance * largest) << what << " " << i;
  }

  static void Check(const char* kernel, const Case& c, double tolerance) {
    const Inputs in = InputsOf(c);
    const Outputs expected = Reference(c, in);
    const Result actual = Run(kernel, c, in);
    Near("o", actual.o, expected.o, tolerance);
    Near("s", actual.s, expected.s, tolerance);
    Near("states", actual.states, expected.states, tolerance);
    Near("chunk start", actual.chunk_start, expected.chunk_start, tolerance);
  }
};
NL_IN_EVERY_ORDER(CudaScan);

const Case kCases[] = {
    {1, 1, 1, 1, 1, 64, CudaScanRead::kAfter, true, true, false},
    {2, 65, 2, 17, 5, 64, CudaScanRead::kAfter, true, true, false},
    {1, 63, 1, 16, 70, 64, CudaScanRead::kBefore, true, true, false},
    {1, 128, 1, 33, 64, 64, CudaScanRead::kAfter, false, true, false},
    {1, 40, 2, 24, 24, 16, CudaScanRead::kBefore, true, false, true},
    {1, 50, 1, 128, 8, 20, CudaScanRead::kChunkStart, true, true, true},
    {1, 33, 1, 8, 8, 32, CudaScanRead::kChunkStart, false, false, false},
    {1, 64, 1, 12, 9, 64, CudaScanRead::kAfter, false, false, false},
};

TEST_P(CudaScan, Float32_MatchesReference) {
  for (const Case& c : kCases) Check("nl_scan_forward_float32", c, 2e-6);
}

// 11 and 8 significant bits an operand.
TEST_P(CudaScan, RoundedOperands_MatchReference) {
  for (const Case& c : kCases) {
    Check("nl_scan_forward_tf32", c, 4e-3);
    Check("nl_scan_forward_bf16", c, 3e-2);
  }
}

TEST_P(CudaScan, NaN_ReachesNoEarlierTokenAndNoOtherHead) {
  const Case c{1, 70, 2, 16, 16, 64, CudaScanRead::kAfter, true, true, false};
  for (const char* kernel :
       {"nl_scan_forward_float32", "nl_scan_forward_tf32", "nl_scan_forward_bf16"}) {
    for (int t : {5, 37, 66}) {
      Inputs in = InputsOf(c);
      in.u[(t * 2 + 1) * c.value_dim + 3] = std::nanf("");
      in.k[(t * 2 + 1) * c.key_dim + 3] = std::nanf("");
      const Result actual = Run(kernel, c, in);
      for (int i = 0; i < c.time; i++) {
        for (int h = 0; h < 2; h++) {
          const float o = actual.o[(i * 2 + h) * c.value_dim + 3];
          EXPECT_EQ(std::isnan(o), h == 1 && i >= t)
              << kernel << " token " << i << " of head " << h;
        }
      }
    }
  }
}

}  // namespace
}  // namespace nested_learning
