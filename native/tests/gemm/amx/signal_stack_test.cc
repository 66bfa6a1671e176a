// The alternate signal stacks that AMX needs room on.
#include "kernels/gemm/signal_stack.h"

#include "kernels/gemm/amx_support.h"
#include "tests/testing.h"

#if defined(NL_AMX_COMPILED)

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

namespace {

stack_t Current() {
  stack_t stack = {};
  EXPECT_EQ(0, sigaltstack(nullptr, &stack));
  return stack;
}

// Memory for a stack as .NET has it: 16 KiB, the first page of which guards its end.
stack_t LikeDotNets() {
  stack_t stack = {};
  stack.ss_size = 16384;
  stack.ss_sp =
      mmap(nullptr, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT_NE(MAP_FAILED, stack.ss_sp);
  EXPECT_EQ(0, mprotect(stack.ss_sp, 4096, PROT_NONE));
  return stack;
}

// What a frame with tiles takes: XSAVE's standard form up to them, and what is in a frame beside.
constexpr size_t kFrameWithTiles = 2816 + 8192 + 944;

volatile sig_atomic_t g_handled = 0;

void TakeRoom(int) {
  // A handler that needs more than what two such frames leave of 32 KiB.
  volatile char room[12288];
  for (size_t i = 0; i < sizeof(room); i += 512) room[i] = 1;
  const char* here = const_cast<const char*>(room);
  const stack_t stack = Current();
  const char* start = static_cast<const char*>(stack.ss_sp);
  g_handled = here >= start && here < start + stack.ss_size ? 1 : 2;
}

TEST(SignalStack, SmallStack_IsReplacedUntilTheThreadEnds) {
  stack_t before = LikeDotNets();
  std::thread([&] {
    ASSERT_EQ(0, sigaltstack(&before, nullptr));
    nested_learning::RequireSignalStack(kFrameWithTiles);
    const stack_t larger = Current();
    EXPECT_NE(before.ss_sp, larger.ss_sp);
    EXPECT_EQ(0, larger.ss_flags & SS_DISABLE);
    EXPECT_GE(larger.ss_size, 2 * kFrameWithTiles + (16 << 10));
    // Once a thread.
    nested_learning::RequireSignalStack(kFrameWithTiles);
    EXPECT_EQ(larger.ss_sp, Current().ss_sp);

    struct sigaction action = {}, former = {};
    action.sa_handler = TakeRoom;
    action.sa_flags = SA_ONSTACK;
    ASSERT_EQ(0, sigaction(SIGUSR2, &action, &former));
    g_handled = 0;
    pthread_kill(pthread_self(), SIGUSR2);
    EXPECT_EQ(1, g_handled);
    ASSERT_EQ(0, sigaction(SIGUSR2, &former, nullptr));
  }).join();
  munmap(before.ss_sp, before.ss_size);
}

// The signal stack with which a thread ends that began with `before` and ran `body`.
template <class TBody>
stack_t AtTheEndOfAThread(const stack_t& before, const TBody& body) {
  stack_t after = {};
  std::thread([&] {
    // Made first, so destroyed last.
    thread_local struct Last {
      stack_t* stack = nullptr;
      ~Last() {
        if (stack != nullptr) sigaltstack(nullptr, stack);
      }
    } last;
    last.stack = &after;
    ASSERT_EQ(0, sigaltstack(&before, nullptr));
    body();
  }).join();
  return after;
}

TEST(SignalStack, FormerStack_IsRestoredWhenTheThreadEnds) {
  const stack_t before = LikeDotNets();
  const stack_t after = AtTheEndOfAThread(before, [&] {
    nested_learning::RequireSignalStack(kFrameWithTiles);
    EXPECT_NE(before.ss_sp, Current().ss_sp);
  });
  EXPECT_EQ(before.ss_sp, after.ss_sp);
  EXPECT_EQ(before.ss_size, after.ss_size);
  munmap(before.ss_sp, before.ss_size);
}

TEST(SignalStack, StackRemovedByItsOwner_StaysRemoved) {
  const stack_t before = LikeDotNets();
  const stack_t after = AtTheEndOfAThread(before, [&] {
    nested_learning::RequireSignalStack(kFrameWithTiles);
    // As .NET does at a thread's end.
    stack_t none = {};
    none.ss_flags = SS_DISABLE;
    ASSERT_EQ(0, sigaltstack(&none, nullptr));
  });
  EXPECT_NE(0, after.ss_flags & SS_DISABLE);
  munmap(before.ss_sp, before.ss_size);
}

TEST(SignalStack, LargeStackOrNone_IsKept) {
  // A thread's own, such as the address sanitizer's, is put back: it is taken down with the thread.
  std::thread([] {
    stack_t none = {}, own = {};
    none.ss_flags = SS_DISABLE;
    ASSERT_EQ(0, sigaltstack(&none, &own));
    nested_learning::RequireSignalStack(kFrameWithTiles);
    EXPECT_NE(0, Current().ss_flags & SS_DISABLE);
    ASSERT_EQ(0, sigaltstack(&own, nullptr));
  }).join();
  std::thread([] {
    std::vector<char> memory(64 << 10);
    stack_t large = {}, own = {};
    large.ss_sp = memory.data();
    large.ss_size = memory.size();
    ASSERT_EQ(0, sigaltstack(&large, &own));
    nested_learning::RequireSignalStack(kFrameWithTiles);
    EXPECT_EQ(large.ss_sp, Current().ss_sp);
    ASSERT_EQ(0, sigaltstack(&own, nullptr));
  }).join();
}

TEST(SignalStack, SignalFrame_HasRoomForAllRegisters) {
  EXPECT_GE(nested_learning::SignalFrameBytes(), 2048u);
  EXPECT_LE(nested_learning::SignalFrameBytes(), size_t{1} << 20);
}

}  // namespace

#endif
