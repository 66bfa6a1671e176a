// The emulator itself: what it computes, and that it finds the faults it is there for.
#include "cuda/tests/testing.h"

namespace nested_learning {
namespace {

constexpr int kThreads = 64;

struct Buffers {
  const float* in;
  float* out;
};

}  // namespace
}  // namespace nested_learning

using nested_learning::Buffers;
using nested_learning::kThreads;

// out[i] = in of the thread before.
extern "C" __global__ void nl_test_neighbour(Buffers a) {
  NL_DYNAMIC_SHARED(float, shared);
  const int t = threadIdx.x;
  shared[t] = a.in[t];
  __syncthreads();
  a.out[t] = shared[(t + kThreads - 1) % kThreads];
}
NL_KERNEL(nl_test_neighbour)

// The same without its barrier.
extern "C" __global__ void nl_test_neighbour_without_barrier(Buffers a) {
  NL_DYNAMIC_SHARED(float, shared);
  const int t = threadIdx.x;
  shared[t] = a.in[t];
  a.out[t] = shared[(t + kThreads - 1) % kThreads];
}
NL_KERNEL(nl_test_neighbour_without_barrier)

extern "C" __global__ void nl_test_half_at_barrier(Buffers a) {
  if (threadIdx.x < kThreads / 2) __syncthreads();
  a.out[threadIdx.x] = 0;
}
NL_KERNEL(nl_test_half_at_barrier)

extern "C" __global__ void nl_test_missing_lanes(Buffers a) {
  if (threadIdx.x < 20) a.out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, a.in[threadIdx.x], 1);
}
NL_KERNEL(nl_test_missing_lanes)

template <bool kWaits>
NL_DEVICE void CopyThrough(Buffers a) {
  NL_DYNAMIC_SHARED(float, shared);
  const int t = threadIdx.x;
  if (t < kThreads / 4) CopyAsync16(&shared[4 * t], a.in + 4 * t, 16);
  CopyAsyncCommit();
  if (kWaits) CopyAsyncWait<0>();
  __syncthreads();
  a.out[t] = shared[t];
}
extern "C" __global__ void nl_test_copy(Buffers a) { CopyThrough<true>(a); }
NL_KERNEL(nl_test_copy)
extern "C" __global__ void nl_test_copy_without_wait(Buffers a) { CopyThrough<false>(a); }
NL_KERNEL(nl_test_copy_without_wait)

