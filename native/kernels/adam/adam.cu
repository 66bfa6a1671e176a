// One step of Adam or AdamW for many tensors in one launch; README.md has the equations and the random numbers. Each block
// has a share of one tensor's elements, four in a row to a thread, so that every access is of 16 bytes (8 for bfloat16): 28
// bytes an element, 20 with bfloat16 moments, 4 more where the gradient is cleared, and nothing else touches the memory.
#include "cuda/functions.cuh"
#include "kernels/adam/adam.cuh"

namespace nested_learning {

// Philox4x32-10 of (seed, step, index): the two words of it that four elements in a row take.
NL_DEVICE uint2 RandomBitsOfFour(uint64_t seed, uint64_t step, int64_t first) {
  const uint64_t index = static_cast<uint64_t>(first / 128 * 16 + first % 64 / 4);
  unsigned c0 = static_cast<unsigned>(index), c1 = static_cast<unsigned>(index >> 32);
  unsigned c2 = static_cast<unsigned>(step), c3 = static_cast<unsigned>(step >> 32);
  unsigned key0 = static_cast<unsigned>(seed), key1 = static_cast<unsigned>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    c0 = static_cast<unsigned>(p1 >> 32) ^ c1 ^ key0;
    c2 = static_cast<unsigned>(p0 >> 32) ^ c3 ^ key1;
    c1 = static_cast<unsigned>(p1);
    c3 = static_cast<unsigned>(p0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return first % 128 < 64 ? uint2{c0, c1} : uint2{c2, c3};
}

NL_DEVICE float Widen(unsigned half) { return __uint_as_float(half << 16); }

// Random bits are added below what is kept. A NaN, which might turn into a number, is cut off as it is.
NL_DEVICE unsigned Dither(float x, unsigned random) {
  const unsigned bits = __float_as_uint(x);
  return (IsNaN(x) ? bits : bits + random) >> 16;
}

// Four elements in a row; all of them are there and aligned, or the first `count`.
template <typename T>
struct Four {
  T e[4];
};

template <bool kWhole>
NL_DEVICE Four<float> LoadFour(const float* from, int count) {
  if (kWhole) {
    const float4 x = Load16(from);
    return {{x.x, x.y, x.z, x.w}};
  }
  Four<float> x = {};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (i < count) x.e[i] = from[i];
  }
  return x;
}

template <bool kWhole>
NL_DEVICE void StoreFour(float* to, const Four<float>& x, int count) {
  if (kWhole) {
    Store16(to, x.e[0], x.e[1], x.e[2], x.e[3]);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (i < count) to[i] = x.e[i];
  }
}

template <bool kWhole>
NL_DEVICE Four<float> LoadHalves(const uint16_t* from, int count) {
  if (kWhole) {
    const uint2 x = Load8(from);
    return {{Widen(x.x & 0xffffu), Widen(x.x >> 16), Widen(x.y & 0xffffu), Widen(x.y >> 16)}};
  }
  Four<float> x = {};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (i < count) x.e[i] = Widen(from[i]);
  }
  return x;
}

template <bool kWhole>
NL_DEVICE void StoreHalves(uint16_t* to, const Four<unsigned>& x, int count) {
  if (kWhole) {
    Store8(to, x.e[0] | x.e[1] << 16, x.e[2] | x.e[3] << 16);
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (i < count) to[i] = static_cast<uint16_t>(x.e[i]);
  }
}

struct Change {
  double change, value;
};

