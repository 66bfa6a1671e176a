// Every export of the C interface with random sizes, settings, pieces, nulls, contents and structs that are too small: it
// succeeds or refuses, writes what it is to write and no more, and leaves the floating-point environment as it was. Under the
// sanitizers neither a read nor a write beside the memory that the shapes ask for goes by.
//
//   NESTED_LEARNING_HOSTILE_CALLS   how many calls; with a table of what they returned
//   NESTED_LEARNING_HOSTILE_FIRST   the number of the first: a call depends on its number alone
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "nested_learning.h"
#include "tests/core/hostile/random_call.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <csignal>
#include <unistd.h>
#endif

namespace {

using nl_testing::Manner;
using nl_testing::Prepared;
using nl_testing::PreparedFunction;
using nl_testing::RandomCall;

uint64_t Variable(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

// ---- The call that ends the process ----

const RandomCall* g_call = nullptr;

void SayCall() {
  if (g_call == nullptr) return;
  std::fprintf(stderr, "In the call\n%s\n", g_call->Describe().c_str());
  g_call = nullptr;
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__)
// What the undefined-behaviour sanitizer calls before it reports, whose end the other's callback does not see.
extern "C" __attribute__((visibility("default"))) void __ubsan_on_report() { SayCall(); }
#endif

namespace {

// While it lives, what ends the process, or takes a minute, names the call.
class Watch {
 public:
  explicit Watch(const RandomCall& call) {
    g_call = &call;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    __sanitizer_set_death_callback(SayCall);
#elif defined(__unix__) || defined(__APPLE__)
    for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(number, End);
#endif
#if defined(__unix__) || defined(__APPLE__)
    std::signal(SIGALRM, End);
#endif
  }
  ~Watch() {
    g_call = nullptr;
    GoOn(0);
  }
  // The next calls have so many seconds.
  static void GoOn([[maybe_unused]] unsigned seconds) {
#if defined(__unix__) || defined(__APPLE__)
    alarm(seconds);
#endif
  }

 private:
  // The process is lost, so that what a handler may not do is worth the message.
  [[maybe_unused]] static void End(int number) {
    std::fprintf(stderr, "signal %d\n", number);
    SayCall();
    std::_Exit(1);
  }
};

// ---- Counts ----

struct Counts {
  std::array<uint64_t, 5> statuses = {};
  uint64_t nanoseconds = 0;

  uint64_t all() const {
    uint64_t sum = 0;
    for (const uint64_t one : statuses) sum += one;
    return sum;
  }
};

void Print(const std::vector<Counts>& counts) {
  const auto& functions = Prepared::Get().functions;
  std::printf("%-38s %10s %10s %10s %10s %10s\n", "export", "calls", "OK", "INVALID", "others",
              "us a call");
  Counts sum;
  const auto line = [](const char* name, const Counts& c) {
    const uint64_t all = c.all();
    std::printf("%-38s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10.2f\n", name, all,
                c.statuses[NL_OK], c.statuses[NL_INVALID_ARGUMENT],
                all - c.statuses[NL_OK] - c.statuses[NL_INVALID_ARGUMENT],
                all == 0 ? 0 : static_cast<double>(c.nanoseconds) / 1000 / all);
  };
  for (size_t i = 0; i < counts.size(); ++i) {
    line(functions[i].function->name.c_str(), counts[i]);
    for (size_t s = 0; s < sum.statuses.size(); ++s) sum.statuses[s] += counts[i].statuses[s];
    sum.nanoseconds += counts[i].nanoseconds;
  }
  line("all", sum);
}

TEST(HostileCalls, EveryDeclaration_IsOfAFormThatCallsCanBeMadeOf) {
  for (const std::string& unknown : Prepared::Get().unknown) {
    ADD_FAILURE() << unknown << ": tests/core/hostile/rules.cc";
  }
  EXPECT_GT(Prepared::Get().functions.size(), 40u);
}

TEST(HostileCalls, EveryCall_SucceedsOrIsRefused) {
  const auto& functions = Prepared::Get().functions;
  ASSERT_TRUE(Prepared::Get().unknown.empty());
  const bool is_reported = std::getenv("NESTED_LEARNING_HOSTILE_CALLS") != nullptr;
  const uint64_t calls = Variable("NESTED_LEARNING_HOSTILE_CALLS", 60000);
  const uint64_t first = Variable("NESTED_LEARNING_HOSTILE_FIRST", 0);
  int32_t target = 0;
  ASSERT_EQ(NL_OK, nl_target_current(&target)) << nl_last_error();

  RandomCall call;
  std::vector<Counts> counts(functions.size());
  int faulty = 0;
  {
    const Watch watch(call);
    constexpr Manner kManners[] = {Manner::kSound, Manner::kHostile, Manner::kNulls,
                                   Manner::kHostile};
    for (uint64_t i = first; i < first + calls && faulty < 10; ++i) {
      if (i % 1024 == 0) Watch::GoOn(60);
      const size_t which = i % functions.size();
      call.Make(functions[which], i, kManners[i / functions.size() % 4]);
      const auto start = std::chrono::steady_clock::now();
      const int64_t result = call.Run();
      counts[which].nanoseconds +=
          static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                    std::chrono::steady_clock::now() - start)
                                    .count());
      // What returns no status has only succeeded.
      const int64_t status = functions[which].returns_status ? result : int64_t{NL_OK};
      ++counts[which].statuses[static_cast<size_t>(std::clamp<int64_t>(status, 0, 4))];
      for (const std::string& fault : call.Faults(result)) {
        ++faulty;
        ADD_FAILURE() << fault << "\n" << call.Describe();
      }
    }
  }
  EXPECT_EQ(NL_OK, nl_target_choose(target)) << nl_last_error();
  if (is_reported) Print(counts);
  // Calls of each kind reach what they are to try.
  if (calls < 10000 || faulty > 0) return;
  for (size_t i = 0; i < functions.size(); ++i) {
    if (!functions[i].returns_status) continue;
    EXPECT_GT(counts[i].statuses[NL_OK], calls / functions.size() / 5)
        << functions[i].function->name;
    EXPECT_GT(counts[i].statuses[NL_INVALID_ARGUMENT], calls / functions.size() / 50)
        << functions[i].function->name;
  }
}

}  // namespace
