#include <cstring>
#include <memory>

#include "cuda/block.cuh"
#include "cuda/tests/testing.h"
#include "kernels/adam/adam.cuh"

namespace nested_learning {
namespace {

struct SumOfBlock {
  const double* in;
  double* out;
};

}  // namespace
}  // namespace nested_learning

using nested_learning::SumOfBlock;

// The sum that nl_adam_commit ends in, with and without the barrier in it.
template <bool kBarrier>
NL_DEVICE void Sum(SumOfBlock a) {
  NL_DYNAMIC_SHARED(double, shared);
  a.out[threadIdx.x] = nested_learning::BlockSum<double, kBarrier>(a.in[threadIdx.x], shared);
}
extern "C" __global__ void nl_test_block_sum(SumOfBlock a) { Sum<true>(a); }
NL_KERNEL(nl_test_block_sum)
extern "C" __global__ void nl_test_block_sum_without_barrier(SumOfBlock a) { Sum<false>(a); }
NL_KERNEL(nl_test_block_sum_without_barrier)

namespace nested_learning {
namespace {

struct Settings {
  double learning_rate = 1e-2, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0.1;
  bool decoupled = true, half = false, clear = false;
  int64_t step = 3;
  float scale = 0.5f;
  uint64_t seed = 0x123456789abcdef0u;
};

AdamConstants Constants(const Settings& s) {
  AdamConstants c;
  c.seed = s.seed;
  c.step = static_cast<uint64_t>(s.step);
  c.gradient_scale = s.scale;
  c.ridge = s.decoupled ? 0 : static_cast<float>(s.decay);
  c.beta1 = static_cast<float>(s.beta1), c.rest1 = static_cast<float>(1 - s.beta1);
  c.beta2 = static_cast<float>(s.beta2), c.rest2 = static_cast<float>(1 - s.beta2);
  c.rate = static_cast<float>(s.learning_rate / (1 - std::pow(s.beta1, s.step)));
  c.root_scale = static_cast<float>(1 / (1 - std::pow(s.beta2, s.step)));
  c.epsilon = static_cast<float>(s.epsilon);
  c.decay = s.decoupled ? static_cast<float>(s.learning_rate * s.decay) : 0;
  return c;
}

uint16_t Upper(float x) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16); }
float Widen(uint16_t half) { return std::bit_cast<float>(static_cast<uint32_t>(half) << 16); }

