#include "cuda/tests/faults.h"
#include "cuda/tests/testing.h"
#include "kernels/scan/scan.cuh"

namespace nested_learning {
namespace {

// Two chunks, the second not full, of one head with decay and erase, against the recurrence in double. The kernel takes the
// decay and the erase of the token so many later.
void Check(const char* kernel, double tolerance, int decay_later = 0, int erase_later = 0) {
  constexpr int kTime = 70, kKeys = 5, kValues = 40;
  DeviceFloats q(RandomFloats(kTime * kKeys, 1)), k(RandomFloats(kTime * kKeys, 2)),
      u(RandomFloats(kTime * kValues, 3)), log_alpha(RandomFloats(kTime + 1, 4, 0.2f)),
      erase(RandomFloats(kTime + 1, 5)), s0(RandomFloats(kKeys * kValues, 6)), o(kTime * kValues),
      s(kKeys * kValues), states(2 * kKeys * kValues);
  for (int t = 0; t <= kTime; t++) {
    log_alpha[t] = -std::fabs(log_alpha[t]);
    erase[t] = 1 / (1 + std::exp(-erase[t]));
  }
  for (int t = 0; t < kTime; t++) {
    // Of unit length, and few elements, so that much is erased of what other tokens wrote.
    float square = 0;
    for (int d = 0; d < kKeys; d++) square += k[t * kKeys + d] * k[t * kKeys + d];
    for (int d = 0; d < kKeys; d++) k[t * kKeys + d] /= std::sqrt(square);
  }
  ScanArguments a = {};
  a.q = q.data(), a.k = k.data(), a.u = u.data();
  a.log_alpha = log_alpha.data() + decay_later, a.erase = erase.data() + erase_later,
  a.s0 = s0.data();
  a.o = o.data(), a.s = s.data(), a.states = states.data();
  a.batch = a.heads = 1, a.time = kTime, a.key_dim = kKeys, a.value_dim = kValues;
  a.chunk = 64, a.read = CudaScanRead::kAfter, a.scale = 0.7f;
  LaunchKernel(kernel, 1, kScanThreads, ScanSharedBytes(kKeys), a);

  std::vector<double> state(kKeys * kValues);
  for (size_t i = 0; i < state.size(); i++) EXPECT_EQ(states[i], state[i] = s0[i]);
  for (int t = 0; t < kTime; t++) {
    for (int j = 0; j < kValues; j++) {
      double w = 0, read = 0;
      for (int d = 0; d < kKeys; d++) {
        if (t == 64) {
          EXPECT_NEAR(states[(kKeys + d) * kValues + j], state[d * kValues + j], 8 * tolerance);
        }
        w += double{k[t * kKeys + d]} * state[d * kValues + j];
      }
      w = u[t * kValues + j] - erase[t] * w;
      for (int d = 0; d < kKeys; d++) {
        double& x = state[d * kValues + j];
        x = std::exp(double{log_alpha[t]}) * x + k[t * kKeys + d] * w;
        read += q[t * kKeys + d] * x;
      }
      EXPECT_NEAR(o[t * kValues + j], 0.7 * read, 8 * tolerance) << t << " " << j;
    }
  }
  for (size_t i = 0; i < state.size(); i++) EXPECT_NEAR(s[i], state[i], 8 * tolerance);
}

[[maybe_unused]] const bool kFaultCases[] = {
    AddFaultCase("nl_scan_forward_float32", [] { Check("nl_scan_forward_float32", 2e-6); }),
    AddFaultCase("nl_scan_forward_tf32", [] { Check("nl_scan_forward_tf32", 4e-3); }),
    AddFaultCase("nl_scan_forward_bf16", [] { Check("nl_scan_forward_bf16", 3e-2); })};

TEST(CudaScanFaults, GateOfTheTokenBeside_IsSeen) {
  EXPECT_TRUE(Fails([] { Check("nl_scan_forward_bf16", 3e-2, 1, 0); }));
  EXPECT_TRUE(Fails([] { Check("nl_scan_forward_bf16", 3e-2, 0, 1); }));
}

}  // namespace
}  // namespace nested_learning
