// Causal depthwise convolution of width 4 over x [batch, time, channels]; README.md has the
// equations. float32. Forward writes y; backward writes dx and adds to dweight, dbias. The tokens
// before the first come from the state.
#include "core/dispatch.h"

#include <algorithm>
#include <cstddef>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/convolution/convolution.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "core/vector-inl.h"

#ifndef NESTED_LEARNING_CONVOLUTION_ROWS_
#define NESTED_LEARNING_CONVOLUTION_ROWS_

namespace nested_learning {

constexpr int64_t kWidth = 4;

// Token t of a sequence, -3 <= t; the state's, or zeros, before 0.
inline const float* InputRow(const nl_convolution_arguments& a, int64_t b, int64_t t,
                             const float* zeros) {
  if (t >= 0) return a.x + (b * a.time + t) * a.channels;
  return a.state == nullptr ? zeros : a.state + (b * (kWidth - 1) + t + kWidth - 1) * a.channels;
}

}  // namespace nested_learning

#endif  // NESTED_LEARNING_CONVOLUTION_ROWS_

HWY_BEFORE_NAMESPACE();
namespace nested_learning {
namespace HWY_NAMESPACE {
namespace {

// to = bias + w0 x0 + w1 x1 + w2 x2 + w3 x3 over the channels; w [4, channels].
HWY_INLINE void Combine(const float* w, size_t channels, const float* bias, const float* x0,
                        const float* x1, const float* x2, const float* x3, float* to) {
  const F32 d;
  const float* w1 = w + channels;
  const float* w2 = w1 + channels;
  const float* w3 = w2 + channels;
  size_t i = 0;
  for (; i + kLanes <= channels; i += kLanes) {
    VecF sum = bias == nullptr ? hn::Zero(d) : hn::LoadU(d, bias + i);
    sum = hn::MulAdd(hn::LoadU(d, w + i), hn::LoadU(d, x0 + i), sum);
    sum = hn::MulAdd(hn::LoadU(d, w1 + i), hn::LoadU(d, x1 + i), sum);
    sum = hn::MulAdd(hn::LoadU(d, w2 + i), hn::LoadU(d, x2 + i), sum);
    sum = hn::MulAdd(hn::LoadU(d, w3 + i), hn::LoadU(d, x3 + i), sum);
    hn::StoreU(sum, d, to + i);
  }
  if (i < channels) {
    const size_t n = channels - i;
    VecF sum = bias == nullptr ? hn::Zero(d) : LoadPart(bias + i, n);
    sum = hn::MulAdd(LoadPart(w + i, n), LoadPart(x0 + i, n), sum);
    sum = hn::MulAdd(LoadPart(w1 + i, n), LoadPart(x1 + i, n), sum);
    sum = hn::MulAdd(LoadPart(w2 + i, n), LoadPart(x2 + i, n), sum);
    sum = hn::MulAdd(LoadPart(w3 + i, n), LoadPart(x3 + i, n), sum);
    StorePart(sum, to + i, n);
  }
}

void ConvolutionForward(const nl_convolution_arguments& a, const float* w, const float* zeros,
                        int64_t b, int64_t begin, int64_t end) {
  for (int64_t t = begin; t < end; ++t) {
    Combine(w, a.channels, a.bias, InputRow(a, b, t - 3, zeros), InputRow(a, b, t - 2, zeros),
            InputRow(a, b, t - 1, zeros), InputRow(a, b, t, zeros),
            a.y + (b * a.time + t) * a.channels);
  }
}

void ConvolutionBackwardInput(const nl_convolution_arguments& a, const float* w, const float* zeros,
                              int64_t b, int64_t begin, int64_t end) {
  const auto row = [&](int64_t t) {
    return t < a.time ? a.dy + (b * a.time + t) * a.channels : zeros;
  };
  for (int64_t t = begin; t < end; ++t) {
    Combine(w, a.channels, nullptr, row(t + 3), row(t + 2), row(t + 1), row(t),
            a.dx + (b * a.time + t) * a.channels);
  }
}

// Tokens summed before their sum is added to the rest, so that errors do not grow with the length
// of the stream.
constexpr int64_t kSumTokens = 256;

// dweight and dbias of the kLanes channels from c on, or as many as load takes.
template <class TLoad>
HWY_INLINE void WeightGradient(const nl_convolution_arguments& a, int64_t c, size_t lanes,
                               TLoad load) {
  const F32 d;
  VecF total[5], sum[5];
  for (auto& v : total) v = hn::Zero(d);
  for (int64_t b = 0; b < a.batch; ++b) {
    VecF past[3];
    for (int64_t j = 0; j < 3; ++j) {
      const float* row = InputRow(a, b, j - 3, nullptr);
      past[j] = row == nullptr ? hn::Zero(d) : load(row + c);
    }
    for (int64_t start = 0; start < a.time; start += kSumTokens) {
      const int64_t end = std::min(a.time, start + kSumTokens);
      for (auto& v : sum) v = hn::Zero(d);
      for (int64_t t = start; t < end; ++t) {
        const int64_t at = (b * a.time + t) * a.channels + c;
        const VecF x = load(a.x + at);
        const VecF dy = load(a.dy + at);
        sum[0] = hn::MulAdd(dy, past[0], sum[0]);
        sum[1] = hn::MulAdd(dy, past[1], sum[1]);
        sum[2] = hn::MulAdd(dy, past[2], sum[2]);
        sum[3] = hn::MulAdd(dy, x, sum[3]);
        sum[4] = hn::Add(dy, sum[4]);
        past[0] = past[1];
        past[1] = past[2];
        past[2] = x;
      }
      for (size_t j = 0; j < 5; ++j) total[j] = hn::Add(total[j], sum[j]);
    }
  }
  HWY_ALIGN float out[5][kLanes];
  for (size_t j = 0; j < 5; ++j) hn::Store(total[j], d, out[j]);
  for (size_t i = 0; i < lanes; ++i) {
    if (a.dweight != nullptr) {
      for (size_t j = 0; j < 4; ++j) a.dweight[(c + i) * 4 + j] += out[j][i];
    }
    if (a.dbias != nullptr) a.dbias[c + i] += out[4][i];
  }
}

void ConvolutionBackwardWeight(const nl_convolution_arguments& a, int64_t begin, int64_t end) {
  const int64_t step = static_cast<int64_t>(kLanes);
  int64_t c = begin;
  for (; c + step <= end; c += step) WeightGradient(a, c, kLanes, WholeVector());
  if (c < end) {
    const size_t lanes = static_cast<size_t>(end - c);
    WeightGradient(a, c, lanes, PartOfVector{lanes});
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace nested_learning
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace nested_learning {

NL_TARGET_TABLE(ConvolutionForward);
NL_TARGET_TABLE(ConvolutionBackwardInput);
NL_TARGET_TABLE(ConvolutionBackwardWeight);

namespace {

const nl_convolution_arguments& Check(const nl_convolution_arguments* arguments) {
  const auto& a = RequireArguments(arguments, "nl_convolution_arguments");
  RequireNotNegative(a.batch, "batch");
  RequireNotNegative(a.time, "time");
  RequireNotNegative(a.channels, "channels");
  RequireElements("batch, time and channels", {a.batch, a.time, a.channels});
  return a;
}

int64_t TimeBlocks(const nl_convolution_arguments& a) {
  return (a.time + NL_CONVOLUTION_TIME - 1) / NL_CONVOLUTION_TIME;
}

// weight [channels, 4] to [4, channels], and a row of zeros after it.
void PrepareWorkspace(const nl_convolution_arguments& a, float* workspace) {
  for (int64_t j = 0; j < kWidth; ++j) {
    for (int64_t c = 0; c < a.channels; ++c) {
      workspace[j * a.channels + c] = a.weight[c * kWidth + j];
    }
  }
  std::fill(workspace + kWidth * a.channels, workspace + (kWidth + 1) * a.channels, 0.0f);
}

template <class TKernel>
void ForTimeBlocks(const nl_convolution_arguments& a, int64_t begin, int64_t end, float* workspace,
                   TKernel kernel) {
  RequireRange(begin, end, a.batch * TimeBlocks(a));
  if (begin == end || a.channels == 0) return;
  RequireNotNull(a.weight, "weight");
  RequireNotNull(workspace, "workspace");
  PrepareWorkspace(a, workspace);
  const float* zeros = workspace + kWidth * a.channels;
  for (int64_t piece = begin; piece < end; ++piece) {
    const int64_t start = piece % TimeBlocks(a) * NL_CONVOLUTION_TIME;
    (*kernel)(a, workspace, zeros, piece / TimeBlocks(a), start,
              std::min<int64_t>(a.time, start + NL_CONVOLUTION_TIME));
  }
}

}  // namespace
}  // namespace nested_learning

namespace nl = nested_learning;

extern "C" {

int32_t nl_convolution_workspace(const nl_convolution_arguments* arguments, int64_t* workspace) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments);
    nl::RequireNotNull(workspace, "workspace");
    *workspace = (nl::kWidth + 1) * a.channels;
  });
}

int32_t nl_convolution_forward(const nl_convolution_arguments* arguments, int64_t begin,
                               int64_t end, float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments);
    if (begin < end) {
      nl::RequireNotNull(a.x, "x");
      nl::RequireNotNull(a.y, "y");
    }
    nl::ForTimeBlocks(a, begin, end, workspace, NL_CALL(ConvolutionForward));
  });
}

int32_t nl_convolution_backward_input(const nl_convolution_arguments* arguments, int64_t begin,
                                      int64_t end, float* workspace) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments);
    if (begin < end) {
      nl::RequireNotNull(a.dy, "dy");
      nl::RequireNotNull(a.dx, "dx");
    }
    nl::ForTimeBlocks(a, begin, end, workspace, NL_CALL(ConvolutionBackwardInput));
  });
}

int32_t nl_convolution_backward_weight(const nl_convolution_arguments* arguments, int64_t begin,
                                       int64_t end) {
  return nl::Export([&] {
    const auto& a = nl::Check(arguments);
    nl::RequireRange(begin, end,
                     (a.channels + NL_CONVOLUTION_CHANNELS - 1) / NL_CONVOLUTION_CHANNELS);
    if (begin == end || a.batch == 0 || a.time == 0) return;
    nl::RequireNotNull(a.x, "x");
    nl::RequireNotNull(a.dy, "dy");
    NL_CALL(ConvolutionBackwardWeight)
    (a, begin * NL_CONVOLUTION_CHANNELS, std::min(a.channels, end * NL_CONVOLUTION_CHANNELS));
  });
}

}  // extern "C"

#endif  // HWY_ONCE
