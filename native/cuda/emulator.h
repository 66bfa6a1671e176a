// Runs kernels on the processor, as plain C++20: blocks in a loop, the threads of a block as fibers that change where a
// barrier, a warp's collective or the end of the kernel is.
//
// It finds: barriers and collectives that some threads miss (with the lines where the others wait); waits for
// asynchronous copies that are missing, and copies to where others still read (a copy lands at its wait, or at once); reads of
// shared memory that nobody wrote (it starts as NaN); results that depend on the order of the threads (run with each Order); and, built
// with the sanitizers, accesses outside of what was allocated.
// It does not model: what a block sees of another's writes, sums that get lost where two threads add to one element at a time,
// bank conflicts, time.
//
// It makes faults as well, to see whether a kernel's tests notice them: Record lists the sites that kernels pass, Plant
// makes one of them go wrong.
#ifndef NESTED_LEARNING_CUDA_EMULATOR_H_
#define NESTED_LEARNING_CUDA_EMULATOR_H_

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define NL_SANITIZE_ADDRESS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NL_SANITIZE_ADDRESS 1
#endif
#endif

#define __host__
#define __device__
#define __global__
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define NL_DYNAMIC_SHARED(T, name) \
  T* const name = reinterpret_cast<T*>(::nested_learning::emulator::t_block.shared)
