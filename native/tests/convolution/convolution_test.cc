#include "tests/testing.h"

using nl_testing::Buffer;

namespace {

class Convolution : public nl_testing::KernelTest {
 protected:
  // x at token t of sequence b, from the state before the first.
  static double Input(const Buffer& x, const Buffer* state, int64_t time, int64_t channels,
                      int64_t b, int64_t t, int64_t c) {
    if (t >= 0) return x[(b * time + t) * channels + c];
    return state == nullptr ? 0 : (*state)[(b * 3 + t + 3) * channels + c];
  }
};

TEST_P(Convolution, ForwardAndBackward_MatchTheReference) {
  for (int64_t time : {1, 2, 3, 4, 5, 63, 64, 65, 130}) {
    for (int64_t channels : {1, 4, 15, 16, 17, 64, 65, 100}) {
      for (bool carried : {false, true}) {
        const int64_t batch = 2, count = batch * time * channels;
        const Buffer x = Buffer::Uniform(count, 1, -1, 1, 1);
        const Buffer weight = Buffer::Uniform(channels * 4, 2, -1, 1, 2);
        const Buffer bias = Buffer::Uniform(channels, 3, -1, 1, 3);
        const Buffer before = Buffer::Uniform(batch * 3 * channels, 4, -1, 1, 1);
        const Buffer dy = Buffer::Uniform(count, 5, -1, 1, 1);
        const Buffer* state = carried ? &before : nullptr;
        Buffer y(count, 1), dx(count, 2);
        Buffer dweight = Buffer::Uniform(channels * 4, 6), dbias = Buffer::Uniform(channels, 7);
        const Buffer dweight_before = dweight, dbias_before = dbias;
        nl_convolution_arguments a = {};
        a.size = sizeof(a);
        a.batch = batch;
        a.time = time;
        a.channels = channels;
        a.x = x.data();
        a.weight = weight.data();
        a.bias = carried ? bias.data() : nullptr;
        a.state = carried ? before.data() : nullptr;
        a.y = y.data();
        a.dy = dy.data();
        a.dx = dx.data();
        a.dweight = dweight.data();
        a.dbias = dbias.data();
        int64_t floats = 0;
        EXPECT_OK(nl_convolution_workspace(&a, &floats));
        Buffer workspace(floats, 1);
        const int64_t blocks = batch * ((time + NL_CONVOLUTION_TIME - 1) / NL_CONVOLUTION_TIME);
        for (int64_t piece = blocks; piece-- > 0;) {
          EXPECT_OK(nl_convolution_forward(&a, piece, piece + 1, workspace.data()));
        }
        EXPECT_OK(nl_convolution_backward_input(&a, 0, blocks, workspace.data()));
        const int64_t channel_blocks =
            (channels + NL_CONVOLUTION_CHANNELS - 1) / NL_CONVOLUTION_CHANNELS;
        for (int64_t piece = channel_blocks; piece-- > 0;) {
          EXPECT_OK(nl_convolution_backward_weight(&a, piece, piece + 1));
        }
        const std::string where =
            "time " + std::to_string(time) + " channels " + std::to_string(channels);
        for (int64_t c = 0; c < channels; ++c) {
          double sums[5] = {};
          for (int64_t b = 0; b < batch; ++b) {
            for (int64_t t = 0; t < time; ++t) {
              const int64_t at = (b * time + t) * channels + c;
              double forward = carried ? bias[c] : 0, backward = 0;
              for (int64_t j = 0; j < 4; ++j) {
                const double past = Input(x, state, time, channels, b, t - 3 + j, c);
                forward += weight[c * 4 + j] * past;
                sums[j] += dy[at] * past;
                const int64_t later = t + 3 - j;
                if (later < time) {
                  backward += weight[c * 4 + j] *
                              static_cast<double>(dy[(b * time + later) * channels + c]);
                }
              }
              sums[4] += dy[at];
              nl_testing::ExpectNear(forward, y[at], 1e-6, where + " y");
              nl_testing::ExpectNear(backward, dx[at], 1e-6, where + " dx");
            }
          }
          const double tolerance =
              nl_testing::SumTolerance(batch * time, static_cast<double>(batch * time)) + 2e-7;
          for (int64_t j = 0; j < 4; ++j) {
            nl_testing::ExpectNear(dweight_before[c * 4 + j] + sums[j], dweight[c * 4 + j],
                                   tolerance, where + " dweight");
          }
          nl_testing::ExpectNear(dbias_before[c] + sums[4], dbias[c], tolerance, where + " dbias");
          if (HasFailure()) return;
        }
        y.ExpectGuardsUntouched();
        dx.ExpectGuardsUntouched();
        dweight.ExpectGuardsUntouched();
        dbias.ExpectGuardsUntouched();
        workspace.ExpectGuardsUntouched();
      }
    }
  }
}

NL_TEST_TARGETS(Convolution);

}  // namespace
