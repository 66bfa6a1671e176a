// One step of Adam or AdamW for many tensors in one launch; README.md has the equations and the random numbers. Each block
// has a share of one tensor's elements, four in a row to a thread, so that every access is of 16 bytes (8 for bfloat16): 28
// bytes an element, 20 with bfloat16 moments, 4 more where the gradient is cleared, and nothing else touches the memory.
#include "cuda/block.cuh"
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

// As LoadFour and StoreFour of block.cuh; whole ones are aligned to 8.
template <bool kWhole>
NL_DEVICE void LoadHalves(const uint16_t* p, int count, float x[4]) {
  if (kWhole) {
    const uint2 v = Load8(p);
    x[0] = Widen(v.x & 0xffffu), x[1] = Widen(v.x >> 16);
    x[2] = Widen(v.y & 0xffffu), x[3] = Widen(v.y >> 16);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) x[i] = i < count ? Widen(p[i]) : 0.0f;
  }
}

template <bool kWhole>
NL_DEVICE void StoreHalves(uint16_t* p, int count, const unsigned x[4]) {
  if (kWhole) {
    Store8(p, x[0] | x[1] << 16, x[2] | x[3] << 16);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (i < count) p[i] = static_cast<uint16_t>(x[i]);
    }
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
  float w[4], g[4], m[4], v[4];
  LoadFour<kWhole>(a.w + first, count, w);
  LoadFour<kWhole>(a.g + first, count, g);
  if (kHalf) {
    LoadHalves<kWhole>(half_m + first, count, m);
    LoadHalves<kWhole>(half_v + first, count, v);
  } else {
    LoadFour<kWhole>(static_cast<float*>(a.m) + first, count, m);
    LoadFour<kWhole>(static_cast<float*>(a.v) + first, count, v);
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float before = w[i], gradient = fmaf(before, a.l2, g[i] * a.gradient_scale);
    m[i] = fmaf(m[i], a.beta1, gradient * a.rest1);
    v[i] = fmaf(v[i], a.beta2, gradient * gradient * a.rest2);
    const float root = sqrtf(v[i] * a.root_scale) + a.epsilon;
    // Not (1 − ηλ) w, whose factor would be rounded to few of the bits of ηλ.
    w[i] = before - fmaf(before, a.decay, m[i] * a.rate / root);
    if (change && i < count) {
      const double difference = static_cast<double>(w[i]) - before, old = before;
      change->change = fma(difference, difference, change->change);
      change->value = fma(old, old, change->value);
    }
  }
  StoreFour<kWhole>(a.w + first, count, w);
  if (kHalf) {
    const uint2 random = RandomBitsOfFour(a.seed, a.step, first);
    const unsigned words[2] = {random.x, random.y};
    unsigned rounded_m[4], rounded_v[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const unsigned bits = words[i / 2] >> (i % 2 * 16) & 0xffffu;
      rounded_m[i] = Dither(m[i], bits);
      rounded_v[i] = Dither(v[i], bits ^ 0xffffu);
    }
    StoreHalves<kWhole>(half_m + first, count, rounded_m);
    StoreHalves<kWhole>(half_v + first, count, rounded_v);
  } else {
    StoreFour<kWhole>(static_cast<float*>(a.m) + first, count, m);
    StoreFour<kWhole>(static_cast<float*>(a.v) + first, count, v);
  }
  if (a.clear) {
    const float zeros[4] = {};
    StoreFour<kWhole>(a.g + first, count, zeros);
  }
}

}  // namespace nested_learning

using namespace nested_learning;

extern "C" __global__ void __launch_bounds__(kAdamThreads)
    nl_adam_commit(const __grid_constant__ AdamArguments a) {
  NL_SHARED(double, shared, [2 * (kAdamThreads / 32)]);
  const int block = static_cast<int>(blockIdx.x);
  int t = 0;
  while (t + 1 < a.count && block >= a.tensors[t + 1].first_block) t++;
  const AdamTensor& tensor = a.tensors[t];
  const int moments = tensor.bfloat16 ? 8 : 16;
  const bool aligned = IsAligned(tensor.w, 16) && IsAligned(tensor.g, 16) &&
                       IsAligned(tensor.m, moments) && IsAligned(tensor.v, moments);
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
  NL_SHARED(double, shared, [2 * (kAdamThreads / 32)]);
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
