#include <memory>

#include "cuda/functions.cuh"
#include "cuda/tests/faults.h"
#include "cuda/tests/testing.h"
#include "kernels/adam/adam.cuh"

namespace nested_learning {
namespace {

struct Moments {
  std::vector<double> w, m, v;
};

// A tensor on the device, its step, and what the step makes in double.
class Tensor {
 public:
  // offset: floats by which the tensor begins beside a boundary of 16 bytes.
  Tensor(size_t count, unsigned seed, size_t offset, bool decoupled, bool clear)
      : count_(count),
        offset_(offset),
        w_(Shifted(RandomFloats(count, seed))),
        g_(Shifted(RandomFloats(count, seed + 1))),
        m_(Shifted(RandomFloats(count, seed + 2, 0.1f))),
        v_(Shifted(RandomFloats(count, seed + 3, 0.1f))) {
    for (float& x : v_values()) x *= x;
    tensor_ = {w_.data() + offset,
               g_.data() + offset,
               m_.data() + offset,
               v_.data() + offset,
               static_cast<int64_t>(count),
               {seed, 5, 0.9f, 1 - 0.9f, 0.999f, 1 - 0.999f, 0.01f, 1.5f, decoupled ? 0 : 0.02f,
                decoupled ? 0.001f : 0, 1e-3f, 0.5f, 0, clear},
               0,
               0};
    for (size_t i = 0; i < count; i++) {
      const AdamConstants& c = tensor_.constants;
      const double w = tensor_.w[i], g = static_cast<double>(c.gradient_scale) * tensor_.g[i] +
                                         static_cast<double>(c.l2) * w;
      const double m =
          static_cast<double>(c.beta1) * m_[i + offset] + static_cast<double>(c.rest1) * g;
      const double v =
          static_cast<double>(c.beta2) * v_[i + offset] + static_cast<double>(c.rest2) * g * g;
      expected_.m.push_back(m);
      expected_.v.push_back(v);
      expected_.w.push_back(w -
                            (c.rate * m / (std::sqrt(v * c.root_scale) + c.epsilon) + c.decay * w));
      change_ += (expected_.w[i] - w) * (expected_.w[i] - w);
      value_ += w * w;
    }
  }

  AdamTensor& tensor() { return tensor_; }

  void Check(const double* changes) {
    for (size_t i = 0; i < count_; i++) {
      EXPECT_NEAR(w_[i + offset_], expected_.w[i], 4e-7 * (1 + std::abs(expected_.w[i])));
      EXPECT_NEAR(m_[i + offset_], expected_.m[i], 2e-7 * (1 + std::abs(expected_.m[i])));
      EXPECT_NEAR(v_[i + offset_], expected_.v[i], 2e-7 * (1 + std::abs(expected_.v[i])));
      if (tensor_.constants.clear) {
        EXPECT_EQ(g_[i + offset_], 0);
      } else {
        EXPECT_NE(g_[i + offset_], 0);
      }
    }
    if (!changes) return;
    EXPECT_NEAR(changes[0], change_, 1e-4 * change_);
    EXPECT_NEAR(changes[1], value_, 1e-12 * value_);
  }

 private:
  struct View {
    float* first;
    float* last;
    float* begin() { return first; }
    float* end() { return last; }
  };
  View v_values() { return {v_.data() + offset_, v_.data() + offset_ + count_}; }
  std::vector<float> Shifted(std::vector<float> values) {
    values.insert(values.begin(), offset_, -1);
    return values;
  }

