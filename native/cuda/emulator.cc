#include "cuda/emulator.h"

#include <sys/mman.h>
#include <algorithm>

#include "core/float_environment.h"

#if defined(NL_SANITIZE_ADDRESS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace nested_learning::emulator {

thread_local Block t_block;

namespace {

constexpr size_t kStackBytes = size_t{256} << 10, kGuardBytes = 4096;
constexpr size_t kStackStride = kStackBytes + kGuardBytes;

// Saves the registers a call must keep and changes stacks.
extern "C" void NlEmulatorSwitch(void** save, void* load);
asm(R"(
.text
.globl NlEmulatorSwitch
.hidden NlEmulatorSwitch
.type NlEmulatorSwitch, @function
NlEmulatorSwitch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size NlEmulatorSwitch, .-NlEmulatorSwitch
)");

unsigned char* StackOf(const Fiber& fiber) {
  return t_block.stacks + fiber.linear * kStackStride + kGuardBytes;
}

#if defined(NL_SANITIZE_ADDRESS)
thread_local const void* t_scheduler_bottom;
thread_local size_t t_scheduler_bytes;
#endif

void ToScheduler(Fiber& fiber, bool ends) {
#if defined(NL_SANITIZE_ADDRESS)
  __sanitizer_start_switch_fiber(ends ? nullptr : &fiber.sanitizer_stack, t_scheduler_bottom,
                                 t_scheduler_bytes);
#else
  static_cast<void>(ends);
#endif
  NlEmulatorSwitch(&fiber.stack_pointer, t_block.scheduler.stack_pointer);
#if defined(NL_SANITIZE_ADDRESS)
  __sanitizer_finish_switch_fiber(fiber.sanitizer_stack, &t_scheduler_bottom, &t_scheduler_bytes);
#endif
}

void ToFiber(Fiber& fiber) {
  Fiber& scheduler = t_block.scheduler;
#if defined(NL_SANITIZE_ADDRESS)
  __sanitizer_start_switch_fiber(&scheduler.sanitizer_stack, StackOf(fiber), kStackBytes);
#endif
  NlEmulatorSwitch(&scheduler.stack_pointer, fiber.stack_pointer);
#if defined(NL_SANITIZE_ADDRESS)
  __sanitizer_finish_switch_fiber(scheduler.sanitizer_stack, nullptr, nullptr);
#endif
}

void Entry() {
#if defined(NL_SANITIZE_ADDRESS)
  __sanitizer_finish_switch_fiber(nullptr, &t_scheduler_bottom, &t_scheduler_bytes);
#endif
  t_block.body(t_block.arguments);
  // Copies that it never waited for land nowhere.
  Fiber& self = *t_block.current;
  self.state = State::kDone;
  t_block.live--;
  ToScheduler(self, true);
  std::abort();
}

void Prepare(Fiber& fiber) {
  // Entry sees the stack as after a call: 16 n + 8.
  void** top = reinterpret_cast<void**>(StackOf(fiber) + kStackBytes) - 2;
  *top = reinterpret_cast<void*>(&Entry);
  fiber.stack_pointer = top - 6;
}

[[noreturn]] void End(const char* what, const Place& place) {
  const Block& block = t_block;
  std::fprintf(stderr, "CUDA emulator: %s; %s:%d, block (%u, %u, %u), thread %d\n", what,
               place.file, place.line, block.index.x, block.index.y, block.index.z,
               block.current ? block.current->linear : -1);
  std::abort();
}

// Ends the launch where a fault was planted, else the process.
void Break(const char* what, const Place& place) {
  if (!t_block.planted) End(what, place);
  t_block.broken = what;
}

// Lets threads go once all of them are at the barrier; whether it did.
bool Release() {
  Block& block = t_block;
  if (!block.waiting || block.waiting != block.live) return false;
  if (block.live != static_cast<int>(block.fibers.size())) {
    Break("a barrier after some threads have returned", block.barrier);
    return false;
  }
  block.waiting = 0;
  for (Fiber& fiber : block.fibers) {
    if (fiber.state == State::kAtBarrier) fiber.state = State::kReady;
  }
  return true;
}

unsigned Random(size_t below) {
  unsigned& seed = t_block.seed;
  seed = seed * 1664525u + 1013904223u;
  return static_cast<unsigned>((seed >> 8) % below);
}

void Permute(std::vector<unsigned>& order) {
  for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[Random(i)]);
}

void Land(const Copy& copy) {
  if (copy.bytes) std::memcpy(copy.to, copy.from, copy.bytes);
  std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, copy.size - copy.bytes);
}