// The 16 bits of an element as nested_learning.h words them, a block for each.
uint32_t RandomBits(uint64_t seed, uint64_t stream, uint64_t element) {
  const uint64_t i = element % 128 / 2, block = 16 * (element / 128) + i % 32 / 2;
  uint32_t c[4] = {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                   static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  for (uint32_t round = 0; round < 10; round++) {
    const uint32_t key0 = static_cast<uint32_t>(seed) + round * 0x9E3779B9u;
    const uint32_t key1 = static_cast<uint32_t>(seed >> 32) + round * 0xBB67AE85u;
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
    const uint32_t next[4] = {
        static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(p1),
        static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(p0)};
    std::memcpy(c, next, sizeof(c));
  }
  return c[2 * (i / 32) + i % 2] >> (element % 2 * 16) & 0xffff;
}

// Tensors in buffers of their exact size, `shift` elements from where an allocation begins.
struct Tensor {
  Tensor(size_t count, int shift, const Settings& settings, unsigned seed)
      : count(count), shift(shift), s(settings) {
    const auto put = [&](DeviceFloats& to, std::vector<float> values) {
      for (size_t i = 0; i < count; i++) to[i + shift] = values[i];
    };
    put(w, RandomFloats(count, seed));
    put(g, RandomFloats(count, seed + 1));
    std::vector<float> first = RandomFloats(count, seed + 2, 0.1f);
    std::vector<float> second = RandomFloats(count, seed + 3, 0.01f);
    for (float& x : second) x = std::fabs(x);
    if (s.half) {
      for (size_t i = 0; i < count; i++)
        Half(m)[i] = Upper(first[i]), Half(v)[i] = Upper(second[i]);
    } else {
      put(m, first);
      put(v, second);
    }
    w0 = w.values(), g0 = g.values();
    m0.resize(count), v0.resize(count);
    for (size_t i = 0; i < count; i++) m0[i] = M(i), v0[i] = V(i);
  }

  uint16_t* Half(DeviceFloats& x) { return reinterpret_cast<uint16_t*>(x.data()) + shift; }
  float M(size_t i) { return s.half ? Widen(Half(m)[i]) : m[i + shift]; }
  float V(size_t i) { return s.half ? Widen(Half(v)[i]) : v[i + shift]; }
  void* Moments(DeviceFloats& x) {
    return s.half ? static_cast<void*>(Half(x)) : static_cast<void*>(x.data() + shift);
  }
  size_t MomentFloats() const { return s.half ? (count + shift + 1) / 2 : count + shift; }

  size_t count;
  int shift;
  Settings s;
  DeviceFloats w{count + shift}, g{count + shift}, m{MomentFloats()}, v{MomentFloats()};
  std::vector<float> w0, g0, m0, v0;
};

class CudaAdam : public InEveryOrder {
 protected:
  // Commits all in one launch; the sums of change and value of each.
  static std::vector<double> Commit(std::vector<Tensor*> tensors, bool sums) {
    AdamArguments a = {};
    int chunks = 0;
    for (size_t i = 0; i < tensors.size(); i++) {
      Tensor& t = *tensors[i];
      a.tensors[i] = {t.w.data() + t.shift,
                      t.g.data() + t.shift,
                      t.Moments(t.m),
                      t.Moments(t.v),
                      static_cast<int64_t>(t.count),
                      Constants(t.s),
                      chunks,
                      t.s.half,
                      t.s.clear,
                      0};
      chunks += static_cast<int>((t.count + kAdamChunk - 1) / kAdamChunk);
    }
    const double nan = std::numeric_limits<double>::quiet_NaN();
    std::vector<double> parts(2 * chunks, nan), result(2 * tensors.size(), nan);
    a.parts = sums ? parts.data() : nullptr;
    a.result = result.data();
    a.tensor_count = static_cast<int>(tensors.size());
    a.chunk_count = chunks;
    LaunchKernel("nl_adam_commit", chunks, kAdamThreads, sums ? kAdamSharedBytes : 0, a);
    if (sums) LaunchKernel("nl_adam_sums", a.tensor_count, kAdamThreads, kAdamSharedBytes, a);
    return result;
  }

  // Against the step in double, from the constants in double, and bit by bit against it in unfused float32.
  static void Check(Tensor& t) {
    const Settings& s = t.s;
    const AdamConstants c = Constants(s);
    const double correction1 = 1 - std::pow(s.beta1, s.step);
    const double correction2 = 1 - std::pow(s.beta2, s.step);
    int wrong = 0;
    for (size_t i = 0; i < t.count && wrong < 5; i++) {
      const double w = t.w0[i + t.shift];
      const double g = s.scale * double{t.g0[i + t.shift]} + (s.decoupled ? 0 : s.decay * w);
      const double m = s.beta1 * t.m0[i] + (1 - s.beta1) * g;
      const double v = s.beta2 * t.v0[i] + (1 - s.beta2) * g * g;
      const double next =
          w - s.learning_rate * (m / correction1) / (std::sqrt(v / correction2) + s.epsilon) -
          (s.decoupled ? s.learning_rate * s.decay * w : 0);
      const float after = t.w[i + t.shift];
      const bool near = std::fabs(after - next) <= 4e-7 * (1 + std::fabs(next));
      const bool moments_near = s.half ? std::fabs(t.M(i) - m) <= 0x1p-7 * std::fabs(m) + 1e-7 &&
                                             std::fabs(t.V(i) - v) <= 0x1p-7 * v + 1e-9
                                       : std::fabs(t.M(i) - m) <= 3e-7 * (std::fabs(m) + 0.1) &&
                                             std::fabs(t.V(i) - v) <= 3e-7 * (v + 1e-3);
      const float g32 = c.gradient_scale * t.g0[i + t.shift] + c.ridge * t.w0[i + t.shift];
      const float m32 = c.beta1 * t.m0[i] + c.rest1 * g32;
      const float v32 = c.beta2 * t.v0[i] + c.rest2 * (g32 * g32);
      const float w32 = t.w0[i + t.shift];
      bool same = after == w32 - (c.decay * w32 +
                                  c.rate * m32 / (std::sqrt(v32 * c.root_scale) + c.epsilon));
      if (s.half) {
        const uint32_t bits = RandomBits(s.seed, c.step, i);
        same &= t.Half(t.m)[i] == Upper(std::bit_cast<float>(std::bit_cast<uint32_t>(m32) + bits));
        same &= t.Half(t.v)[i] ==
                Upper(std::bit_cast<float>(std::bit_cast<uint32_t>(v32) + (bits ^ 0xffff)));
      } else {
        same &= t.M(i) == m32 && t.V(i) == v32;
      }
      same &= t.g[i + t.shift] == (s.clear ? 0 : t.g0[i + t.shift]);
      EXPECT_TRUE(near && moments_near && same) << "element " << i << " of " << t.count;
      wrong += !(near && moments_near && same);
    }
  }
};
NL_IN_EVERY_ORDER(CudaAdam);

TEST_P(CudaAdam, Commit_MatchesTheStep) {
  for (size_t count : {1, 3, 4, 63, 65, 127, 129, 4095, 4096, 4097, 9001}) {
    for (int shift : {0, 1}) {
      for (bool half : {false, true}) {
        Settings s;
        s.half = half;
        s.decoupled = count % 2;
        s.clear = !shift;
        Tensor t(count, shift, s, static_cast<unsigned>(count));
        Commit({&t}, false);
        Check(t);
      }
    }
  }
}

TEST_P(CudaAdam, TensorsOfALaunch_KeepApart) {
  std::vector<std::unique_ptr<Tensor>> tensors;
  std::vector<Tensor*> pointers;
  for (int i = 0; i < kAdamTensors; i++) {
    Settings s;
    s.half = i % 3 == 0, s.clear = i % 2, s.decoupled = i % 5 != 0;
    s.learning_rate = 1e-3 * (i + 1), s.step = i + 1, s.scale = 1.0f + i, s.seed = i * 77777u;
    const size_t count = i % 4 == 1 ? 0 : i == 8 ? 3 * kAdamChunk + 5 : 10 + 3 * i;
    tensors.push_back(std::make_unique<Tensor>(count, i % 4 == 2, s, i));
    pointers.push_back(tensors.back().get());
  }
  const std::vector<double> sums = Commit(pointers, true);
  for (int i = 0; i < kAdamTensors; i++) {
    Tensor& t = *tensors[i];
    Check(t);
    double change = 0, value = 0;
    for (size_t j = t.shift; j < t.count + t.shift; j++) {
      change += (double{t.w[j]} - t.w0[j]) * (double{t.w[j]} - t.w0[j]);
      value += double{t.w0[j]} * t.w0[j];
    }
    EXPECT_NEAR(sums[2 * i], change, 1e-13 * change) << i;
    EXPECT_NEAR(sums[2 * i + 1], value, 1e-13 * value) << i;
  }
}

TEST_P(CudaAdam, MomentThatIsNaN_StaysNaN) {
  Settings s;
  s.half = true;
  Tensor t(200, 0, s, 1);
  t.g[100] = std::bit_cast<float>(0x7fffffffu);
  Commit({&t}, false);
  EXPECT_TRUE(std::isnan(t.M(100)) && std::isnan(t.V(100)) && std::isnan(t.w[100]));
  EXPECT_FALSE(std::isnan(t.M(99)) || std::isnan(t.V(101)));
}

TEST_P(CudaAdam, SumWithoutBarrier_IsFound) {
  std::vector<double> in(256), out(256);
  for (int i = 0; i < 256; i++) in[i] = i;
  LaunchKernel("nl_test_block_sum", 1, 256, kAdamSharedBytes, SumOfBlock{in.data(), out.data()});
  EXPECT_EQ(out, std::vector<double>(256, 32640));
  LaunchKernel("nl_test_block_sum_without_barrier", 1, 256, kAdamSharedBytes,
               SumOfBlock{in.data(), out.data()});
  EXPECT_NE(out, std::vector<double>(256, 32640));
}

}  // namespace
}  // namespace nested_learning