extern "C" __global__ void nl_test_sum(Buffers a) {
  float x = a.in[threadIdx.x];
  for (int offset = 16; offset; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
  a.out[threadIdx.x] = x;
}
NL_KERNEL(nl_test_sum)

// out [16, 8] = in [16, K] (in + 256) [8, K]ᵀ, fragments as tensor_core.h says; kSwapped takes two of them for each other.
template <bool kSwapped>
NL_DEVICE void ProductTf32(Buffers a) {
  const int lane = threadIdx.x, g = lane >> 2, t = lane & 3;
  const float* A = a.in;
  const float* B = a.in + 256;
  unsigned x[4] = {RoundToTf32(A[g * 8 + t]), RoundToTf32(A[(g + 8) * 8 + t]),
                   RoundToTf32(A[g * 8 + t + 4]), RoundToTf32(A[(g + 8) * 8 + t + 4])};
  if (kSwapped) {
    const unsigned u = x[1];
    x[1] = x[2];
    x[2] = u;
  }
  const unsigned y[2] = {RoundToTf32(B[g * 8 + t]), RoundToTf32(B[g * 8 + t + 4])};
  float c[4] = {};
  MmaTf32(c, x, y, c);
  for (int r = 0; r < 4; r++) a.out[(g + (r >> 1) * 8) * 8 + 2 * t + (r & 1)] = c[r];
}
extern "C" __global__ void nl_test_product_tf32(Buffers a) { ProductTf32<false>(a); }
NL_KERNEL(nl_test_product_tf32)
extern "C" __global__ void nl_test_product_swapped(Buffers a) { ProductTf32<true>(a); }
NL_KERNEL(nl_test_product_swapped)

// The same in bfloat16, K = 16, by way of ldmatrix: A as it is, B transposed from [K, 8].
extern "C" __global__ void nl_test_product_bf16(Buffers a) {
  NL_DYNAMIC_SHARED(unsigned, shared);  // A [16, 8] pairs, then B [16, 4] pairs
  const int lane = threadIdx.x, g = lane >> 2, t = lane & 3;
  const float* A = a.in;
  const float* B = a.in + 256;
  for (int i = lane; i < 128; i += 32) shared[i] = PackBf16(A[2 * i], A[2 * i + 1]);
  // [K, 8], from [8, K].
  for (int i = lane; i < 64; i += 32) {
    const int k = i / 4, n = i % 4 * 2;
    shared[128 + i] = PackBf16(B[n * 16 + k], B[(n + 1) * 16 + k]);
  }
  __syncwarp();
  unsigned x[4], y[4];
  LoadMatrix4(x, &shared[(lane & 15) * 8 + (lane >> 4) * 4]);
  LoadMatrix4Transposed(y, &shared[128 + (lane & 15) * 4]);
  float c[4] = {};
  MmaBf16(c, x, y, c);
  for (int r = 0; r < 4; r++) a.out[(g + (r >> 1) * 8) * 8 + 2 * t + (r & 1)] = c[r];
}
NL_KERNEL(nl_test_product_bf16)

namespace nested_learning {
namespace {

class CudaEmulator : public InEveryOrder {
 protected:
  // The output of a kernel over one block.
  std::vector<float> Run(const char* kernel, const std::vector<float>& in, int threads = kThreads,
                         size_t out = kThreads, size_t shared = kThreads) {
    DeviceFloats x(in), y(out);
    LaunchKernel(kernel, 1, threads, shared * sizeof(float), Buffers{x.data(), y.data()});
    return y.values();
  }

  static std::vector<float> Product(const std::vector<float>& in, int k) {
    std::vector<float> c(128);
    for (int i = 0; i < 16; i++) {
      for (int j = 0; j < 8; j++) {
        for (int l = 0; l < k; l++) c[i * 8 + j] += in[i * k + l] * in[256 + j * k + l];
      }
    }
    return c;
  }

  // Small whole numbers, which tf32 and bfloat16 hold.
  static std::vector<float> WholeNumbers() {
    std::vector<float> values = RandomFloats(256 + 128, 7, 4);
    for (float& value : values) value = std::rint(value);
    return values;
  }

  const std::vector<float> in_ = RandomFloats(kThreads, 5);
};
NL_IN_EVERY_ORDER(CudaEmulator);

TEST_P(CudaEmulator, Barrier_OrdersAccesses) {
  const std::vector<float> out = Run("nl_test_neighbour", in_);
  for (int t = 0; t < kThreads; t++) EXPECT_EQ(out[t], in_[(t + kThreads - 1) % kThreads]);
}

TEST_P(CudaEmulator, DroppedBarrier_ChangesTheResult) {
  const std::vector<float> out = Run("nl_test_neighbour_without_barrier", in_);
  int unwritten = 0;
  for (float x : out) unwritten += std::isnan(x);
  EXPECT_GT(unwritten, 0);
}

TEST_P(CudaEmulator, BarrierThatSomeMiss_EndsTheProcess) {
  EXPECT_DEATH(Run("nl_test_half_at_barrier", in_), "a barrier after some threads have returned");
}

TEST_P(CudaEmulator, ShuffleWithoutAllLanes_EndsTheProcess) {
  EXPECT_DEATH(Run("nl_test_missing_lanes", in_), "no thread can go on");
}

TEST_P(CudaEmulator, AsyncCopy_LandsAtItsWait) {
  EXPECT_EQ(Run("nl_test_copy", in_), in_);
  const std::vector<float> out = Run("nl_test_copy_without_wait", in_);
  for (float x : out) EXPECT_TRUE(std::isnan(x));
}

TEST_P(CudaEmulator, Shuffle_Sums) {
  const std::vector<float> whole(kThreads, 3);
  EXPECT_EQ(Run("nl_test_sum", whole), std::vector<float>(kThreads, 96));
}

TEST_P(CudaEmulator, Mma_Multiplies) {
  const std::vector<float> in = WholeNumbers();
  EXPECT_EQ(Run("nl_test_product_tf32", in, 32, 128), Product(in, 8));
  EXPECT_EQ(Run("nl_test_product_bf16", in, 32, 128, 192), Product(in, 16));
}

TEST_P(CudaEmulator, SwappedFragments_ChangeTheResult) {
  const std::vector<float> in = WholeNumbers();
  EXPECT_NE(Run("nl_test_product_swapped", in, 32, 128), Product(in, 8));
}

TEST_P(CudaEmulator, Rounding_IsOfTheFormat) {
  EXPECT_EQ(RoundToTf32(1 + 0x1p-10f), std::bit_cast<unsigned>(1 + 0x1p-10f));
  EXPECT_EQ(RoundToTf32(1 + 0x1p-11f), std::bit_cast<unsigned>(1 + 0x1p-10f));
  EXPECT_EQ(PackBf16(1, -2), 0xc0003f80u);
  EXPECT_EQ(PackBf16(1 + 0x1p-8f, 1 + 3 * 0x1p-8f), 0x3f823f80u);
}

}  // namespace
}  // namespace nested_learning