#define NL_SHARED(T, name, extents)                 \
  static constexpr char name##_site = 0;            \
  using name##_array = T extents;                   \
  name##_array& name = *static_cast<name##_array*>( \
      ::nested_learning::emulator::SharedArray(&name##_site, sizeof(name##_array)))

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace nested_learning::emulator {

// The order in which threads that can run do so, from the start and from each barrier on. A warp runs as far as it can, to a
// barrier of the block, ahead of the others, and so do the lanes of a warp to its next collective. What no barrier keeps apart,
// forward and reverse do in either order. Asynchronous copies land at their wait forward, at once in reverse.
enum class Order { kForward, kReverse, kRandom };

struct Launch {
  dim3 grid, block;
  size_t shared_bytes = 0;
};

// Runs a kernel by its name with pointers to its arguments; false if there is none of this name. Faults of the kernel
// end the process with a message.
bool Run(const std::string& kernel, const Launch& launch, void** arguments);

// Of this thread's launches from now on.
void SetOrder(Order order);

// The bytes of each argument of a kernel; empty if there is none of this name.
std::vector<size_t> ArgumentSizes(const std::string& kernel);

// ---- faults ----

// A place in a source.
struct Place {
  const char* file = "";
  int line = 0;

  bool operator==(const Place& other) const {
    return line == other.line && (file == other.file || std::strcmp(file, other.file) == 0);
  }
};

enum class Fault {
  kNoBarrier,
  kNoSyncWarp,
  kNoWait,
  kEarlyWait,    // leaves one more group of copies under way
  kOwnValue,     // a shuffle gives each lane its own
  kSwappedA,     // the two middle registers of A's fragment
  kSwappedB,     // the two of B's
  kSwappedSums,  // the two middle ones of D's
  kSwappedRows,  // the first two of each matrix of ldmatrix
};
const char* NameOf(Fault fault);

// Where a fault can be.
struct Site {
  const char* kernel;  // of Kernels
  Fault fault;
  Place place;

  bool operator==(const Site& other) const {
    return fault == other.fault && place == other.place && kernel == other.kernel;
  }
};

struct Trace {
  std::vector<Site> sites;
  std::set<std::string> kernels;
};

// Adds to `trace` what this thread's launches pass, until null.
void Record(Trace* trace);

// Makes this thread's launches go wrong at a site, whenever they pass it, until null. Faults that the emulator finds then end
// the launch and not the process.
void Plant(const Site* site);

// What ended a launch since then; null if nothing did.
const char* Broken();

// ---- what kernels see, by way of the functions below ----

struct Copy {
  void* to;
  const void* from;
  size_t bytes, size;  // zeros are written from bytes to size
  int group;
};

enum class State { kReady, kAtBarrier, kInWarp, kDone };

struct Fiber {
  void* stack_pointer = nullptr;
  uint3 thread{};
  State state = State::kReady;
  Place place;
  int linear = 0;
  int groups = 0;
  std::vector<Copy> copies;
  void* sanitizer_stack = nullptr;
};

struct Collective {
  unsigned mask = 0, arrived = 0;
  Place place;
  alignas(16) unsigned char in[32][64], out[32][64];
};

// Shared memory of a size that is known to the compiler; site: of its declaration.
struct Array {
  const void* site;
  std::unique_ptr<unsigned char, decltype(&std::free)> memory;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<Collective> collectives;
  Fiber* current = nullptr;
  Fiber scheduler;
  uint3 index{};
  dim3 size, grid;
  int live = 0, waiting = 0;
  Place barrier;  // where those wait
  const char* kernel = nullptr;
  Order order = Order::kForward;
  unsigned seed = 1;
  unsigned char* shared = nullptr;
  std::vector<Array> arrays;
  void (*body)(void**) = nullptr;
  void** arguments = nullptr;
  unsigned char* stacks = nullptr;
  size_t stack_count = 0;
  Trace* trace = nullptr;
  const Site* planted = nullptr;
  const char* broken = nullptr;
};

extern thread_local Block t_block;

[[noreturn]] void Fail(const char* what, const Place& place);
void Pause(State state, const Place& place);
void Barrier(const Place& place);
void Begin(void* to, const void* from, size_t bytes, size_t size);
void Finish(int under_way, const Place& place);
void* SharedArray(const void* site, size_t bytes);
bool Watch(Fault fault, const Place& place);

// Whether this fault was planted here.
inline bool IsPlanted(Fault fault, const Place& place) {
  return (t_block.trace || t_block.planted) && Watch(fault, place);
}

// All lanes of `mask` bring `in`; the last of them runs lead(in[32], out[32], mask) for all.
template <typename R, typename A, typename Lead>
R Collect(unsigned mask, const A& in, const Place& place, Lead lead) {
  static_assert(sizeof(A) <= 64 && sizeof(R) <= 64);
  static_assert(std::is_trivially_copyable_v<A> && std::is_trivially_copyable_v<R>);
  constexpr int kMasks = 4;
  Block& block = t_block;
  const int lane = block.current->linear & 31, warp = block.current->linear >> 5;
  if (!(mask >> lane & 1)) Fail("a lane is not in its own mask", place);
  Collective* found = nullptr;
  for (int i = 0; i < kMasks && !found; i++) {
    Collective& c = block.collectives[warp * kMasks + i];
    if (c.arrived && c.mask == mask) found = &c;
  }
  for (int i = 0; i < kMasks && !found; i++) {
    Collective& c = block.collectives[warp * kMasks + i];
    if (!c.arrived) found = &c;
  }
  if (!found) Fail("more than 4 masks are under way in a warp", place);
  if (found->arrived && found->place != place)
    Fail("lanes of a warp meet in different collectives", place);
  found->mask = mask;
  found->place = place;
  std::memcpy(found->in[lane], &in, sizeof(A));
  if ((found->arrived |= 1u << lane) == mask) {
    A ins[32];
    R outs[32];
    for (int i = 0; i < 32; i++) {
      if (mask >> i & 1) std::memcpy(&ins[i], found->in[i], sizeof(A));
    }
    lead(ins, outs, mask);
    for (int i = 0; i < 32; i++) {
      if (mask >> i & 1) std::memcpy(found->out[i], &outs[i], sizeof(R));
    }
    found->arrived = 0;
    for (int i = 0; i < 32; i++) {
      if ((mask >> i & 1) && i != lane) block.fibers[warp * 32 + i].state = State::kReady;
    }
  } else {
    Pause(State::kInWarp, place);
  }
  R result;
  std::memcpy(&result, found->out[lane], sizeof(R));
  return result;
}

template <typename T, typename Source>
T Shuffle(unsigned mask, T v, int width, const Place& place, Source source) {
  const T other = Collect<T>(mask, v, place, [&](T* in, T* out, unsigned lanes) {
    for (int i = 0; i < 32; i++) {
      if (!(lanes >> i & 1)) continue;
      const int base = i & ~(width - 1), j = base + source(i - base);
      out[i] = j >= base && j < base + width && (lanes >> j & 1) ? in[j] : in[i];
    }
  });
  return IsPlanted(Fault::kOwnValue, place) ? v : other;
}

struct Kernel {
  void (*run)(void** arguments);
  std::vector<size_t> sizes;
};

std::map<std::string, Kernel>& Kernels();

template <auto kKernel, typename... A, size_t... I>
void CallWith(void (*)(A...), void** arguments, std::index_sequence<I...>) {
  kKernel(*static_cast<A*>(arguments[I])...);
}

template <auto kKernel, typename... A>
bool Register(const char* name, void (*)(A...)) {
  Kernels()[name] = {[](void** arguments) {
                       CallWith<kKernel>(static_cast<void (*)(A...)>(kKernel), arguments,
                                         std::index_sequence_for<A...>());
                     },
                     {sizeof(A)...}};
  return true;
}

}  // namespace nested_learning::emulator

#define NL_KERNEL(name)                                  \
  [[maybe_unused]] static const bool registered_##name = \
      ::nested_learning::emulator::Register<&name>(#name, &name);

#define threadIdx (::nested_learning::emulator::t_block.current->thread)
#define blockIdx (::nested_learning::emulator::t_block.index)
#define blockDim (::nested_learning::emulator::t_block.size)
#define gridDim (::nested_learning::emulator::t_block.grid)

// Default arguments, and so those of the call.
#define NL_PLACE nested_learning::emulator::Place place = {__builtin_FILE(), __builtin_LINE()}

inline void __syncthreads(NL_PLACE) { nested_learning::emulator::Barrier(place); }
inline void __syncwarp(unsigned mask = 0xffffffffu, NL_PLACE) {
  namespace emulator = nested_learning::emulator;
  if (emulator::IsPlanted(emulator::Fault::kNoSyncWarp, place)) return;
  emulator::Collect<int>(mask, 0, place, [](int*, int* out, unsigned) {
    for (int i = 0; i < 32; i++) out[i] = 0;
  });
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T v, int x, int width = 32, NL_PLACE) {
  return nested_learning::emulator::Shuffle(mask, v, width, place, [=](int i) { return i ^ x; });
}

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned __float_as_uint(float f) { return std::bit_cast<unsigned>(f); }
inline int __float_as_int(float f) { return std::bit_cast<int>(f); }
inline float __uint_as_float(unsigned u) { return std::bit_cast<float>(u); }
inline float __int_as_float(int i) { return std::bit_cast<float>(i); }

// ---- tensor_core.h ----

void MmaTf32(float d[4], const unsigned a[4], const unsigned b[2], const float c[4], NL_PLACE);
void MmaBf16(float d[4], const unsigned a[4], const unsigned b[2], const float c[4], NL_PLACE);
void LoadMatrix4(unsigned r[4], const void* row, NL_PLACE);
void LoadMatrix4Transposed(unsigned r[4], const void* row, NL_PLACE);
void CopyAsync16(void* to, const void* from, int given, NL_PLACE);
void CopyAsync4(void* to, const void* from, bool given, NL_PLACE);
void CopyAsyncCommit();
template <int N>
void CopyAsyncWait(NL_PLACE) {
  nested_learning::emulator::Finish(N, place);
}
void Prefetch(const float* p);
unsigned RoundToTf32(float x);
unsigned PackBf16(float low, float high);

#endif  // NESTED_LEARNING_CUDA_EMULATOR_H_
