// Adam's step for four elements in a row, for the kernels that end in it: adam.cu, gemm_adam.cu. README.md has the equations and
// the random numbers.
#ifndef NESTED_LEARNING_KERNELS_ADAM_ADAM_INL_CUH_
#define NESTED_LEARNING_KERNELS_ADAM_ADAM_INL_CUH_

#include "cuda/block.cuh"
#include "cuda/functions.cuh"
#include "kernels/adam/adam.cuh"
#include "kernels/adam/philox.h"

namespace nested_learning {

// Philox4x32-10 of (seed, step, index): what four elements from a multiple of four on take of it, 16 bits each.
NL_DEVICE uint64_t RandomBitsOfFour(uint64_t seed, uint64_t step, int64_t first) {
  const uint64_t index = static_cast<uint64_t>(first / 128 * 16 + first % 64 / 4);
  unsigned c0 = static_cast<unsigned>(index), c1 = static_cast<unsigned>(index >> 32);
  unsigned c2 = static_cast<unsigned>(step), c3 = static_cast<unsigned>(step >> 32);
  unsigned key0 = static_cast<unsigned>(seed), key1 = static_cast<unsigned>(seed >> 32);
#pragma unroll
  for (int round = 0; round < kPhiloxRounds; round++) {
    const uint64_t p0 = static_cast<uint64_t>(kPhiloxMultiply0) * c0;
    const uint64_t p1 = static_cast<uint64_t>(kPhiloxMultiply1) * c2;
    c0 = static_cast<unsigned>(p1 >> 32) ^ c1 ^ key0;
    c2 = static_cast<unsigned>(p0 >> 32) ^ c3 ^ key1;
    c1 = static_cast<unsigned>(p1);
    c3 = static_cast<unsigned>(p0);
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  const bool low = first % 128 < 64;
  return (low ? c0 : c2) | static_cast<uint64_t>(low ? c1 : c3) << 32;
}

// The same of `count` elements from anywhere on; where kWhole, of four from a multiple of four on.
template <bool kWhole>
NL_DEVICE uint64_t RandomBits(uint64_t seed, uint64_t step, int64_t first, int count) {
  if (kWhole) return RandomBitsOfFour(seed, step, first);
  const int shift = static_cast<int>(first % 4) * 16;
  uint64_t bits = 0;
  // Of the four that `first` is one of, and of the next.
#pragma unroll 1
  for (int64_t i = first / 4 * 4; i < first + count; i += 4) {
    const uint64_t four = RandomBitsOfFour(seed, step, i);
    bits |= i <= first ? four >> shift : four << (64 - shift);
  }
  return bits;
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

// That fours of all four arrays can be accessed at once.
NL_DEVICE bool IsAligned(const AdamTensor& a) {
  const int moments = a.constants.bfloat16 ? 8 : 16;
  return IsAligned(a.w, 16) && IsAligned(a.g, 16) && IsAligned(a.m, moments) &&
         IsAligned(a.v, moments);
}

struct Change {
  double change, value;
};

// g ← scale g (+ λ w, not decoupled);  m ← β1 m + (1 − β1) g;  v ← β2 v + (1 − β2) g²
// w ← w − η (m / (1 − β1^n)) / (√(v / (1 − β2^n)) + ε) (− ηλ w, decoupled)
//
// Of `count` elements from `first` on with gradients g; whole fours are aligned to their accesses. Bits depend on the element
// and its g alone, not on which four it is in.
template <bool kHalf, bool kWhole>
NL_DEVICE void StepOfFour(const AdamTensor& a, int64_t first, int count, const float g[4],
                          Change* change) {
  auto* half_m = static_cast<uint16_t*>(a.m);
  auto* half_v = static_cast<uint16_t*>(a.v);
  const AdamConstants& c = a.constants;
  float w[4], m[4], v[4];
  LoadFour<kWhole>(a.w + first, count, w);
  if (kHalf) {
    LoadHalves<kWhole>(half_m + first, count, m);
    LoadHalves<kWhole>(half_v + first, count, v);
  } else {
    LoadFour<kWhole>(static_cast<float*>(a.m) + first, count, m);
    LoadFour<kWhole>(static_cast<float*>(a.v) + first, count, v);
  }
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float before = w[i], gradient = fmaf(before, c.l2, g[i] * c.gradient_scale);
    m[i] = fmaf(m[i], c.beta1, gradient * c.rest1);
    v[i] = fmaf(v[i], c.beta2, gradient * gradient * c.rest2);
    const float root = sqrtf(v[i] * c.root_scale) + c.epsilon;
    // Not (1 − ηλ) w, whose factor would be rounded to few of the bits of ηλ.
    w[i] = before - fmaf(before, c.decay, m[i] * c.rate / root);
    if (change && i < count) {
      const double difference = static_cast<double>(w[i]) - before, old = before;
      change->change = fma(difference, difference, change->change);
      change->value = fma(old, old, change->value);
    }
  }
  StoreFour<kWhole>(a.w + first, count, w);
  if (kHalf) {
    const uint64_t random = RandomBits<kWhole>(c.seed, c.step, first, count);
    unsigned rounded_m[4], rounded_v[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const unsigned bits = static_cast<unsigned>(random >> (16 * i)) & 0xffffu;
      rounded_m[i] = Dither(m[i], bits);
      rounded_v[i] = Dither(v[i], bits ^ 0xffffu);
    }
    StoreHalves<kWhole>(half_m + first, count, rounded_m);
    StoreHalves<kWhole>(half_v + first, count, rounded_v);
  } else {
    StoreFour<kWhole>(static_cast<float*>(a.m) + first, count, m);
    StoreFour<kWhole>(static_cast<float*>(a.v) + first, count, v);
  }
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_ADAM_ADAM_INL_CUH_