void RunBlock() {
  Block& block = t_block;
  const size_t n = block.fibers.size();
  block.live = static_cast<int>(n);
  block.waiting = 0;
  for (Collective& c : block.collectives) c.mask = c.arrived = 0;
  std::vector<unsigned> order(n);
  for (size_t i = 0; i < n; i++) {
    order[i] = static_cast<unsigned>(block.order == Order::kReverse ? n - 1 - i : i);
    Fiber& fiber = block.fibers[i];
    const unsigned linear = static_cast<unsigned>(i), x = block.size.x, y = block.size.y;
    fiber.thread = {linear % x, linear / x % y, linear / (x * y)};
    fiber.state = State::kReady;
    fiber.linear = static_cast<int>(i);
    fiber.groups = 0;
    fiber.copies.clear();
    Prepare(fiber);
  }
  // After a barrier the order begins anew.
  bool released = false;
  const auto run = [&](unsigned i) {
    if (block.fibers[i].state != State::kReady || block.broken || released) return false;
    block.current = &block.fibers[i];
    ToFiber(block.fibers[i]);
    block.current = nullptr;
    released = !block.broken && Release();
    return true;
  };
  while (block.live && !block.broken) {
    if (block.order == Order::kRandom) Permute(order);
    bool ran = released = false;
    for (size_t at = 0; at < n && !released; at++) {
      if (!run(order[at])) continue;
      ran = true;
      const size_t first = order[at] / 32 * 32, end = std::min(n, first + 32);
      for (bool more = true; more;) {
        more = false;
        for (size_t i = first; i < end; i++) {
          const size_t lane = block.order == Order::kReverse ? end - 1 - (i - first) : i;
          more |= run(static_cast<unsigned>(lane));
        }
      }
    }
    if (ran) continue;
    if (!block.planted) {
      for (const Fiber& fiber : block.fibers) {
        if (fiber.state == State::kDone) continue;
        std::fprintf(stderr, "  thread %d waits in a %s, %s:%d\n", fiber.linear,
                     fiber.state == State::kInWarp ? "warp's collective" : "barrier",
                     fiber.place.file, fiber.place.line);
      }
    }
    Break("no thread can go on", {});
  }
#if defined(NL_SANITIZE_ADDRESS)
  // Of a launch that was broken, threads have not left their stacks.
  for (const Fiber& fiber : block.fibers) {
    if (fiber.state == State::kDone) continue;
    const auto* pointer = static_cast<const unsigned char*>(fiber.stack_pointer);
    ASAN_UNPOISON_MEMORY_REGION(pointer, StackOf(fiber) + kStackBytes - pointer);
  }
#endif
}

void ReserveStacks(size_t n) {
  Block& block = t_block;
  if (block.stack_count >= n) return;
  if (block.stacks) munmap(block.stacks, block.stack_count * kStackStride);
  void* memory = mmap(nullptr, n * kStackStride, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) End("no memory for stacks", {});
  block.stacks = static_cast<unsigned char*>(memory);
  block.stack_count = n;
  for (size_t i = 0; i < n; i++) mprotect(block.stacks + i * kStackStride, kGuardBytes, PROT_NONE);
}

}  // namespace

std::map<std::string, Kernel>& Kernels() {
  static std::map<std::string, Kernel> kernels;
  return kernels;
}

void SetOrder(Order order) {
  t_block.order = order;
  t_block.seed = 1;
}

std::vector<size_t> ArgumentSizes(const std::string& kernel) {
  const auto found = Kernels().find(kernel);
  return found == Kernels().end() ? std::vector<size_t>() : found->second.sizes;
}

bool Run(const std::string& kernel, const Launch& launch, void** arguments) {
  const auto found = Kernels().find(kernel);
  if (found == Kernels().end()) return false;
  // As the PTX is compiled: subnormal numbers are zeros.
  const FloatEnvironment environment;
  Block& block = t_block;
  if (block.trace) block.trace->kernels.insert(kernel);
  const size_t n = size_t{launch.block.x} * launch.block.y * launch.block.z;
  if (n == 0 || n > 1024) End("a block has 1 to 1024 threads", {});
  ReserveStacks(n);
  block.fibers.resize(n);
  block.collectives.resize((n + 31) / 32 * 4);
  block.size = launch.block;
  block.grid = launch.grid;
  block.kernel = found->first.c_str();
  block.body = found->second.run;
  block.arguments = arguments;
  // Of the exact size, so that the sanitizer sees an access beyond it.
  if (launch.shared_bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, launch.shared_bytes)) End("no shared memory", {});
    block.shared = static_cast<unsigned char*>(memory);
  }
  for (unsigned z = 0; z < launch.grid.z; z++) {
    for (unsigned y = 0; y < launch.grid.y; y++) {
      for (unsigned x = 0; x < launch.grid.x && !block.broken; x++) {
        block.index = {x, y, z};
        // Each float of it NaN.
        if (launch.shared_bytes) std::memset(block.shared, 0xff, launch.shared_bytes);
        block.arrays.clear();
        RunBlock();
      }
    }
  }
  std::free(block.shared);
  block.shared = nullptr;
  return true;
}

