// Gradients' moments and what is read from them.
#include "tests/testing.h"

using nl_testing::Buffer;

namespace {

nl_moment_arguments Settings() {
  nl_moment_arguments a = {};
  a.size = sizeof(a);
  a.gradient_scale = 0.5f;
  a.keep1 = 0.9f;
  a.write1 = 0.25f;
  a.keep2 = 0.99f;
  a.write2 = 0.125f;
  a.read_moment = 0.75f;
  a.read_gradient = 0.3f;
  a.learning_rate = 0.05f;
  a.decay = 0.01f;
  a.epsilon = 0.01f;
  return a;
}

class Moment : public nl_testing::KernelTest {};

TEST_P(Moment, EveryKind_MatchesTheEquations) {
  for (int given = 0; given < 16; ++given) {
    const bool has_w = given & 1, has_m = given & 2, has_v = given & 4, has_start = given & 8;
    if (!has_w && (has_start || !(has_m || has_v))) continue;
    for (int64_t count : nl_testing::Lengths()) {
      Buffer w = Buffer::Uniform(count, 1, -1, 1, 1), m = Buffer::Uniform(count, 2, -1, 1, 2),
             v = Buffer::Uniform(count, 3, 0, 1, 3), g = Buffer::Uniform(count, 4);
      const Buffer start = Buffer::Uniform(count, 5, -1, 1, 1);
      const Buffer old_w = w, old_m = m, old_v = v, old_g = g;
      nl_moment_arguments a = Settings();
      a.w = has_w ? w.data() : nullptr;
      a.m = has_m ? m.data() : nullptr;
      a.v = has_v ? v.data() : nullptr;
      a.g = g.data();
      a.start = has_start ? start.data() : nullptr;
      a.clear_gradient = given % 3 == 0;
      double sums[2] = {-1, -1}, more[2] = {-1, -1};
      a.sums = has_w ? sums : nullptr;
      EXPECT_OK(nl_moment_commit(&a, count / 2, count));
      a.sums = has_w ? more : nullptr;
      EXPECT_OK(nl_moment_commit(&a, 0, count / 2));
      double change = 0, value = 0;
      for (int64_t i = 0; i < count; ++i) {
        const double gradient = static_cast<double>(a.gradient_scale) * old_g[i];
        const double first =
            has_m ? static_cast<double>(a.keep1) * old_m[i] + a.write1 * gradient : 0;
        const double second =
            has_v ? static_cast<double>(a.keep2) * old_v[i] + a.write2 * gradient * gradient : 0;
        const double read = a.read_moment * first + a.read_gradient * gradient;
        const double from = has_start ? start[i] : old_w[i];
        const double weight =
            from -
            (a.decay * from + a.learning_rate * read / (has_v ? std::sqrt(second) + a.epsilon : 1));
        nl_testing::ExpectNear(has_w ? weight : old_w[i], w[i], 1e-6, "w");
        nl_testing::ExpectNear(has_m ? first : old_m[i], m[i], 2e-7, "m");
        nl_testing::ExpectNear(has_v ? second : old_v[i], v[i], 2e-7, "v");
        EXPECT_EQ(a.clear_gradient ? 0 : old_g[i], g[i]);
        const double difference = static_cast<double>(w[i]) - old_w[i];
        change += difference * difference;
        value += static_cast<double>(old_w[i]) * old_w[i];
      }
      if (has_w) {
        EXPECT_NEAR(change, sums[0] + more[0], 1e-12 * change);
        EXPECT_NEAR(value, sums[1] + more[1], 1e-12 * value);
      }
      for (const Buffer* buffer : {&w, &m, &v, &g}) buffer->ExpectGuardsUntouched();
      if (HasFailure()) return;
    }
  }
}

TEST_P(Moment, MissingArguments_AreRefused) {
  Buffer w(4), g(4);
  double sums[2];
  nl_moment_arguments a = Settings();
  a.w = w.data();
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_moment_commit(&a, 0, 4));
  EXPECT_STREQ("g is null", nl_last_error());
  a.g = g.data();
  a.w = nullptr;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_moment_commit(&a, 0, 4));
  EXPECT_STREQ("v is null", nl_last_error());
  a.sums = sums;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_moment_commit(&a, 0, 0));
  EXPECT_STREQ("w is null", nl_last_error());
}

NL_TEST_TARGETS(Moment);

}  // namespace
