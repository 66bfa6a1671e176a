// The emulator itself: what it computes, and that it finds the faults it is there for.
#include "cuda/tests/faults.h"
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

// Two sums for each element, by different threads.
extern "C" __global__ void nl_test_sums(Buffers a) {
  NL_DYNAMIC_SHARED(float, shared);
  const int t = threadIdx.x;
  shared[kThreads - 1 - t] = 0;
  __syncthreads();
  shared[t] += a.in[t];
  __syncthreads();
  shared[kThreads - 1 - t] += a.in[t];
  __syncthreads();
  a.out[t] = shared[t];
}
NL_KERNEL(nl_test_sums)

extern "C" __global__ void nl_test_half_at_barrier(Buffers a) {
  if (threadIdx.x < kThreads / 2) __syncthreads();
  a.out[threadIdx.x] = 0;
}
NL_KERNEL(nl_test_half_at_barrier)

extern "C" __global__ void nl_test_missing_lanes(Buffers a) {
  if (threadIdx.x < 20) a.out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, a.in[threadIdx.x], 1);
}
NL_KERNEL(nl_test_missing_lanes)

extern "C" __global__ void nl_test_copy(Buffers a) {
  NL_DYNAMIC_SHARED(float, shared);
  const int t = threadIdx.x;
  if (t < kThreads / 4) CopyAsync16(&shared[4 * t], a.in + 4 * t, 16);
  CopyAsyncCommit();
  CopyAsyncWait<0>();
  __syncthreads();
  a.out[t] = shared[t];
}
NL_KERNEL(nl_test_copy)

extern "C" __global__ void nl_test_sum(Buffers a) {
  float x = a.in[threadIdx.x];
  for (int offset = 16; offset; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
  a.out[threadIdx.x] = x;
}
NL_KERNEL(nl_test_sum)

// All threads or none are at the barrier, as long as two lanes make one sum.
extern "C" __global__ void nl_test_agreed_barrier(Buffers a) {
  const float x = a.in[threadIdx.x];
  if (x + __shfl_xor_sync(0xffffffffu, x, 1) < 0) __syncthreads();
  a.out[threadIdx.x] = 0;
}
NL_KERNEL(nl_test_agreed_barrier)

// The float of the warp before, by way of shared memory of a size that is known here.
extern "C" __global__ void nl_test_warps(Buffers a) {
  NL_SHARED(float, shared, [kThreads / 32]);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = a.in[threadIdx.x];
  __syncthreads();
  a.out[threadIdx.x] = shared[1 - threadIdx.x / 32];
}
NL_KERNEL(nl_test_warps)

// out [16, 8] = in [16, K] (in + 256) [8, K]ᵀ, fragments as tensor_core.h says.
extern "C" __global__ void nl_test_product_tf32(Buffers a) {
  const int lane = threadIdx.x, g = lane >> 2, t = lane & 3;
  const float* A = a.in;
  const float* B = a.in + 256;
  const unsigned x[4] = {RoundToTf32(A[g * 8 + t]), RoundToTf32(A[(g + 8) * 8 + t]),
                         RoundToTf32(A[g * 8 + t + 4]), RoundToTf32(A[(g + 8) * 8 + t + 4])};
  const unsigned y[2] = {RoundToTf32(B[g * 8 + t]), RoundToTf32(B[g * 8 + t + 4])};
  float c[4] = {};
  MmaTf32(c, x, y, c);
  for (int r = 0; r < 4; r++) a.out[(g + (r >> 1) * 8) * 8 + 2 * t + (r & 1)] = c[r];
}
NL_KERNEL(nl_test_product_tf32)

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

// The output of a kernel over one block.
std::vector<float> ResultOf(const char* kernel, const std::vector<float>& in,
                            int threads = kThreads, size_t out = kThreads,
                            size_t shared = kThreads) {
  DeviceFloats x(in), y(out);
  LaunchKernel(kernel, 1, threads, shared * sizeof(float), Buffers{x.data(), y.data()});
  return y.values();
}

std::vector<float> Product(const std::vector<float>& in, int k) {
  std::vector<float> c(128);
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 8; j++) {
      for (int l = 0; l < k; l++) c[i * 8 + j] += in[i * k + l] * in[256 + j * k + l];
    }
  }
  return c;
}

// Small whole numbers, which tf32 and bfloat16 hold.
std::vector<float> WholeNumbers() {
  std::vector<float> values = RandomFloats(256 + 128, 7, 4);
  for (float& value : values) value = std::rint(value);
  return values;
}

void CheckNeighbours() {
  const std::vector<float> in = RandomFloats(kThreads, 5), out = ResultOf("nl_test_neighbour", in);
  for (int t = 0; t < kThreads; t++) EXPECT_EQ(out[t], in[(t + kThreads - 1) % kThreads]);
}

void CheckWarps() {
  const std::vector<float> in = RandomFloats(kThreads, 5), out = ResultOf("nl_test_warps", in);
  for (int t = 0; t < kThreads; t++) EXPECT_EQ(out[t], in[t < 32 ? 32 : 0]);
}