const char* NameOf(Fault fault) {
  static constexpr const char* kNames[] = {"no barrier",
                                           "no __syncwarp",
                                           "no wait",
                                           "a wait for one less",
                                           "a lane's own value",
                                           "A's registers swapped",
                                           "B's registers swapped",
                                           "sums swapped",
                                           "rows swapped"};
  return kNames[static_cast<int>(fault)];
}

void Record(Trace* trace) { t_block.trace = trace; }

void Plant(const Site* site) {
  t_block.planted = site;
  t_block.broken = nullptr;
}

const char* Broken() { return t_block.broken; }

bool Watch(Fault fault, const Place& place) {
  const Site site = {t_block.kernel, fault, place};
  if (Trace* trace = t_block.trace) {
    // What was passed last is most often passed next.
    const auto found = std::find(trace->sites.rbegin(), trace->sites.rend(), site);
    if (found == trace->sites.rend()) trace->sites.push_back(site);
  }
  return t_block.planted && *t_block.planted == site;
}

void Fail(const char* what, const Place& place) {
  Break(what, place);
  ToScheduler(*t_block.current, false);
  std::abort();
}

void Pause(State state, const Place& place) {
  Fiber& self = *t_block.current;
  self.state = state;
  self.place = place;
  ToScheduler(self, false);
}

void Barrier(const Place& place) {
  if (IsPlanted(Fault::kNoBarrier, place)) return;
  Block& block = t_block;
  if (block.waiting && block.barrier != place) Fail("threads meet in different barriers", place);
  block.barrier = place;
  block.waiting++;
  Pause(State::kAtBarrier, place);
}

void Finish(int under_way, const Place& place) {
  if (IsPlanted(Fault::kNoWait, place)) return;
  if (IsPlanted(Fault::kEarlyWait, place)) under_way++;
  Fiber& fiber = *t_block.current;
  size_t kept = 0;
  for (const Copy& copy : fiber.copies) {
    if (copy.group >= fiber.groups - under_way) {
      fiber.copies[kept++] = copy;
    } else {
      Land(copy);
    }
  }
  fiber.copies.resize(kept);
}

void Begin(void* to, const void* from, size_t bytes, size_t size) {
  Block& block = t_block;
  const Copy copy = {to, from, bytes, size, block.current->groups};
  if (block.order == Order::kReverse || (block.order == Order::kRandom && Random(2))) {
    Land(copy);
  } else {
    block.current->copies.push_back(copy);
  }
}

void* SharedArray(const void* site, size_t bytes) {
  for (const Array& array : t_block.arrays) {
    if (array.site == site) return array.memory.get();
  }
  void* memory = nullptr;
  if (posix_memalign(&memory, 128, bytes)) End("no shared memory", {});
  // Each float of it NaN.
  std::memset(memory, 0xff, bytes);
  t_block.arrays.push_back({site, {static_cast<unsigned char*>(memory), &std::free}});
  return memory;
}

