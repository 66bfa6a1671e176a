// How the scan may be called: in pieces, in parts of a sequence, in place, with arguments left out.
#include "tests/scan/scan_testing.h"

using nl_testing::Buffer;
using nl_testing::ScanCase;
using nl_testing::ScanTensors;

namespace {

class ScanCalls : public nl_testing::KernelTest {};

TEST_P(ScanCalls, FrozenSequenceCutAnywhere_GivesTheSameResults) {
  // Backward too: gradients of the second part's memory arrive at the first part's results.
  for (int32_t read : {NL_READ_AFTER, NL_READ_BEFORE, NL_READ_CHUNK_START}) {
    for (int32_t cut : {1, 7, 8, 13, 23}) {
      for (bool erase : {false, true}) {
        const ScanCase c = {1, 24, 2, 7, 19, 8, read, NL_WRITE_FROZEN_L2, true, erase, erase};
        const std::string name = c.Name() + " cut " + std::to_string(cut);
        ScanTensors whole(c), x(c);
        whole.Forward();
        whole.Backward();
        Buffer s(c.state()), p(c.state()), start(c.state());
        Buffer d_s(c.state()), d_p(c.state()), d_start(c.state());
        Buffer states(c.state() * (c.chunks() + 1)), momenta(c.state() * (c.chunks() + 1));
        const int64_t keys = cut * c.heads * c.dk, values = cut * c.heads * c.dv;
        const int64_t gates = cut * c.heads;
        const bool inside = cut % c.chunk != 0;
        auto first = x.Arguments(), second = first;
        first.time = cut;
        first.s = s.data();
        if (c.momentum) first.p = p.data();
        first.next_chunk_start = start.data();
        second.time = c.time - cut;
        second.phase = cut % c.chunk;
        second.q += keys;
        second.k += keys;
        second.u += values;
        second.o += values;
        second.log_alpha += gates;
        second.theta += gates;
        if (c.erase) second.erase += gates;
        second.s0 = s.data();
        second.chunk_start = inside ? start.data() : nullptr;
        second.states = states.data();
        auto to_first = x.Gradients(), to_second = to_first;
        to_second.d_o += values;
        to_second.dq += keys;
        to_second.dk += keys;
        to_second.du += values;
        to_second.d_log_alpha += gates;
        to_second.d_theta += gates;
        if (c.erase) to_second.d_erase += gates;
        to_second.ds0 = d_s.data();
        to_second.d_chunk_start = inside ? d_start.data() : nullptr;
        to_first.d_s = d_s.data();
        to_first.d_next_chunk_start = inside ? d_start.data() : nullptr;
        if (c.momentum) {
          second.mu += gates;
          second.p0 = p.data();
          second.momenta = momenta.data();
          to_second.d_mu += gates;
          to_second.dp0 = d_p.data();
          to_first.d_p = d_p.data();
        }
        for (auto* a : {&first, &second}) {
          int64_t pieces, floats;
          EXPECT_OK(nl_scan_forward_pieces(a, &pieces));
          EXPECT_OK(nl_scan_forward_workspace(a, &floats));
          Buffer workspace(floats);
          EXPECT_OK(nl_scan_forward(a, 0, pieces, workspace.data()));
        }
        const auto backward = [&](const nl_scan_arguments& a, const nl_scan_gradients& g) {
          int64_t floats;
          EXPECT_OK(nl_scan_backward_workspace(&a, &floats));
          Buffer workspace(floats);
          EXPECT_OK(nl_scan_backward(&a, &g, 0, c.heads, workspace.data()));
        };
        backward(second, to_second);
        backward(first, to_first);
        const auto close = [&](const Buffer& expected, const Buffer& actual, double tolerance) {
          nl_testing::ExpectClose(nl_testing::ToDoubles(expected), actual, tolerance, name);
        };
        close(whole.o, x.o, nl_testing::kScanTolerance);
        close(whole.s, x.s, nl_testing::kScanTolerance);
        const double tolerance = nl_testing::kScanGradientTolerance;
        close(whole.dq, x.dq, tolerance);
        close(whole.dk, x.dk, tolerance);
        close(whole.du, x.du, tolerance);
        close(whole.d_log_alpha, x.d_log_alpha, tolerance);
        close(whole.d_theta, x.d_theta, tolerance);
        if (c.erase) close(whole.d_erase, x.d_erase, tolerance);
        if (c.momentum) close(whole.d_mu, x.d_mu, tolerance);
        close(whole.ds0, x.ds0, tolerance);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(ScanCalls, Pieces_DoNotChangeBits) {
  for (const ScanCase& c : {ScanCase{2, 37, 3, 12, 20, 16}, ScanCase{1, 37, 1, 12, 150, 16},
                            ScanCase{2, 37, 5, 12, 70, 16}}) {
    ScanTensors whole(c), cut(c);
    whole.Forward();
    whole.Backward();
    const auto a = cut.Arguments();
    const auto g = cut.Gradients();
    int64_t pieces, forward, backward;
    EXPECT_OK(nl_scan_forward_pieces(&a, &pieces));
    EXPECT_OK(nl_scan_forward_workspace(&a, &forward));
    EXPECT_OK(nl_scan_backward_workspace(&a, &backward));
    for (int64_t piece = pieces; piece-- > 0;) {
      Buffer workspace(forward);
      EXPECT_OK(nl_scan_forward(&a, piece, piece + 1, workspace.data()));
    }
    for (int64_t piece = int64_t{c.batch} * c.heads; piece-- > 0;) {
      Buffer workspace(backward);
      EXPECT_OK(nl_scan_backward(&a, &g, piece, piece + 1, workspace.data()));
    }
    nl_testing::ExpectSameBits(whole.o, cut.o, "o");
    nl_testing::ExpectSameBits(whole.s, cut.s, "s");
    nl_testing::ExpectSameBits(whole.p, cut.p, "p");
    nl_testing::ExpectSameBits(whole.states, cut.states, "states");
    nl_testing::ExpectSameBits(whole.dq, cut.dq, "dq");
    nl_testing::ExpectSameBits(whole.dk, cut.dk, "dk");
    nl_testing::ExpectSameBits(whole.d_log_alpha, cut.d_log_alpha, "d_log_alpha");
    nl_testing::ExpectSameBits(whole.ds0, cut.ds0, "ds0");
  }
}

TEST_P(ScanCalls, States_AreThoseAtTheChunksStarts) {
  const ScanCase c = {1, 21, 1, 6, 9, 8};
  ScanTensors x(c);
  x.Forward();
  const int64_t size = c.state();
  for (int64_t i = 0; i < size; ++i) EXPECT_EQ(x.s0[i], x.states[i]);
  for (int32_t chunk = 1; chunk < 3; ++chunk) {
    ScanCase head = c;
    head.time = 8 * chunk;
    ScanTensors part(head);
    part.Forward();
    for (int64_t i = 0; i < size; ++i) {
      EXPECT_EQ(part.s[i], x.states[chunk * size + i]);
      EXPECT_EQ(part.p[i], x.momenta[chunk * size + i]);
    }
  }
}

TEST_P(ScanCalls, FinalState_MayReplaceTheInitialOne) {
  const ScanCase c = {2, 19, 2, 7, 21, 8};
  ScanTensors apart(c), in_place(c);
  apart.Forward();
  auto a = in_place.Arguments();
  a.s = in_place.s0.data();
  a.p = in_place.p0.data();
  int64_t pieces, floats;
  EXPECT_OK(nl_scan_forward_pieces(&a, &pieces));
  EXPECT_OK(nl_scan_forward_workspace(&a, &floats));
  Buffer workspace(floats);
  EXPECT_OK(nl_scan_forward(&a, 0, pieces, workspace.data()));
  nl_testing::ExpectSameBits(apart.o, in_place.o, "o");
  nl_testing::ExpectSameBits(apart.s, in_place.s0, "s");
  nl_testing::ExpectSameBits(apart.p, in_place.p0, "p");
}

TEST_P(ScanCalls, NoTokens_PassStatesThrough) {
  ScanCase c = {1, 0, 2, 3, 5, 8};
  ScanTensors x(c);
  x.Forward();
  x.Backward();
  for (int64_t i = 0; i < c.state(); ++i) {
    EXPECT_EQ(x.s0[i], x.s[i]);
    EXPECT_EQ(x.p0[i], x.p[i]);
    EXPECT_EQ(x.d_s[i], x.ds0[i]);
    EXPECT_EQ(x.d_p[i], x.dp0[i]);
  }
}

TEST_P(ScanCalls, MissingUpstreamGradients_AreZero) {
  const ScanCase c = {1, 40, 2, 6, 10, 16};
  ScanTensors missing(c), zero(c);
  missing.Forward();
  zero.Forward();
  for (auto* buffer : {&zero.d_o, &zero.d_s, &zero.d_p})
    std::fill_n(buffer->data(), buffer->count(), 0.0f);
  // Each of the three given alone.
  for (int given = 0; given < 3; ++given) {
    auto g = missing.Gradients();
    if (given != 0) g.d_o = nullptr;
    if (given != 1) g.d_s = nullptr;
    if (given != 2) g.d_p = nullptr;
    ScanTensors filled = zero;
    if (given == 0) filled.d_o = missing.d_o;
    if (given == 1) filled.d_s = missing.d_s;
    if (given == 2) filled.d_p = missing.d_p;
    const auto a = missing.Arguments();
    int64_t floats;
    EXPECT_OK(nl_scan_backward_workspace(&a, &floats));
    Buffer workspace(floats);
    EXPECT_OK(nl_scan_backward(&a, &g, 0, 2, workspace.data()));
    filled.Backward();
    const double tolerance = nl_testing::kScanGradientTolerance;
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.dq), missing.dq, tolerance, "dq");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.dk), missing.dk, tolerance, "dk");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.du), missing.du, tolerance, "du");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.d_mu), missing.d_mu, tolerance, "d_mu");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.ds0), missing.ds0, tolerance, "ds0");
    nl_testing::ExpectClose(nl_testing::ToDoubles(filled.dp0), missing.dp0, tolerance, "dp0");
  }
}

