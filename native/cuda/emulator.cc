#include "cuda/emulator.h"

#include <sys/mman.h>
#include <algorithm>

#if defined(__SANITIZE_ADDRESS__)
#define NL_SANITIZE_ADDRESS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NL_SANITIZE_ADDRESS 1
#endif
#endif
#if defined(NL_SANITIZE_ADDRESS)
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

// Lets threads go once all of them are at the barrier.
void Release() {
  Block& block = t_block;
  if (!block.waiting || block.waiting != block.live) return;
  if (block.live != static_cast<int>(block.fibers.size()))
    Fault("a barrier after some threads have returned", 0);
  block.waiting = 0;
  for (Fiber& fiber : block.fibers) {
    if (fiber.state == State::kAtBarrier) fiber.state = State::kReady;
  }
}

void Permute(std::vector<unsigned>& order) {
  unsigned& seed = t_block.seed;
  for (size_t i = order.size(); i > 1; i--) {
    seed = seed * 1664525u + 1013904223u;
    std::swap(order[i - 1], order[(seed >> 8) % i]);
  }
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
  while (block.live) {
    if (block.order == Order::kRandom) Permute(order);
    bool ran = false;
    const auto run = [&](unsigned i) {
      if (block.fibers[i].state != State::kReady) return false;
      block.current = &block.fibers[i];
      ToFiber(block.fibers[i]);
      block.current = nullptr;
      Release();
      return true;
    };
    for (size_t at = 0; at < n; at++) {
      if (!run(order[at])) continue;
      ran = true;
      // A warp at a time runs as far as it can, ahead of the others, as it may on a device.
      if (block.order != Order::kRandom) continue;
      const size_t first = order[at] / 32 * 32, end = std::min(n, first + 32);
      for (bool more = true; more;) {
        more = false;
        for (size_t i = first; i < end; i++) more |= run(static_cast<unsigned>(i));
      }
    }
    if (ran) continue;
    for (const Fiber& fiber : block.fibers) {
      if (fiber.state != State::kDone) {
        std::fprintf(stderr, "  thread %d waits in a %s, line %d\n", fiber.linear,
                     fiber.state == State::kInWarp ? "warp's collective" : "barrier", fiber.line);
      }
    }
    Fault("no thread can go on", 0);
  }
}

void ReserveStacks(size_t n) {
  Block& block = t_block;
  if (block.stack_count >= n) return;
  if (block.stacks) munmap(block.stacks, block.stack_count * kStackStride);
  void* memory = mmap(nullptr, n * kStackStride, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) Fault("no memory for stacks", 0);
  block.stacks = static_cast<unsigned char*>(memory);
  block.stack_count = n;
  for (size_t i = 0; i < n; i++) mprotect(block.stacks + i * kStackStride, kGuardBytes, PROT_NONE);
}

}  // namespace

std::map<std::string, Kernel>& Kernels() {
  static std::map<std::string, Kernel> kernels;
  return kernels;
}

void SetOrder(Order order) { t_block.order = order; }

std::vector<size_t> ArgumentSizes(const std::string& kernel) {
  const auto found = Kernels().find(kernel);
  return found == Kernels().end() ? std::vector<size_t>() : found->second.sizes;
}

bool Run(const std::string& kernel, const Launch& launch, void** arguments) {
  const auto found = Kernels().find(kernel);
  if (found == Kernels().end()) return false;
  Block& block = t_block;
  const size_t n = size_t{launch.block.x} * launch.block.y * launch.block.z;
  if (n == 0 || n > 1024) Fault("a block has 1 to 1024 threads", 0);
  ReserveStacks(n);
  block.fibers.resize(n);
  block.collectives.resize((n + 31) / 32 * 4);
  block.size = launch.block;
  block.grid = launch.grid;
  block.body = found->second.run;
  block.arguments = arguments;
  // Of the exact size, so that the sanitizer sees an access beyond it.
  if (launch.shared_bytes) {
    void* memory = nullptr;
    if (posix_memalign(&memory, 128, launch.shared_bytes)) Fault("no shared memory", 0);
    block.shared = static_cast<unsigned char*>(memory);
  }
  for (unsigned z = 0; z < launch.grid.z; z++) {
    for (unsigned y = 0; y < launch.grid.y; y++) {
      for (unsigned x = 0; x < launch.grid.x; x++) {
        block.index = {x, y, z};
        // Each float of it NaN.
        if (launch.shared_bytes) std::memset(block.shared, 0xff, launch.shared_bytes);
        RunBlock();
      }
    }
  }
  std::free(block.shared);
  block.shared = nullptr;
  return true;
}

