// Adam's step over elements that follow each other, for the kernels that end in it. Per target.
// README.md has the equations and the random numbers.
#if defined(NESTED_LEARNING_KERNELS_ADAM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef NESTED_LEARNING_KERNELS_ADAM_INL_H_
#undef NESTED_LEARNING_KERNELS_ADAM_INL_H_
#else
#define NESTED_LEARNING_KERNELS_ADAM_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "core/vector-inl.h"
#include "kernels/adam/philox.h"

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {

using U32 = hn::RebindToUnsigned<F32>;
using U16 = hn::Rebind<uint16_t, F32>;
using VecU = hn::Vec<U32>;

// Elements that share their blocks of random numbers, of each of which they take 16 bits.
constexpr size_t kRandomGroup = 128;

// The random bits of the elements of a group.
HWY_INLINE void RandomBits(uint64_t seed, int64_t step, uint64_t group, uint16_t* bits) {
  const uint32_t key0 = static_cast<uint32_t>(seed), key1 = static_cast<uint32_t>(seed >> 32);
  const uint32_t stream0 = static_cast<uint32_t>(step);
  const uint32_t stream1 = static_cast<uint32_t>(static_cast<uint64_t>(step) >> 32);
  const uint64_t first = group * 16;
#if HWY_TARGET == HWY_SCALAR
  for (size_t block = 0; block < 16; ++block) {
    uint32_t c0 = static_cast<uint32_t>(first + block);
    uint32_t c1 = static_cast<uint32_t>((first + block) >> 32);
    uint32_t c2 = stream0, c3 = stream1;
    for (uint32_t round = 0; round < kPhiloxRounds; ++round) {
      const uint64_t p0 = static_cast<uint64_t>(kPhiloxMultiply0) * c0;
      const uint64_t p1 = static_cast<uint64_t>(kPhiloxMultiply1) * c2;
      c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ (key0 + round * kPhiloxWeyl0);
      c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ (key1 + round * kPhiloxWeyl1);
      c1 = static_cast<uint32_t>(p1);
      c3 = static_cast<uint32_t>(p0);
    }
    const uint32_t words[4] = {c0, c1, c2, c3};
    for (size_t i = 0; i < 4; ++i) {
      uint16_t* to = bits + i / 2 * 64 + 4 * block + i % 2 * 2;
      to[0] = static_cast<uint16_t>(words[i]);
      to[1] = static_cast<uint16_t>(words[i] >> 16);
    }
  }
#else
  // A word in the low half of each 64-bit lane; what comes to stand in the high half is ignored. kAtOnce vectors of blocks
  // side by side, as one alone would wait for its multiplications.
  const hn::ScalableTag<uint64_t> d;
  const hn::Repartition<uint32_t, decltype(d)> d32;
  const hn::Repartition<uint16_t, decltype(d)> d16;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kAtOnce = 2;
  const auto multiply0 = hn::Set(d32, kPhiloxMultiply0), multiply1 = hn::Set(d32, kPhiloxMultiply1);
  const V low = hn::Set(d, uint64_t{0xFFFFFFFFu});
  const size_t lanes = hn::Lanes(d);
  for (size_t block = 0; block < 16; block += kAtOnce * lanes) {
    V c0[kAtOnce], c1[kAtOnce], c2[kAtOnce], c3[kAtOnce];
    HWY_UNROLL(kAtOnce)
    for (size_t i = 0; i < kAtOnce; ++i) {
      c0[i] = hn::Iota(d, first + block + i * lanes);
      c1[i] = hn::ShiftRight<32>(c0[i]);
      c2[i] = hn::Set(d, uint64_t{stream0});
      c3[i] = hn::Set(d, uint64_t{stream1});
    }
    HWY_UNROLL(10)
    for (uint32_t round = 0; round < kPhiloxRounds; ++round) {
      const V round0 = hn::Set(d, uint64_t{key0 + round * kPhiloxWeyl0});
      const V round1 = hn::Set(d, uint64_t{key1 + round * kPhiloxWeyl1});
      HWY_UNROLL(kAtOnce)
      for (size_t i = 0; i < kAtOnce; ++i) {
        const V p0 = hn::MulEven(hn::BitCast(d32, c0[i]), multiply0);
        const V p1 = hn::MulEven(hn::BitCast(d32, c2[i]), multiply1);
        c0[i] = hn::Xor(hn::Xor(c1[i], round0), hn::ShiftRight<32>(p1));
        c2[i] = hn::Xor(hn::Xor(c3[i], round1), hn::ShiftRight<32>(p0));
        c1[i] = p1;
        c3[i] = p0;
      }
    }
    HWY_UNROLL(kAtOnce)
    for (size_t i = 0; i < kAtOnce; ++i) {
      uint16_t* to = bits + 4 * (block + i * lanes);
      const V first_half = hn::Or(hn::And(c0[i], low), hn::ShiftLeft<32>(c1[i]));
      const V second_half = hn::Or(hn::And(c2[i], low), hn::ShiftLeft<32>(c3[i]));
      hn::StoreU(hn::BitCast(d16, first_half), d16, to);
      hn::StoreU(hn::BitCast(d16, second_half), d16, to + 64);
    }
  }
#endif
}

// bfloat16 is the upper half of a float.
HWY_INLINE VecF LoadHalves(WholeVector, const uint16_t* from) {
  return hn::BitCast(F32(), hn::ShiftLeft<16>(hn::PromoteTo(U32(), hn::LoadU(U16(), from))));
}

HWY_INLINE VecF LoadHalves(PartOfVector part, const uint16_t* from) {
  HWY_ALIGN uint16_t halves[kLanes] = {};
  for (size_t i = 0; i < part.lanes; ++i) halves[i] = from[i];
  return LoadHalves(WholeVector(), halves);
}

HWY_INLINE void StoreHalves(WholeVector, VecF v, uint16_t* to) {
  const auto upper = hn::ShiftRight<16>(hn::BitCast(U32(), v));
  hn::StoreU(hn::DemoteTo(U16(), hn::BitCast(I32(), upper)), U16(), to);
}

HWY_INLINE void StoreHalves(PartOfVector part, VecF v, uint16_t* to) {
  HWY_ALIGN uint16_t halves[kLanes];
  StoreHalves(WholeVector(), v, halves);
  for (size_t i = 0; i < part.lanes; ++i) to[i] = halves[i];
}

// x plus random bits below what bfloat16 keeps: cut off there, it is rounded up with the probability
// that makes the mean x. A NaN, which might turn into a number, stays as it is.
HWY_INLINE VecF Dither(VecF x, VecU random) {
  const VecF up = hn::BitCast(F32(), hn::Add(hn::BitCast(U32(), x), random));
  return hn::IfThenElse(hn::IsNaN(x), x, up);
}

// The step's constants, worked out in double.
struct AdamStep {
  VecF gradient_scale, l2, beta1, rest1, beta2, rest2, rate, root_scale, epsilon, decay;

  explicit AdamStep(const nl_adam_arguments& a) {
    const F32 d;
    const double learning_rate = a.learning_rate;
    gradient_scale = hn::Set(d, a.gradient_scale);
    l2 = hn::Set(d, a.decoupled ? 0.0f : a.weight_decay);
    beta1 = hn::Set(d, static_cast<float>(a.beta1));
    rest1 = hn::Set(d, static_cast<float>(1.0 - a.beta1));
    beta2 = hn::Set(d, static_cast<float>(a.beta2));
    rest2 = hn::Set(d, static_cast<float>(1.0 - a.beta2));
    rate = hn::Set(d, static_cast<float>(learning_rate / a.correction1));
    root_scale = hn::Set(d, static_cast<float>(1.0 / a.correction2));
    epsilon = hn::Set(d, a.epsilon);
    decay = hn::Set(d, a.decoupled ? static_cast<float>(learning_rate * a.weight_decay) : 0.0f);
  }

  // The new w; m and v in and out.
  HWY_INLINE VecF operator()(VecF w, VecF gradient, VecF& m, VecF& v) const {
    const VecF g = hn::Add(hn::Mul(gradient_scale, gradient), hn::Mul(l2, w));
    m = hn::Add(hn::Mul(beta1, m), hn::Mul(rest1, g));
    v = hn::Add(hn::Mul(beta2, v), hn::Mul(rest2, hn::Mul(g, g)));
    const VecF root = hn::Add(hn::Sqrt(hn::Mul(v, root_scale)), epsilon);
    // Not (1 − ηλ) w, whose factor would be rounded to few of the bits of ηλ.
    return hn::Sub(w, hn::Add(hn::Mul(decay, w), hn::Div(hn::Mul(rate, m), root)));
  }
};

// How far ahead of a long run, in floats, what it will read is asked for; 0 for short ones.
constexpr size_t kAdamAhead = 256;

// TGradient: vector, position -> the gradient there.
template <size_t kAhead, class TGradient>
struct AdamFloatBody {
  AdamStep step;
  float *w, *m, *v;
  TGradient gradient;

  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    if (kAhead > 0) {
      hwy::Prefetch(w + i + kAhead);
      hwy::Prefetch(m + i + kAhead);
      hwy::Prefetch(v + i + kAhead);
    }
    VecF first = vector(m + i), second = vector(v + i);
    vector(step(vector(w + i), gradient(vector, i), first, second), w + i);
    vector(first, m + i);
    vector(second, v + i);
  }
};

