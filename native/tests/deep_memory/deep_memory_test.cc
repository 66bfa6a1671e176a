#include "tests/deep_memory/deep_memory_testing.h"

using nl_testing::Buffer;
using nl_testing::DeepMemoryCase;
using nl_testing::DeepMemoryReference;
using nl_testing::DeepMemoryTensors;

namespace {

class DeepMemory : public nl_testing::KernelTest {};

void ExpectBoth(const DeepMemoryCase& c) {
  DeepMemoryTensors t(c);
  const DeepMemoryReference expected(t);
  t.Forward();
  t.Backward();
  const auto actual = t.Results();
  const auto wanted = expected.Results();
  for (size_t i = 0; i < actual.size(); ++i) {
    const bool gradient = actual[i].first[0] == 'd';
    nl_testing::ExpectClose(
        *wanted[i], *actual[i].second,
        gradient ? nl_testing::kScanGradientTolerance : nl_testing::kScanTolerance,
        c.Name() + " " + actual[i].first);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST_P(DeepMemory, Results_MatchTheReference) {
  const DeepMemoryCase shapes[] = {
      {1, 1, 1, 2, 3, 4},  {2, 9, 3, 3, 5, 8},        {1, 7, 1, 17, 9, 8, 3},
      {1, 8, 2, 8, 16, 8}, {1, 40, 2, 12, 24, 16, 9}, {1, 33, 1, 16, 33, 32},
      {1, 12, 1, 8, 4, 1}, {1, 90, 1, 5, 7, 80},      {1, 150, 1, 3, 4, 256, 130},
  };
  for (DeepMemoryCase c : shapes) {
    for (int32_t objective : {NL_OBJECTIVE_L2, NL_OBJECTIVE_DOT}) {
      for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE, NL_READ_CHUNK_START}) {
        c.objective = objective;
        c.read = read;
        c.residual = read != NL_READ_BEFORE;
        ExpectBoth(c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(DeepMemory, AbsentInputs_HaveTheirDefaults) {
  for (int32_t given = 0; given < 8; ++given) {
    DeepMemoryCase c = {1, 11, 2, 6, 10, 4, 1};
    c.gates = given & 1;
    c.erases = given & 2;
    c.momentum = given & 4;
    for (int32_t objective : {NL_OBJECTIVE_L2, NL_OBJECTIVE_DOT}) {
      c.objective = objective;
      ExpectBoth(c);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(DeepMemory, TotalDecay_MatchesTheReference) {
  DeepMemoryCase c = {1, 19, 1, 9, 6, 8};
  c.lowest_log_alpha = -300;
  ExpectBoth(c);
}

TEST_P(DeepMemory, Pieces_DoNotChangeBits) {
  const DeepMemoryCase c = {2, 21, 3, 10, 13, 8, 5};
  DeepMemoryTensors whole(c), cut(c);
  whole.Forward();
  whole.Backward();
  const auto a = cut.Arguments();
  const auto g = cut.Gradients();
  int64_t forward, backward;
  EXPECT_OK(nl_deep_memory_forward_workspace(&a, &forward));
  EXPECT_OK(nl_deep_memory_backward_workspace(&a, &backward));
  for (int64_t head = 6; head-- > 0;) {
    Buffer workspace(forward);
    EXPECT_OK(nl_deep_memory_forward(&a, head, head + 1, workspace.data()));
  }
  for (int64_t head = 6; head-- > 0;) {
    Buffer workspace(backward);
    EXPECT_OK(nl_deep_memory_backward(&a, &g, head, head + 1, workspace.data()));
  }
  const auto expected = whole.Results(), actual = cut.Results();
  for (size_t i = 0; i < expected.size(); ++i) {
    nl_testing::ExpectSameBits(*expected[i].second, *actual[i].second, expected[i].first);
  }
}

TEST_P(DeepMemory, NoTokens_PassTheStateThrough) {
  for (int32_t phase : {0, 3}) {
    DeepMemoryCase c = {1, 0, 2, 3, 4, 8, phase};
    ExpectBoth(c);
    if (HasFatalFailure()) return;
  }
}

TEST_P(DeepMemory, MissingUpstreamGradients_AreZero) {
  const DeepMemoryCase c = {1, 21, 1, 6, 9, 8, 2};
  for (bool give_output : {true, false}) {
    DeepMemoryTensors zero(c), missing(c);
    zero.Forward();
    missing.Forward();
    auto g = missing.Gradients();
    if (give_output) {
      for (Buffer& b : zero.d_final) std::fill_n(b.data(), b.count(), 0.0f);
      g.d_w1 = g.d_w2 = g.d_p1 = g.d_p2 = g.d_next_chunk_start1 = g.d_next_chunk_start2 = nullptr;
    } else {
      std::fill_n(zero.d_o.data(), zero.d_o.count(), 0.0f);
      g.d_o = nullptr;
    }
    zero.Backward();
    missing.Backward(g);
    const auto expected = zero.Results(), actual = missing.Results();
    for (size_t i = 0; i < expected.size(); ++i) {
      nl_testing::ExpectClose(nl_testing::ToDoubles(*expected[i].second), *actual[i].second,
                              nl_testing::kScanGradientTolerance, expected[i].first);
    }
  }
}

TEST_P(DeepMemory, Nan_ReachesLaterTokensOnly) {
  const DeepMemoryCase c = {1, 20, 1, 6, 11, 16};
  DeepMemoryTensors t(c);
  const int64_t at = 5;
  t.k[at * c.dim + 1] = std::numeric_limits<float>::quiet_NaN();
  t.Forward();
  for (int64_t token = 0; token < c.time; ++token) {
    for (int64_t i = 0; i < c.dim; ++i) {
      EXPECT_EQ(token >= at, std::isnan(t.o[token * c.dim + i])) << "token " << token;
    }
  }
}

TEST_P(DeepMemory, BadArguments_AreRefused) {
  DeepMemoryTensors t({1, 4, 1, 3, 5, 4});
  Buffer workspace(1);
  const auto refused = [&](const nl_deep_memory_arguments& a, const char* message) {
    EXPECT_EQ(NL_INVALID_ARGUMENT, nl_deep_memory_forward(&a, 0, 1, workspace.data()));
    EXPECT_STREQ(message, nl_last_error());
  };
  auto a = t.Arguments();
  a.hidden = 0;
  refused(a, "hidden is 0, expected at least 1");
  a = t.Arguments();
  a.phase = 4;
  refused(a, "phase is 4, expected 0 to chunk - 1");
  a.phase = 1;
  refused(a, "chunk_start1 is null");
  a = t.Arguments();
  a.read = 3;
  refused(a, "read is 3, expected 0 to 2");
  a = t.Arguments();
  a.v = nullptr;
  refused(a, "v is null");
  a = t.Arguments();
  a.p2 = nullptr;
  refused(a, "p2 is null");
  for (int64_t i = 0; i < t.o.count(); ++i) EXPECT_TRUE(std::isnan(t.o[i]));
}

NL_TEST_TARGETS(DeepMemory);

}  // namespace