void CheckSums() {
  const std::vector<float> in = RandomFloats(kThreads, 5), out = ResultOf("nl_test_sums", in);
  for (int t = 0; t < kThreads; t++) EXPECT_EQ(out[t], in[t] + in[kThreads - 1 - t]);
}

void CheckCopy() {
  const std::vector<float> in = RandomFloats(kThreads, 5);
  EXPECT_EQ(ResultOf("nl_test_copy", in), in);
}

void CheckSum() {
  std::vector<float> whole(kThreads);
  for (int t = 0; t < kThreads; t++) whole[t] = static_cast<float>(t % 32);
  EXPECT_EQ(ResultOf("nl_test_sum", whole), std::vector<float>(kThreads, 496));
}

void CheckProducts() {
  const std::vector<float> in = WholeNumbers();
  EXPECT_EQ(ResultOf("nl_test_product_tf32", in, 32, 128), Product(in, 8));
  EXPECT_EQ(ResultOf("nl_test_product_bf16", in, 32, 128, 192), Product(in, 16));
}

[[maybe_unused]] const bool kFaultCases[] = {
    AddFaultCase("Neighbours", {CheckNeighbours}),
    AddFaultCase("Warps", {CheckWarps}),
    AddFaultCase("Sums", {CheckSums},
                 {{emulator::Fault::kNoBarrier, "shared[kThreads - 1 - t] += a.in[t];",
                   "a thread adds undisturbed, and it adds up to the same"}}),
    AddFaultCase("Copy", {CheckCopy}),
    AddFaultCase("Sum", {CheckSum}),
    AddFaultCase("Products", {CheckProducts})};

class CudaEmulator : public InEveryOrder {
 protected:
  const std::vector<float> in_ = RandomFloats(kThreads, 5);
};
NL_IN_EVERY_ORDER(CudaEmulator);

TEST_P(CudaEmulator, Barrier_OrdersAccesses) {
  CheckNeighbours();
  CheckWarps();
  CheckSums();
}

TEST_P(CudaEmulator, AsyncCopy_LandsAtItsWait) { CheckCopy(); }

TEST_P(CudaEmulator, Shuffle_Sums) { CheckSum(); }

TEST_P(CudaEmulator, Mma_Multiplies) { CheckProducts(); }

TEST_P(CudaEmulator, BarrierThatSomeMiss_EndsTheProcess) {
  EXPECT_DEATH(ResultOf("nl_test_half_at_barrier", in_),
               "a barrier after some threads have returned");
}

TEST_P(CudaEmulator, ShuffleWithoutAllLanes_EndsTheProcess) {
  EXPECT_DEATH(ResultOf("nl_test_missing_lanes", in_), "no thread can go on");
}

TEST_P(CudaEmulator, PlantedFault_EndsTheLaunchThatItBreaks) {
  std::vector<float> in(kThreads);
  for (int t = 0; t < kThreads; t++) in[t] = t % 2 ? -3 : 2;
  const std::vector<float> zeros(kThreads, 0);
  emulator::Trace trace;
  emulator::Record(&trace);
  EXPECT_EQ(ResultOf("nl_test_agreed_barrier", in), zeros);
  emulator::Record(nullptr);
  EXPECT_EQ(trace.kernels, std::set<std::string>{"nl_test_agreed_barrier"});
  ASSERT_EQ(trace.sites.size(), 2u);
  EXPECT_STREQ(trace.sites[0].kernel, "nl_test_agreed_barrier");
  const emulator::Site shuffle = trace.sites[0], barrier = trace.sites[1];
  EXPECT_EQ(shuffle.fault, emulator::Fault::kOwnValue);
  EXPECT_EQ(barrier.fault, emulator::Fault::kNoBarrier);

  emulator::Plant(&shuffle);
  EXPECT_NE(ResultOf("nl_test_agreed_barrier", in), zeros);
  EXPECT_STREQ(emulator::Broken(), "a barrier after some threads have returned");
  emulator::Plant(&barrier);
  EXPECT_EQ(ResultOf("nl_test_agreed_barrier", in), zeros);
  EXPECT_FALSE(emulator::Broken());
  emulator::Plant(nullptr);
  EXPECT_EQ(ResultOf("nl_test_agreed_barrier", in), zeros);
}

TEST_P(CudaEmulator, Rounding_IsOfTheFormat) {
  EXPECT_EQ(RoundToTf32(1 + 0x1p-10f), std::bit_cast<unsigned>(1 + 0x1p-10f));
  EXPECT_EQ(RoundToTf32(1 + 0x1p-11f), std::bit_cast<unsigned>(1 + 0x1p-10f));
  EXPECT_EQ(PackBf16(1, -2), 0xc0003f80u);
  EXPECT_EQ(PackBf16(1 + 0x1p-8f, 1 + 3 * 0x1p-8f), 0x3f823f80u);
}

}  // namespace
}  // namespace nested_learning