// g ← scale g (+ λ w, not decoupled);  m ← β1 m + (1 − β1) g;  v ← β2 v + (1 − β2) g²
// w ← w − η (m / (1 − β1^n)) / (√(v / (1 − β2^n)) + ε) (− ηλ w, decoupled)
template <bool kHalf, bool kWhole>
NL_DEVICE void StepOfFour(const AdamTensor& a, int64_t first, Change* change) {
  const int count = static_cast<int>(a.count - first < 4 ? a.count - first : 4);
  auto* half_m = static_cast<uint16_t*>(a.m);
  auto* half_v = static_cast<uint16_t*>(a.v);
  Four<float> w = LoadFour<kWhole>(a.w + first, count), m, v;
  const Four<float> g = LoadFour<kWhole>(a.g + first, count);
  if (kHalf) {
    m = LoadHalves<kWhole>(half_m + first, count);
    v = LoadHalves<kWhole>(half_v + first, count);
  } else {
    m = LoadFour<kWhole>(static_cast<float*>(a.m) + first, count);
    v = LoadFour<kWhole>(static_cast<float*>(a.v) + first, count);
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float before = w.e[i], gradient = fmaf(before, a.l2, g.e[i] * a.gradient_scale);
    m.e[i] = fmaf(m.e[i], a.beta1, gradient * a.rest1);
    v.e[i] = fmaf(v.e[i], a.beta2, gradient * gradient * a.rest2);
    const float root = sqrtf(v.e[i] * a.root_scale) + a.epsilon;
    // Not (1 − ηλ) w, whose factor would be rounded to few of the bits of ηλ.
    w.e[i] = before - fmaf(before, a.decay, m.e[i] * a.rate / root);
    if (change && i < count) {
      const double difference = static_cast<double>(w.e[i]) - before, old = before;
      change->change = fma(difference, difference, change->change);
      change->value = fma(old, old, change->value);
    }
  }
  StoreFour<kWhole>(a.w + first, w, count);
  if (kHalf) {
    const uint2 random = RandomBitsOfFour(a.seed, a.step, first);
    const unsigned words[2] = {random.x, random.y};
    Four<unsigned> rounded_m, rounded_v;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const unsigned bits = words[i / 2] >> (i % 2 * 16) & 0xffffu;
      rounded_m.e[i] = Dither(m.e[i], bits);
      rounded_v.e[i] = Dither(v.e[i], bits ^ 0xffffu);
    }
    StoreHalves<kWhole>(half_m + first, rounded_m, count);
    StoreHalves<kWhole>(half_v + first, rounded_v, count);
  } else {
    StoreFour<kWhole>(static_cast<float*>(a.m) + first, m, count);
    StoreFour<kWhole>(static_cast<float*>(a.v) + first, v, count);
  }
  if (a.clear) StoreFour<kWhole>(a.g + first, {}, count);
}

}  // namespace nested_learning

using namespace nested_learning;

extern "C" __global__ void __launch_bounds__(kAdamThreads)
    nl_adam_commit(const __grid_constant__ AdamArguments a) {
  __shared__ double shared[2 * (kAdamThreads / 32)];
  const int block = static_cast<int>(blockIdx.x);
  int t = 0;
  while (t + 1 < a.count && block >= a.tensors[t + 1].first_block) t++;
  const AdamTensor& tensor = a.tensors[t];
  const auto address = [](const void* p) { return reinterpret_cast<uintptr_t>(p); };
  const bool aligned = ((address(tensor.w) | address(tensor.g)) & 15) == 0 &&
                       ((address(tensor.m) | address(tensor.v)) & (tensor.bfloat16 ? 7 : 15)) == 0;
  const int64_t stride = static_cast<int64_t>(tensor.blocks) * kAdamThreads * 4;
  Change change = {0, 0};
  Change* wanted = a.parts ? &change : nullptr;
  for (int64_t i =
           (static_cast<int64_t>(block - tensor.first_block) * kAdamThreads + threadIdx.x) * 4;
       i < tensor.count; i += stride) {
    const bool whole = aligned && i + 4 <= tensor.count;
    if (tensor.bfloat16) {
      if (whole) {
        StepOfFour<true, true>(tensor, i, wanted);
      } else {
        StepOfFour<true, false>(tensor, i, wanted);
      }
    } else if (whole) {
      StepOfFour<false, true>(tensor, i, wanted);
    } else {
      StepOfFour<false, false>(tensor, i, wanted);
    }
  }
  if (!a.parts) return;
  const double of_change = SumOfBlock(change.change, shared);
  const double of_value = SumOfBlock(change.value, shared + kAdamThreads / 32);
  if (threadIdx.x == 0) {
    a.parts[2 * block] = of_change;
    a.parts[2 * block + 1] = of_value;
  }
}
NL_KERNEL(nl_adam_commit)

// changes[t] = Σ parts of tensor t's blocks
extern "C" __global__ void __launch_bounds__(kAdamThreads)
    nl_adam_changes(const __grid_constant__ AdamArguments a) {
  __shared__ double shared[2 * (kAdamThreads / 32)];
  const int t = static_cast<int>(blockIdx.x);
  const AdamTensor& tensor = a.tensors[t];
  Change change = {0, 0};
  for (int i = static_cast<int>(threadIdx.x); i < tensor.blocks; i += kAdamThreads) {
    change.change += a.parts[2 * (tensor.first_block + i)];
    change.value += a.parts[2 * (tensor.first_block + i) + 1];
  }
  const double of_change = SumOfBlock(change.change, shared);
  const double of_value = SumOfBlock(change.value, shared + kAdamThreads / 32);
  if (threadIdx.x == 0) {
    a.changes[2 * t] = of_change;
    a.changes[2 * t + 1] = of_value;
  }
}
NL_KERNEL(nl_adam_changes)