  size_t count_, offset_;
  DeviceFloats w_, g_, m_, v_;
  AdamTensor tensor_;
  Moments expected_;
  double change_ = 0, value_ = 0;
};

// Blocks of each tensor, and the launch over all.
unsigned Share(AdamArguments& a, const std::vector<int>& blocks) {
  int first = 0;
  a.count = static_cast<int>(blocks.size());
  for (size_t i = 0; i < blocks.size(); i++) {
    a.tensors[i].first_block = first;
    a.tensors[i].blocks = blocks[i];
    first += blocks[i];
  }
  return static_cast<unsigned>(first);
}

// `change`: of the constants that the kernel takes, not of the reference's.
void CheckTensors(const std::vector<size_t>& counts, bool wanted,
                  const std::function<void(AdamTensor&)>& change = nullptr) {
  std::vector<std::unique_ptr<Tensor>> tensors;
  AdamArguments a = {};
  std::vector<int> blocks;
  for (size_t i = 0; i < counts.size(); i++) {
    tensors.push_back(std::make_unique<Tensor>(counts[i], 10 * i, i % 3, i % 2 == 0, i % 2 == 1));
    a.tensors[i] = tensors[i]->tensor();
    if (change) change(a.tensors[i]);
    blocks.push_back(counts[i] > 2000 ? 3 : 1);
  }
  const unsigned grid = Share(a, blocks);
  DeviceFloats parts(4 * grid), changes(4 * counts.size());
  if (wanted) {
    a.parts = reinterpret_cast<double*>(parts.data());
    a.changes = reinterpret_cast<double*>(changes.data());
  }
  LaunchKernel("nl_adam_commit", grid, kAdamThreads, 0, a);
  if (wanted) LaunchKernel("nl_adam_changes", a.count, kAdamThreads, 0, a);
  for (size_t i = 0; i < tensors.size(); i++)
    tensors[i]->Check(wanted ? a.changes + 2 * i : nullptr);
}

[[maybe_unused]] const bool kFaultCase = AddFaultCase("Adam", {[] {
                                                        CheckTensors({300, 2001}, true);
                                                      }});

class CudaAdam : public InEveryOrder {
 protected:
  // The first bits of Philox4x32-10 of key 77 and stream 3, from another implementation.
  static unsigned Bits(size_t i) {
    constexpr unsigned kBits[] = {0xbed6, 0x0a8e, 0x9e78, 0x2e35};
    return kBits[i];
  }
};
NL_IN_EVERY_ORDER(CudaAdam);

TEST_P(CudaAdam, ManyTensors_MatchReference) {
  for (bool wanted : {false, true}) CheckTensors({1, 4, 1023, 1024, 1025, 4099, 3}, wanted);
}

TEST_P(CudaAdam, WrongConstant_IsSeen) {
  using A = AdamConstants;
  float A::*const constants[] = {
      &A::beta1, &A::rest1, &A::beta2,   &A::rest2,      &A::rate,
      &A::l2,    &A::decay, &A::epsilon, &A::root_scale, &A::gradient_scale};
  for (size_t i = 0; i < std::size(constants); i++) {
    EXPECT_TRUE(Fails([&] {
      CheckTensors({100, 100}, false,
                   [&](AdamTensor& tensor) { tensor.constants.*constants[i] *= 1.1f; });
    })) << i;
  }
}

// The bits below those that are kept decide by the counter-based generator.
TEST_P(CudaAdam, BFloat16Moments_AreRoundedByTheSameRandomBits) {
  const size_t count = 1000;
  std::vector<uint16_t> m(count + 4, 0), v(count + 4, 0);
  DeviceFloats w(RandomFloats(count, 1)), g(RandomFloats(count, 2));
  AdamArguments a = {};
  a.tensors[0] = {w.data(),
                  g.data(),
                  m.data(),
                  v.data(),
                  static_cast<int64_t>(count),
                  {77, 3, 0.9f, 0.1f, 0.99f, 0.01f, 0, 1, 0, 0, 1e-8f, 1, 1, 0},
                  0,
                  0};
  LaunchKernel("nl_adam_commit", Share(a, {2}), kAdamThreads, 0, a);
  size_t up = 0;
  double sum = 0, rounded = 0;
  for (size_t i = 0; i < count; i++) {
    const float exact = 0.1f * g[i], stored = __uint_as_float(static_cast<unsigned>(m[i]) << 16);
    const float below = __uint_as_float(__float_as_uint(exact) & 0xffff0000u);
    const float above = __uint_as_float((__float_as_uint(exact) & 0xffff0000u) + 0x10000u);
    EXPECT_TRUE(stored == below || stored == above);
    up += stored == above;
    sum += exact;
    rounded += stored;
    if (i < 4) {
      const unsigned low_m = __float_as_uint(exact) & 0xffffu;
      EXPECT_EQ(stored == above, low_m + Bits(i) > 0xffffu);
    }
  }
  EXPECT_GT(up, count / 3);
  EXPECT_LT(up, 2 * count / 3);
  EXPECT_NEAR(rounded, sum, 0.05);
  EXPECT_EQ(m[count], 0);
  EXPECT_EQ(v[count], 0);
}

}  // namespace
}  // namespace nested_learning
