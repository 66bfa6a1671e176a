// What the scan computes.
#include "tests/scan/scan_testing.h"

using nl_testing::Buffer;
using nl_testing::ExpectScanBoth;
using nl_testing::ExpectScanForward;
using nl_testing::ScanCase;
using nl_testing::ScanReference;
using nl_testing::ScanTensors;

namespace {

class Scan : public nl_testing::KernelTest {};

// Sizes around vectors, tiles, segments and chunks.
const ScanCase kShapes[] = {
    {1, 1, 1, 1, 1, 4},      {2, 9, 3, 3, 17, 8},   {1, 8, 2, 17, 3, 8},    {1, 7, 1, 24, 40, 8},
    {1, 70, 2, 8, 12, 64},   {1, 63, 1, 5, 33, 64}, {1, 65, 1, 16, 16, 64}, {2, 33, 2, 12, 20, 32},
    {1, 100, 1, 6, 10, 256}, {1, 5, 1, 2, 150, 2},  {1, 4, 1, 40, 65, 1},   {3, 31, 3, 9, 31, 16},
};

TEST_P(Scan, Results_MatchTheReferenceForEveryShape) {
  for (ScanCase c : kShapes) {
    for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE}) {
      c.read = read;
      ExpectScanBoth(c);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(Scan, Results_MatchTheReferenceForEveryRule) {
  for (int gates = 0; gates < 32; ++gates) {
    for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE}) {
      for (int32_t write : {NL_WRITE_GIVEN, NL_WRITE_SCALED, NL_WRITE_FROZEN_L2}) {
        ScanCase c = {1, 45, 2, 10, 18, 16, read, write};
        c.decay = gates & 1;
        c.erase = gates & 2;
        c.momentum = gates & 4;
        c.states = gates & 8;
        c.resets = gates & 16;
        ExpectScanBoth(c);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// One token without saved states goes another way.
TEST_P(Scan, OneToken_MatchesTheReferenceAndMayBeInPlace) {
  const std::pair<int32_t, int32_t> sizes[] = {{1, 1},   {3, 17},  {16, 8},
                                               {17, 70}, {64, 64}, {5, 150}};
  for (int gates = 0; gates < 32; ++gates) {
    for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE}) {
      for (int32_t write : {NL_WRITE_GIVEN, NL_WRITE_SCALED, NL_WRITE_FROZEN_L2}) {
        const auto [dk, dv] = sizes[(gates + read + write) % std::size(sizes)];
        ScanCase c = {2, 1, 3, dk, dv, 16, read, write};
        c.decay = gates & 1;
        c.erase = gates & 2;
        c.momentum = gates & 4;
        c.states = gates & 8;
        c.resets = gates & 16;
        ScanTensors x(c), in_place(c);
        const ScanReference expected(x);
        const auto run = [](const nl_scan_arguments& a) {
          int64_t pieces, floats;
          EXPECT_OK(nl_scan_forward_pieces(&a, &pieces));
          EXPECT_OK(nl_scan_forward_workspace(&a, &floats));
          Buffer workspace(floats);
          EXPECT_OK(nl_scan_forward(&a, 0, pieces, workspace.data()));
        };
        auto a = x.Arguments();
        a.states = a.momenta = nullptr;
        run(a);
        ExpectScanForward(expected, x);
        if (HasFatalFailure()) return;
        if (!c.states) continue;
        a = in_place.Arguments();
        a.states = a.momenta = nullptr;
        a.s = in_place.s0.data();
        if (c.momentum) a.p = in_place.p0.data();
        run(a);
        nl_testing::ExpectSameBits(x.o, in_place.o, c.Name() + " o");
        nl_testing::ExpectSameBits(x.s, in_place.s0, c.Name() + " s");
        if (c.momentum) nl_testing::ExpectSameBits(x.p, in_place.p0, c.Name() + " p");
      }
    }
  }
}

TEST_P(Scan, FrozenWrites_MatchTheReferenceForLongChunks) {
  for (int32_t chunk : {33, 64, 100}) {
    ExpectScanBoth({1, 101, 1, 6, 19, chunk, NL_READ_BEFORE, NL_WRITE_FROZEN_L2});
    if (HasFatalFailure()) return;
  }
}

TEST_P(Scan, TotalDecay_ForgetsAndHasNoGradient) {
  ScanCase c = {1, 70, 1, 8, 8, 64};
  c.momentum = false;
  ScanTensors x(c);
  for (int64_t t : {10, 40, 64}) x.log_alpha[t] = -std::numeric_limits<float>::infinity();
  x.Forward();
  x.Backward();
  for (int64_t t : {10, 40, 64}) EXPECT_EQ(0.0f, x.d_log_alpha[t]);
  // Only the last reset's tokens are left in the final state.
  for (float& value : std::vector<std::reference_wrapper<float>>{x.u[0], x.k[5], x.s0[3]})
    value += 1;
  const Buffer s = x.s;
  x.Forward();
  nl_testing::ExpectClose(nl_testing::ToDoubles(s), x.s, nl_testing::kScanTolerance, "s");
}

TEST_P(Scan, ChunkLength_DoesNotChangeResults) {
  ScanCase c = {1, 90, 2, 12, 20, 64};
  ScanTensors first(c);
  first.Forward();
  first.Backward();
  for (int32_t chunk : {1, 7, 32, 256}) {
    c.chunk = chunk;
    ScanTensors other(c);
    other.Forward();
    other.Backward();
    nl_testing::ExpectClose(nl_testing::ToDoubles(first.o), other.o, nl_testing::kScanTolerance,
                            "o");
    nl_testing::ExpectClose(nl_testing::ToDoubles(first.dk), other.dk,
                            nl_testing::kScanGradientTolerance, "dk");
    nl_testing::ExpectClose(nl_testing::ToDoubles(first.d_log_alpha), other.d_log_alpha,
                            nl_testing::kScanGradientTolerance, "d_log_alpha");
  }
}

TEST_P(Scan, Nan_ReachesLaterTokensOnly) {
  const ScanCase c = {1, 40, 1, 8, 8, 32};
  ScanTensors x(c);
  const int64_t at = 13;
  x.u[at * c.dv + 2] = std::numeric_limits<float>::quiet_NaN();
  x.Forward();
  for (int64_t t = 0; t < c.time; ++t) {
    for (int64_t j = 0; j < c.dv; ++j) {
      EXPECT_EQ(t >= at && j == 2, std::isnan(x.o[t * c.dv + j]))
          << "token " << t << " column " << j;
    }
  }
  EXPECT_TRUE(std::isnan(x.s[2]));
}

NL_TEST_TARGETS(Scan);

}  // namespace
