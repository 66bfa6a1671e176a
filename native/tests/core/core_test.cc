#include "tests/testing.h"

#include <cstdlib>

extern "C" int header_is_c(void);

TEST(Core, Header_IsValidC) { EXPECT_TRUE(header_is_c()); }

TEST(Core, Targets_AlwaysHaveTheBaseline) {
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

// Each alone in a process with NESTED_LEARNING_TARGET set; elsewhere there is nothing to see.
TEST(Environment, NamedTarget_IsTakenOrRefusedByEveryCall) {
  const char* wanted = std::getenv("NESTED_LEARNING_TARGET");
  if (wanted == nullptr) return;
  std::string known, reason;
  bool is_there = false;
#if defined(__x86_64__) || defined(_M_X64)
  const std::string name = wanted;
  if (name == "SCALAR" || name == "AVX2" || name == "AVX3") {
    reason = ", which this library was built without";
  }
#endif
  for (int32_t i = 0; i < nl_target_count(); ++i) {
    const bool is_wanted = std::string(wanted) == nl_target_name(i);
    if (nl_target_supported(i)) {
      is_there |= is_wanted;
      known += (known.empty() ? "" : ", ") + std::string(nl_target_name(i));
    } else if (is_wanted) {
      reason = ", which this machine lacks";
    }
  }

  int32_t target = -1;
  float x = 1;
  nl_elementwise_arguments arguments = {sizeof(arguments), 0, 2.0f, 0, &x, nullptr, &x};
  if (is_there) {
    EXPECT_OK(nl_target_current(&target));
    EXPECT_STREQ(wanted, nl_target_name(target));
    EXPECT_OK(nl_scale(&arguments, 0, 1));
    EXPECT_EQ(2.0f, x);
    return;
  }
  EXPECT_EQ(NL_UNSUPPORTED_TARGET, nl_target_current(&target));
  EXPECT_EQ(
      std::string("NESTED_LEARNING_TARGET is ") + wanted + reason + ", expected one of " + known,
      nl_last_error());
  EXPECT_EQ(NL_UNSUPPORTED_TARGET, nl_scale(&arguments, 0, 1));
  EXPECT_EQ(1.0f, x);
}