void Fault(const char* what, int line) {
  const Block& block = t_block;
  std::fprintf(stderr, "CUDA emulator: %s; line %d, block (%u, %u, %u), thread %d\n", what, line,
               block.index.x, block.index.y, block.index.z,
               block.current ? block.current->linear : -1);
  std::abort();
}

void Pause(State state, int line) {
  Fiber& self = *t_block.current;
  self.state = state;
  self.line = line;
  ToScheduler(self, false);
}

void Barrier(int line) {
  Block& block = t_block;
  for (const Fiber& fiber : block.fibers) {
    if (fiber.state == State::kAtBarrier && fiber.line != line)
      Fault("threads meet in different barriers", line);
  }
  block.waiting++;
  Pause(State::kAtBarrier, line);
}

void FinishCopies(Fiber& fiber, int under_way) {
  size_t kept = 0;
  for (const Copy& copy : fiber.copies) {
    if (copy.group >= fiber.groups - under_way) {
      fiber.copies[kept++] = copy;
    } else {
      if (copy.bytes) std::memcpy(copy.to, copy.from, copy.bytes);
      std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, copy.size - copy.bytes);
    }
  }
  fiber.copies.resize(kept);
}

namespace {

// The product of a warp, K = 8 kElements; get(register, h) is the float of a register's element h.
template <int kElements, typename Get>
void Mma(float d[4], const unsigned a[4], const unsigned b[2], const float c[4], int line,
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
  const Out result = Collect<Out>(0xffffffffu, in, line, [&](In* lanes, Out* out, unsigned) {
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
  std::memcpy(d, result.d, sizeof(result.d));
}

template <bool kTransposed>
void LoadMatrices(unsigned r[4], const void* row, int line) {
  if (reinterpret_cast<uintptr_t>(row) & 15) Fault("a row of ldmatrix is not aligned to 16", line);
  struct Out {
    unsigned r[4];
  };
  const Out result =
      Collect<Out>(0xffffffffu, row, line, [](const void** rows, Out* out, unsigned) {
        for (int l = 0; l < 32; l++) {
          for (int m = 0; m < 4; m++) {
            uint16_t halves[2];
            for (int h = 0; h < 2; h++) {
              const int i = kTransposed ? (l & 3) * 2 + h : l >> 2;
              const int j = kTransposed ? l >> 2 : (l & 3) * 2 + h;
              std::memcpy(&halves[h], static_cast<const char*>(rows[m * 8 + i]) + 2 * j, 2);
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

void MmaTf32(float d[4], const unsigned a[4], const unsigned b[2], const float c[4], int line) {
  // The unit sees 10 bits of the significand and drops the others.
  emulator::Mma<1>(d, a, b, c, line,
                   [](unsigned u, int) { return std::bit_cast<float>(u & 0xffffe000u); });
}

void MmaBf16(float d[4], const unsigned a[4], const unsigned b[2], const float c[4], int line) {
  emulator::Mma<2>(d, a, b, c, line, [](unsigned u, int h) {
    return std::bit_cast<float>(h ? u & 0xffff0000u : u << 16);
  });
}

void LoadMatrix4(unsigned r[4], const void* row, int line) {
  emulator::LoadMatrices<false>(r, row, line);
}

void LoadMatrix4Transposed(unsigned r[4], const void* row, int line) {
  emulator::LoadMatrices<true>(r, row, line);
}

void CopyAsync16(void* to, const void* from, int given, int line) {
  if (given < 0 || given > 16) emulator::Fault("an asynchronous copy has 0 to 16 bytes", line);
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) & 15)
    emulator::Fault("an asynchronous copy is not aligned to 16", line);
  emulator::Fiber& self = *emulator::t_block.current;
  self.copies.push_back({to, from, static_cast<size_t>(given), 16, self.groups});
}

void CopyAsync4(void* to, const void* from, bool given, int line) {
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) & 3)
    emulator::Fault("an asynchronous copy is not aligned to 4", line);
  emulator::Fiber& self = *emulator::t_block.current;
  self.copies.push_back({to, from, given ? size_t{4} : size_t{0}, 4, self.groups});
}

void CopyAsyncCommit() { emulator::t_block.current->groups++; }

unsigned RoundToTf32(float x) {
  const unsigned u = std::bit_cast<unsigned>(x);
  return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
}

unsigned PackBf16(float low, float high) {
  return emulator::Bf16Bits(low) | emulator::Bf16Bits(high) << 16;
}
