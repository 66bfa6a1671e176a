// Pieces on several threads at once: the bits of one thread, and under the thread sanitizer no data race.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "nested_learning.h"
#include "tests/core/hostile/random_call.h"

namespace {

using nl_testing::Block;
using nl_testing::Manner;
using nl_testing::Prepared;
using nl_testing::PreparedFunction;
using nl_testing::RandomCall;

constexpr int kThreads = 4;

// Runs body(thread) on so many threads at once.
template <class TBody>
void OnThreads(int count, const TBody& body) {
  std::atomic<int> waiting = count;
  std::vector<std::thread> threads;
  for (int t = 0; t < count; ++t) {
    threads.emplace_back([&, t] {
      --waiting;
      while (waiting.load() > 0) std::this_thread::yield();
      body(t);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

const PreparedFunction* Find(const std::string& name) {
  for (const PreparedFunction& f : Prepared::Get().functions) {
    if (f.function->name == name) return &f;
  }
  return nullptr;
}

// Every piece of `pieces`, a few at a time, on so many threads.
template <class TRun>
void Share(int threads, int64_t pieces, const TRun& run) {
  std::atomic<int64_t> next = 0;
  const int64_t together = std::max<int64_t>(1, pieces / 16);
  OnThreads(threads, [&](int thread) {
    for (int64_t begin; (begin = next.fetch_add(together)) < pieces;) {
      const int64_t end = std::min(pieces, begin + together);
      EXPECT_EQ(NL_OK, run(thread, begin, end)) << nl_last_error();
    }
  });
}

// The whole of a call. A product packs its copies first, where it has them, pass by pass.
void RunAll(RandomCall& call, int threads) {
  const bool is_product = call.function().function->name == "nl_gemm";
  const bool has_passes = is_product || call.function().function->name == "nl_gemm_pack";
  std::vector<std::vector<uint8_t>> workspaces(static_cast<size_t>(threads),
                                               std::vector<uint8_t>(call.workspace_bytes() + 64));
  const int64_t passes = has_passes ? call.Planned("passes") : 1;
  for (int64_t pass = 0; pass < passes; ++pass) {
    if (is_product && call.IsGiven("packed")) {
      Share(threads, call.Planned("pack_pieces"), [&](int, int64_t begin, int64_t end) {
        return call.RunOther(*Find("nl_gemm_pack"), pass, begin, end);
      });
    }
    Share(threads, call.pieces(), [&](int thread, int64_t begin, int64_t end) {
      return call.RunPieces(pass, begin, end, workspaces[static_cast<size_t>(thread)].data());
    });
  }
}

std::vector<std::vector<uint8_t>> Contents(const RandomCall& call) {
  std::vector<std::vector<uint8_t>> all;
  for (const Block& block : call.blocks()) all.emplace_back(block.data, block.data + block.bytes);
  return all;
}

TEST(Threads, FirstCalls_AgreeOnTheTarget) {
  int32_t targets[kThreads];
  OnThreads(kThreads, [&](int t) {
    EXPECT_EQ(NL_OK, nl_target_current(&targets[t])) << nl_last_error();
    EXPECT_EQ(nl_amx_obstacle(0) == nullptr, nl_amx_obstacle(1) == nullptr);
  });
  for (const int32_t target : targets) EXPECT_EQ(targets[0], target);
}

TEST(Threads, Pieces_HaveTheBitsOfOneThread) {
  ASSERT_TRUE(Prepared::Get().unknown.empty());
  RandomCall call;
  constexpr uint64_t kCalls = 12;
  for (const PreparedFunction& function : Prepared::Get().functions) {
    if (function.pieces == nullptr) continue;
    int64_t most = 0;
    for (uint64_t seed = 0; seed < kCalls && !HasFailure(); ++seed) {
      call.Make(function, seed, Manner::kThreads);
      most = std::max(most, call.pieces());
      RunAll(call, 1);
      const auto expected = Contents(call);
      call.Restore();
      RunAll(call, kThreads);
      for (size_t i = 0; i < expected.size(); ++i) {
        const Block& block = call.blocks()[i];
        // Scratch memory holds whatever came last.
        if (block.name == "workspace" || block.bytes == 0) continue;
        EXPECT_EQ(0, std::memcmp(expected[i].data(), block.data, block.bytes))
            << block.name << " differs in\n"
            << call.Describe();
      }
    }
    EXPECT_GT(most, 1) << function.function->name << " never had two pieces";
  }
}

TEST(Threads, Messages_AreEachThreadsOwn) {
  OnThreads(kThreads, [](int t) {
    nl_norm_arguments a = {};
    a.size = sizeof(a);
    a.columns = 8;
    a.kind = 10 + t;
    for (int i = 0; i < 200; ++i) {
      EXPECT_EQ(NL_INVALID_ARGUMENT, nl_norm_forward(&a, 0, 1));
      EXPECT_EQ("kind is " + std::to_string(10 + t) + ", expected 0 to 2",
                std::string(nl_last_error()));
    }
  });
}

}  // namespace