TEST_P(ScanCalls, UnwantedGradients_ChangeNothingElse) {
  const ScanCase c = {1, 40, 1, 6, 10, 16};
  ScanTensors all(c), some(c);
  all.Forward();
  all.Backward();
  some.Forward();
  const auto a = some.Arguments();
  auto g = some.Gradients();
  g.d_log_alpha = g.d_mu = g.dq = g.ds0 = nullptr;
  int64_t floats;
  EXPECT_OK(nl_scan_backward_workspace(&a, &floats));
  Buffer workspace(floats);
  EXPECT_OK(nl_scan_backward(&a, &g, 0, 1, workspace.data()));
  nl_testing::ExpectSameBits(all.dk, some.dk, "dk");
  nl_testing::ExpectSameBits(all.du, some.du, "du");
  nl_testing::ExpectSameBits(all.d_erase, some.d_erase, "d_erase");
  nl_testing::ExpectSameBits(all.dp0, some.dp0, "dp0");
  for (const auto* buffer : {&some.d_log_alpha, &some.d_mu, &some.dq, &some.ds0}) {
    for (int64_t i = 0; i < buffer->count(); ++i) EXPECT_TRUE(std::isnan((*buffer)[i]));
  }
}

TEST_P(ScanCalls, BadArguments_AreRefused) {
  ScanTensors x({1, 4, 1, 3, 3, 4});
  Buffer workspace(1);
  auto a = x.Arguments();
  a.chunk = 257;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("chunk is 257, expected 1 to 256", nl_last_error());
  a = x.Arguments();
  a.write = NL_WRITE_SCALED;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_forward(&a, 0, 1, workspace.data()));
  EXPECT_STREQ("theta is null", nl_last_error());
  a = x.Arguments();
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_forward(&a, 0, 2, workspace.data()));
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_forward(&a, 0, 1, nullptr));
  EXPECT_STREQ("workspace is null", nl_last_error());
  auto g = x.Gradients();
  a.states = nullptr;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scan_backward(&a, &g, 0, 1, workspace.data()));
  EXPECT_STREQ("states is null", nl_last_error());
  for (int64_t i = 0; i < x.o.count(); ++i) EXPECT_TRUE(std::isnan(x.o[i]));
}

NL_TEST_TARGETS(ScanCalls);

}  // namespace