namespace {

// The product of a warp, K = 8 kElements; get(register, h) is the float of a register's element h.
template <int kElements, typename Get>
void Mma(float d[4], const unsigned a[4], const unsigned b[2], const float c[4], const Place& place,
         Get get) {
  constexpr int kK = 8 * kElements;
  struct In {
    unsigned a[4], b[2];
    float c[4];
  } in;
  struct Out {
    float d[4];
  };
  std::memcpy(in.a, a, sizeof(in.a));
  std::memcpy(in.b, b, sizeof(in.b));
  std::memcpy(in.c, c, sizeof(in.c));
  if (IsPlanted(Fault::kSwappedA, place)) std::swap(in.a[1], in.a[2]);
  if (IsPlanted(Fault::kSwappedB, place)) std::swap(in.b[0], in.b[1]);
  Out result = Collect<Out>(0xffffffffu, in, place, [&](In* lanes, Out* out, unsigned) {
    float A[16][kK], B[kK][8], C[16][8];
    for (int l = 0; l < 32; l++) {
      const int g = l >> 2, t = l & 3;
      for (int h = 0; h < kElements; h++) {
        for (int r = 0; r < 4; r++) {
          A[g + (r & 1) * 8][t * kElements + h + (r >> 1) * 4 * kElements] = get(lanes[l].a[r], h);
        }
        for (int r = 0; r < 2; r++) {
          B[t * kElements + h + r * 4 * kElements][g] = get(lanes[l].b[r], h);
        }
      }
      for (int r = 0; r < 4; r++) C[g + (r >> 1) * 8][t * 2 + (r & 1)] = lanes[l].c[r];
    }
    for (int i = 0; i < 16; i++) {
      for (int k = 0; k < kK; k++) {
        for (int j = 0; j < 8; j++) C[i][j] += A[i][k] * B[k][j];
      }
    }
    for (int l = 0; l < 32; l++) {
      for (int r = 0; r < 4; r++) out[l].d[r] = C[(l >> 2) + (r >> 1) * 8][(l & 3) * 2 + (r & 1)];
    }
  });
  if (IsPlanted(Fault::kSwappedSums, place)) std::swap(result.d[1], result.d[2]);
  std::memcpy(d, result.d, sizeof(result.d));
}

template <bool kTransposed>
void LoadMatrices(unsigned r[4], const void* row, const Place& place) {
  if (reinterpret_cast<uintptr_t>(row) & 15) Fail("a row of ldmatrix is not aligned to 16", place);
  const bool swapped = IsPlanted(Fault::kSwappedRows, place);
  // Each lane's row is read when it arrives: writes that nothing orders before may be missing.
  struct In {
    uint16_t row[8];
  } in;
  struct Out {
    unsigned r[4];
  };
  std::memcpy(in.row, row, sizeof(in.row));
  const Out result = Collect<Out>(0xffffffffu, in, place, [=](In* rows, Out* out, unsigned) {
    for (int m = 0; swapped && m < 4; m++) std::swap(rows[m * 8], rows[m * 8 + 1]);
    for (int l = 0; l < 32; l++) {
      for (int m = 0; m < 4; m++) {
        uint16_t halves[2];
        for (int h = 0; h < 2; h++) {
          const int i = kTransposed ? (l & 3) * 2 + h : l >> 2;
          const int j = kTransposed ? l >> 2 : (l & 3) * 2 + h;
          halves[h] = rows[m * 8 + i].row[j];
        }
        out[l].r[m] = halves[0] | static_cast<unsigned>(halves[1]) << 16;
      }
    }
  });
  std::memcpy(r, result.r, sizeof(result.r));
}

unsigned Bf16Bits(float x) {
  const unsigned u = std::bit_cast<unsigned>(x);
  return x != x ? 0x7fffu : (u + 0x7fffu + (u >> 16 & 1)) >> 16;
}

}  // namespace
}  // namespace nested_learning::emulator

namespace emulator = nested_learning::emulator;

void MmaTf32(float d[4], const unsigned a[4], const unsigned b[2], const float c[4],
             emulator::Place place) {
  // The unit sees 10 bits of the significand and drops the others.
  emulator::Mma<1>(d, a, b, c, place,
                   [](unsigned u, int) { return std::bit_cast<float>(u & 0xffffe000u); });
}

void MmaBf16(float d[4], const unsigned a[4], const unsigned b[2], const float c[4],
             emulator::Place place) {
  emulator::Mma<2>(d, a, b, c, place, [](unsigned u, int h) {
    return std::bit_cast<float>(h ? u & 0xffff0000u : u << 16);
  });
}

void LoadMatrix4(unsigned r[4], const void* row, emulator::Place place) {
  emulator::LoadMatrices<false>(r, row, place);
}

void LoadMatrix4Transposed(unsigned r[4], const void* row, emulator::Place place) {
  emulator::LoadMatrices<true>(r, row, place);
}

void CopyAsync16(void* to, const void* from, int given, emulator::Place place) {
  if (given < 0 || given > 16) emulator::Fail("an asynchronous copy has 0 to 16 bytes", place);
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) & 15)
    emulator::Fail("an asynchronous copy is not aligned to 16", place);
  emulator::Begin(to, from, static_cast<size_t>(given), 16);
}

void CopyAsync4(void* to, const void* from, bool given, emulator::Place place) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) & 3)
    emulator::Fail("an asynchronous copy is not aligned to 4", place);
  emulator::Begin(to, from, given ? 4 : 0, 4);
}

// The sanitizer sees it if it is no element.
void Prefetch(const float* p) { static_cast<void>(*static_cast<const volatile float*>(p)); }

void CopyAsyncCommit() { emulator::t_block.current->groups++; }

unsigned RoundToTf32(float x) {
  const unsigned u = std::bit_cast<unsigned>(x);
  return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
}

unsigned PackBf16(float low, float high) {
  return emulator::Bf16Bits(low) | emulator::Bf16Bits(high) << 16;
}
