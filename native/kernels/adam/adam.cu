// Adam's step of many tensors in one launch, and the sums of what it changed; adam.cuh has the equation.
//
//   nl_adam_commit   grid: chunk_count blocks of kAdamThreads; kAdamSharedBytes with parts, else none
//   nl_adam_sums     grid: tensor_count blocks of kAdamThreads; kAdamSharedBytes
#include "kernels/adam/adam.cuh"
#include "cuda/block.cuh"

using namespace nested_learning;

namespace {

// Four moments of either kind, or the first `count` of them.
template <bool kHalf, bool kWhole>
NL_DEVICE void LoadMoments(const void* moments, int64_t at, int count, float x[4]) {
  if (!kHalf) {
    LoadFour<kWhole>(static_cast<const float*>(moments) + at, 0, count, x);
    return;
  }
  const uint16_t* from = static_cast<const uint16_t*>(moments) + at;
  if (kWhole) {
    const uint2& u = *reinterpret_cast<const uint2*>(from);
    const unsigned low = u.x, high = u.y;
    x[0] = __uint_as_float(low << 16), x[1] = __uint_as_float(low & 0xffff0000u);
    x[2] = __uint_as_float(high << 16), x[3] = __uint_as_float(high & 0xffff0000u);
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      x[i] = i < count ? __uint_as_float(static_cast<uint32_t>(from[i]) << 16) : 0.0f;
    }
  }
}

// random: 16 bits an element, those of low halves first.
template <bool kHalf, bool kWhole>
NL_DEVICE void StoreMoments(void* moments, int64_t at, int count, const float x[4],
                            uint32_t random0, uint32_t random1) {
  if (!kHalf) {
    StoreFour<kWhole>(static_cast<float*>(moments) + at, 0, count, x);
    return;
  }
  uint16_t* to = static_cast<uint16_t*>(moments) + at;
  const unsigned halves[4] = {Dither(x[0], random0 & 0xffff), Dither(x[1], random0 >> 16),
                              Dither(x[2], random1 & 0xffff), Dither(x[3], random1 >> 16)};
  if (kWhole) {
    *reinterpret_cast<uint2*>(to) = {halves[0] | halves[1] << 16, halves[2] | halves[3] << 16};
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (i < count) to[i] = static_cast<uint16_t>(halves[i]);
    }
  }
}

// The step of elements at .. at + 3, as far as there are any.
template <bool kHalf, bool kSums, bool kWhole>
NL_DEVICE void CommitFour(const AdamTensor& t, int64_t at, uint32_t random0, uint32_t random1,
                          double& change, double& value) {
  const int64_t left = t.count - at;
  if (!kWhole && left <= 0) return;
  const int count = kWhole || left >= 4 ? 4 : static_cast<int>(left);
  float w[4], g[4], m[4], v[4];
  LoadFour<kWhole>(t.w + at, 0, count, w);
  LoadFour<kWhole>(t.g + at, 0, count, g);
  LoadMoments<kHalf, kWhole>(t.m, at, count, m);
  LoadMoments<kHalf, kWhole>(t.v, at, count, v);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float before = w[i];
    w[i] = AdamStep(t.constants, before, g[i], m[i], v[i]);
    if (kSums && i < count) {
      const double difference = static_cast<double>(w[i]) - before;
      change = fma(difference, difference, change);
      value = fma(static_cast<double>(before), static_cast<double>(before), value);
    }
  }
  StoreFour<kWhole>(t.w + at, 0, count, w);
  StoreMoments<kHalf, kWhole>(t.m, at, count, m, random0, random1);
  StoreMoments<kHalf, kWhole>(t.v, at, count, v, ~random0, ~random1);
  if (t.clear) {
    const float zeros[4] = {};
    StoreFour<kWhole>(t.g + at, 0, count, zeros);
  }
}

// A thread takes the two quads of a group of 128 elements that share a block of random numbers.
template <bool kHalf, bool kSums, bool kWhole>
NL_DEVICE void CommitElements(const AdamTensor& t, int64_t begin, double& change, double& value) {
  for (int i = threadIdx.x; i < kAdamChunk / 8; i += kAdamThreads) {
    const int64_t group = begin / 128 + i / 16, at = group * 128 + i % 16 * 4;
    if (!kWhole && at >= t.count) break;
    uint4 random = {};
    if (kHalf)
      random = RandomBlock(t.constants.seed, t.constants.step,
                           static_cast<uint64_t>(group) * 16 + i % 16);
    CommitFour<kHalf, kSums, kWhole>(t, at, random.x, random.y, change, value);
    CommitFour<kHalf, kSums, kWhole>(t, at + 64, random.z, random.w, change, value);
  }
}

// Whole: an entire chunk of tensors that are all aligned.
template <bool kHalf, bool kSums>
NL_DEVICE void CommitChunk(const AdamTensor& t, int64_t begin, double& change, double& value) {
  const bool aligned = Aligned16(t.w) && Aligned16(t.g) && Aligned16(t.m) && Aligned16(t.v);
  if (aligned && t.count - begin >= kAdamChunk) {
    CommitElements<kHalf, kSums, true>(t, begin, change, value);
  } else {
    CommitElements<kHalf, kSums, false>(t, begin, change, value);
  }
}

template <bool kSums>
NL_DEVICE void CommitOfKind(const AdamTensor& t, int64_t begin, double& change, double& value) {
  if (t.half) {
    CommitChunk<true, kSums>(t, begin, change, value);
  } else {
    CommitChunk<false, kSums>(t, begin, change, value);
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(kAdamThreads) nl_adam_commit(AdamArguments a) {
  NL_DYNAMIC_SHARED(double, shared);
  const int chunk = blockIdx.x;
  // The last tensor that begins no later, which is the one that has chunks there.
  int tensor = 0;
#pragma unroll
  for (int i = 1; i < kAdamTensors; i++) {
    if (i < a.tensor_count && a.tensors[i].first_chunk <= chunk) tensor = i;
  }
  const AdamTensor t = a.tensors[tensor];
  const int64_t begin = static_cast<int64_t>(chunk - t.first_chunk) * kAdamChunk;
  double change = 0, value = 0;
  if (!a.parts) {
    CommitOfKind<false>(t, begin, change, value);
    return;
  }
  CommitOfKind<true>(t, begin, change, value);
  change = BlockSum(change, shared);
  value = BlockSum(value, shared + 32);
  if (threadIdx.x == 0) {
    a.parts[2 * chunk] = change;
    a.parts[2 * chunk + 1] = value;
  }
}
NL_KERNEL(nl_adam_commit)

// result[tensor] = the sum of the parts of its chunks.
extern "C" __global__ void __launch_bounds__(kAdamThreads) nl_adam_sums(AdamArguments a) {
  NL_DYNAMIC_SHARED(double, shared);
  const int tensor = blockIdx.x;
  const int begin = a.tensors[tensor].first_chunk;
  int end = a.chunk_count;
#pragma unroll
  for (int i = 1; i < kAdamTensors; i++) {
    if (i == tensor + 1 && i < a.tensor_count) end = a.tensors[i].first_chunk;
  }
  double change = 0, value = 0;
  for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kAdamThreads) {
    change += a.parts[2 * i];
    value += a.parts[2 * i + 1];
  }
  change = BlockSum(change, shared);
  value = BlockSum(value, shared + 32);
  if (threadIdx.x == 0) {
    a.result[2 * tensor] = change;
    a.result[2 * tensor + 1] = value;
  }
}
NL_KERNEL(nl_adam_sums)