template <class TGradient>
struct AdamHalfBody {
  AdamStep step;
  float* w;
  uint16_t *m, *v;
  const uint16_t* random;
  TGradient gradient;

  template <class TVector>
  HWY_INLINE void Run(TVector vector, size_t i) {
    VecF first = LoadHalves(vector, m + i), second = LoadHalves(vector, v + i);
    vector(step(vector(w + i), gradient(vector, i), first, second), w + i);
    // Beyond the last element random is readable and of no matter.
    const VecU bits = hn::PromoteTo(U32(), hn::LoadU(U16(), random + i));
    StoreHalves(vector, Dither(first, bits), m + i);
    StoreHalves(vector, Dither(second, hn::Xor(bits, hn::Set(U32(), 0xFFFFu))), v + i);
  }
};

// The elements begin .. begin + count - 1 of the tensors; gradient counts from begin.
template <size_t kAhead, class TGradient>
HWY_INLINE void AdamElements(const nl_adam_arguments& a, const AdamStep& step, size_t begin,
                             size_t count, TGradient gradient) {
  float* w = a.w + begin;
  if (a.moments == NL_MOMENTS_FLOAT32) {
    AdamFloatBody<kAhead, TGradient> body = {step, w, static_cast<float*>(a.m) + begin,
                                             static_cast<float*>(a.v) + begin, gradient};
    ForEachVector(count, body);
    return;
  }
  HWY_ALIGN uint16_t random[kRandomGroup + kLanes];
  std::fill_n(random + kRandomGroup, kLanes, uint16_t{0});
  for (size_t i = 0; i < count;) {
    const size_t at = (begin + i) % kRandomGroup;
    const size_t length = std::min(kRandomGroup - at, count - i);
    RandomBits(a.seed, a.step, (begin + i) / kRandomGroup, random);
    const auto from = [&](auto vector, size_t j) HWY_ATTR { return gradient(vector, i + j); };
    AdamHalfBody<decltype(from)> body = {step,
                                         w + i,
                                         static_cast<uint16_t*>(a.m) + begin + i,
                                         static_cast<uint16_t*>(a.v) + begin + i,
                                         random + at,
                                         from};
    ForEachVector(length, body);
    i += length;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#endif  // per target
