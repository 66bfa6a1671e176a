// Who decides whether AMX is used, with made-up processors, systems and answers.
#include <cerrno>
#include <thread>

#include "tests/testing.h"
#include "core/status.h"
#include "kernels/gemm/amx_support.h"

using nested_learning::AmxFacts;
using nested_learning::AmxObstacle;
using nested_learning::AmxPermission;
using nested_learning::AmxWish;
using nested_learning::DescribeAmxObstacle;
using nested_learning::ParseAmxWish;

namespace {

AmxFacts SapphireRapids() {
  AmxFacts facts;
  facts.compiled = true;
  facts.avx3 = true;
  facts.features = 1u << 22 | 1u << 24;
  facts.saved = 0x600E7;
  facts.palettes = 1;
  facts.palette[0] = 1024u << 16 | 8192;
  facts.palette[1] = 8u << 16 | 64;
  facts.palette[2] = 16;
  facts.permission = AmxPermission::kGranted;
  return facts;
}

TEST(AmxSupport, EveryCondition_IsNeeded) {
  EXPECT_EQ(nullptr, AmxObstacle(AmxWish::kWherePossible, SapphireRapids()));
  EXPECT_EQ(nullptr, AmxObstacle(AmxWish::kOn, SapphireRapids()));
  // All combinations of what is there and what is not; the first of them that is missing is the reason.
  struct Condition {
    const char* obstacle;
    void (*spoil)(AmxFacts&);
  };
  const char* processor = "not in this processor";
  const char* system = "the operating system does not keep its registers";
  const char* size = "the tiles of this processor have another size";
  const Condition conditions[] = {
      {"not in this build, as it is for Linux on 64-bit x86",
       [](AmxFacts& f) { f.compiled = false; }},
      {processor, [](AmxFacts& f) { f.features &= ~(1u << 24); }},
      {processor, [](AmxFacts& f) { f.features &= ~(1u << 22); }},
      {system, [](AmxFacts& f) { f.saved &= ~(uint64_t{1} << 17); }},
      {system, [](AmxFacts& f) { f.saved &= ~(uint64_t{1} << 18); }},
      {system, [](AmxFacts& f) { f.saved = 0; }},
      {size, [](AmxFacts& f) { f.palettes = 0; }},
      {size, [](AmxFacts& f) { f.palette[0] = 2048u << 16 | 8192; }},
      {size, [](AmxFacts& f) { f.palette[1] = 8u << 16 | 128; }},
      {size, [](AmxFacts& f) { f.palette[1] = 4u << 16 | 64; }},
      {size, [](AmxFacts& f) { f.palette[2] = 8; }},
      {"the target in use is not AVX3", [](AmxFacts& f) { f.avx3 = false; }},
      {"permission refused", [](AmxFacts& f) { f.permission = AmxPermission::kRefused; }},
  };
  constexpr unsigned kConditions = sizeof(conditions) / sizeof(conditions[0]);
  for (unsigned missing = 1; missing < 1u << kConditions; ++missing) {
    AmxFacts facts = SapphireRapids();
    const char* first = nullptr;
    for (unsigned i = 0; i < kConditions; ++i) {
      if ((missing >> i & 1) == 0) continue;
      conditions[i].spoil(facts);
      if (first == nullptr) first = conditions[i].obstacle;
    }
    for (AmxWish wish : {AmxWish::kWherePossible, AmxWish::kOn}) {
      const char* obstacle = AmxObstacle(wish, facts);
      ASSERT_NE(nullptr, obstacle) << missing;
      ASSERT_STREQ(first, obstacle) << missing;
    }
    ASSERT_STREQ("NESTED_LEARNING_AMX is off", AmxObstacle(AmxWish::kOff, facts)) << missing;
  }
  EXPECT_STREQ("NESTED_LEARNING_AMX is off", AmxObstacle(AmxWish::kOff, SapphireRapids()));
}

TEST(AmxSupport, PermissionNotAskedFor_IsNoObstacle) {
  AmxFacts facts = SapphireRapids();
  facts.permission = AmxPermission::kNotAsked;
  EXPECT_EQ(nullptr, AmxObstacle(AmxWish::kWherePossible, facts));
  EXPECT_EQ("", DescribeAmxObstacle(AmxWish::kWherePossible, facts));
}

TEST(AmxSupport, Refusal_SaysWhatTheSystemSaid) {
  AmxFacts facts = SapphireRapids();
  facts.permission = AmxPermission::kRefused;
  facts.error = EPERM;
  EXPECT_EQ("permission refused: Operation not permitted",
            DescribeAmxObstacle(AmxWish::kWherePossible, facts));
  facts.error = ENOSPC;
  EXPECT_EQ(
      "permission refused: No space left on device (on the alternate signal stack of a thread)",
      DescribeAmxObstacle(AmxWish::kWherePossible, facts));
}

TEST(AmxSupport, TheVariable_IsOffOrOn) {
  EXPECT_EQ(AmxWish::kWherePossible, ParseAmxWish(nullptr));
  EXPECT_EQ(AmxWish::kWherePossible, ParseAmxWish(""));
  EXPECT_EQ(AmxWish::kOff, ParseAmxWish("off"));
  EXPECT_EQ(AmxWish::kOn, ParseAmxWish("on"));
  for (const char* text : {"0", "OFF", "yes", "off "}) {
    try {
      ParseAmxWish(text);
      ADD_FAILURE() << text;
    } catch (const nested_learning::Error& e) {
      EXPECT_EQ(std::string("NESTED_LEARNING_AMX is ") + text + ", expected off or on", e.what());
    }
  }
}

TEST(AmxSupport, OtherTargets_DoNotUseAmx) {
  for (int32_t target : nl_testing::Targets()) {
    ASSERT_EQ(NL_OK, nl_target_choose(target));
    if (std::string(nl_target_name(target)) == "AVX3") continue;
    EXPECT_NE(nullptr, nl_amx_obstacle(0));
    EXPECT_FALSE(nested_learning::UsesAmx());
  }
}

TEST(AmxSupport, TheAnswer_IsTheSameForAllThreads) {
  std::vector<std::string> said(8);
  std::vector<std::thread> threads;
  for (std::string& text : said) {
    threads.emplace_back([&text] {
      const char* obstacle = nl_amx_obstacle(1);
      text = obstacle == nullptr ? "in use" : obstacle;
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& text : said) EXPECT_EQ(said[0], text);
  const char* obstacle = nl_amx_obstacle(0);
  EXPECT_EQ(said[0], obstacle == nullptr ? "in use" : obstacle);
}

// Alone in a process with NESTED_LEARNING_AMX=on, off or maybe; elsewhere the variable is not set and there is nothing to obey.
TEST(AmxEnvironment, TheVariable_IsObeyed) {
  const char* wanted = std::getenv("NESTED_LEARNING_AMX");
  if (wanted == nullptr || *wanted == '\0') return;
  nl_gemm_arguments g = {};
  float x = 1;
  g.size = sizeof(g);
  g.precision = NL_PRECISION_BFLOAT16;
  g.m = g.n = g.k = 512;
  g.a = g.b = g.c = &x;
  nl_gemm_sizes sizes = {};
  sizes.size = sizeof(sizes);
  const int32_t status = nl_gemm_plan(&g, &sizes);
  const std::string message = nl_last_error();
  const char* obstacle = nl_amx_obstacle(1);
  if (std::string(wanted) == "off") {
    EXPECT_EQ(NL_OK, status);
    EXPECT_STREQ("NESTED_LEARNING_AMX is off", obstacle);
  } else if (std::string(wanted) == "on") {
    if (obstacle == nullptr) {
      EXPECT_EQ(NL_OK, status);
    } else {
      EXPECT_EQ(NL_UNSUPPORTED_TARGET, status);
      EXPECT_EQ(std::string("NESTED_LEARNING_AMX is on, but AMX cannot be used: ") + obstacle,
                message);
    }
  } else {
    EXPECT_EQ(NL_UNSUPPORTED_TARGET, status);
    EXPECT_EQ(std::string("NESTED_LEARNING_AMX is ") + wanted + ", expected off or on", message);
    EXPECT_EQ(message, obstacle);
  }
  // Other products do not ask.
  g.precision = NL_PRECISION_FLOAT32;
  EXPECT_OK(nl_gemm_plan(&g, &sizes));
}

}  // namespace
