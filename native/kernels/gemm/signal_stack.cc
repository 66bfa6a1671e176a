#include "kernels/gemm/signal_stack.h"

#include "kernels/gemm/amx_support.h"

#if defined(NL_AMX_COMPILED)

#include <cpuid.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "core/status.h"

namespace nested_learning {
namespace {

// For handlers, beside the frames: what .NET's keeps on it is 3 KiB, others' more.
constexpr size_t kRoomForHandlers = 16 << 10;
// A handler may itself be interrupted by a signal: then there are two frames.
constexpr size_t kFrames = 2;

[[noreturn]] void Fail(const char* doing) {
  throw Error(NL_OUT_OF_MEMORY,
              std::string("a signal stack for AMX: ") + doing + ": " + std::strerror(errno));
}

// This thread's larger stack, if it was needed.
class SignalStack {
 public:
  SignalStack() = default;
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;
  ~SignalStack() { Restore(); }

  void Require(size_t frame_bytes) {
    if (settled_) return;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    if (sigaltstack(nullptr, &former_) != 0) Fail("sigaltstack");
    // .NET's size has a page in it that guards its end.
    if ((former_.ss_flags & SS_DISABLE) == 0 &&
        former_.ss_size < kFrames * frame_bytes + kRoomForHandlers + page) {
      Replace(frame_bytes, page);
    }
    settled_ = true;
  }

 private:
  void Replace(size_t frame_bytes, size_t page) {
    const size_t usable = (2 * (kFrames * frame_bytes + kRoomForHandlers) + page - 1) / page * page;
    bytes_ = usable + page;
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) Fail("mmap");
    stack_t stack = {};
    stack.ss_sp = static_cast<char*>(memory) + page;
    stack.ss_size = usable;
    if (mprotect(memory, page, PROT_NONE) != 0 || sigaltstack(&stack, nullptr) != 0) {
      const int error = errno;
      munmap(memory, bytes_);
      errno = error;
      Fail("sigaltstack");
    }
    memory_ = memory;
  }

  void Restore() {
    if (memory_ == nullptr) return;
    stack_t now = {};
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const bool ours = sigaltstack(nullptr, &now) == 0 && (now.ss_flags & SS_DISABLE) == 0 &&
                      now.ss_sp == static_cast<char*>(memory_) + page;
    if (ours && sigaltstack(&former_, nullptr) != 0) {
      stack_t none = {};
      none.ss_flags = SS_DISABLE;
      // A handler that runs on it now ends the thread: then it must stay.
      if (sigaltstack(&none, nullptr) != 0) return;
    }
    munmap(memory_, bytes_);
    memory_ = nullptr;
  }

  bool settled_ = false;
  stack_t former_ = {};
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

thread_local SignalStack t_stack;

}  // namespace

size_t SignalFrameBytes() {
  static const size_t bytes = [] {
    // Of <asm/auxvec.h>, from Linux 5.14 on; tiles need 5.16.
    constexpr unsigned long kMinimalSignalStack = 51;
    // The size of all registers that this processor could save, and what else is in a frame.
    uint32_t a, b, c, d;
    __cpuid_count(0xD, 0, a, b, c, d);
    return std::max<size_t>(getauxval(kMinimalSignalStack), c + size_t{1024});
  }();
  return bytes;
}

void RequireSignalStack(size_t frame_bytes) { t_stack.Require(frame_bytes); }

}  // namespace nested_learning

#else

namespace nested_learning {

size_t SignalFrameBytes() { return 0; }

void RequireSignalStack(size_t) {}

}  // namespace nested_learning

#endif
