#include "testing.h"

#include <cstdlib>

extern "C" int header_is_c(void);

TEST(Core, Header_IsValidC) { EXPECT_TRUE(header_is_c()); }

TEST(Core, Targets_TheBaselineIsAlwaysThere) {
  ASSERT_GE(nl_target_count(), 1);
  EXPECT_EQ(1, nl_target_supported(0));
  EXPECT_EQ(nullptr, nl_target_name(-1));
  EXPECT_EQ(nullptr, nl_target_name(nl_target_count()));
  EXPECT_EQ(0, nl_target_supported(nl_target_count()));
}

TEST(Core, ChosenTarget_IsTheOneInUse) {
  for (int32_t target : nl_testing::Targets()) {
    ASSERT_EQ(NL_OK, nl_target_choose(target));
    int32_t current = -1;
    ASSERT_EQ(NL_OK, nl_target_current(&current));
    EXPECT_EQ(target, current);
  }
}

TEST(Core, Errors_NameArgumentValueAndAllowed) {
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_target_choose(99));
  EXPECT_EQ(std::string("target is 99, expected 0 to ") + std::to_string(nl_target_count() - 1),
            nl_last_error());
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scale(nullptr, 0, 1));
  EXPECT_STREQ("nl_elementwise_arguments is null", nl_last_error());
  nl_elementwise_arguments arguments = {};
  arguments.size = 8;
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scale(&arguments, 0, 1));
  EXPECT_EQ(
      "nl_elementwise_arguments.size is 8, expected at least " + std::to_string(sizeof(arguments)),
      std::string(nl_last_error()));
  arguments.size = sizeof(arguments);
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scale(&arguments, 2, 1));
  EXPECT_EQ(NL_INVALID_ARGUMENT, nl_scale(&arguments, 0, 1));
  EXPECT_STREQ("x is null", nl_last_error());
}

TEST(Core, StructSize_IsZeroForAnUnknownName) {
  EXPECT_EQ(0u, nl_struct_size("nl_no_such_arguments"));
  EXPECT_EQ(0u, nl_struct_size(nullptr));
}

// Alone in a process with NESTED_LEARNING_TARGET=NoSuchTarget; elsewhere the variable is not set and there is nothing to refuse.
TEST(Environment, UnknownTarget_IsRefusedByEveryCall) {
  const char* wanted = std::getenv("NESTED_LEARNING_TARGET");
  if (wanted == nullptr || std::string(wanted) != "NoSuchTarget") return;
  int32_t target = -1;
  EXPECT_EQ(NL_UNSUPPORTED_TARGET, nl_target_current(&target));
  EXPECT_EQ(
      0u,
      std::string(nl_last_error()).find("NESTED_LEARNING_TARGET is NoSuchTarget, expected one of "))
      << nl_last_error();
  float x = 1;
  nl_elementwise_arguments arguments = {sizeof(arguments), 0, 2.0f, 0, &x, nullptr, &x};
  EXPECT_EQ(NL_UNSUPPORTED_TARGET, nl_scale(&arguments, 0, 1));
  EXPECT_EQ(1.0f, x);
}
