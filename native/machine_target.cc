// Prints the best target of this machine, for CMake's NESTED_LEARNING_TARGETS=machine: a program by itself.
#include <cstdio>

#include "core/dispatch.cc"
#include "core/status.cc"

int main() {
  int32_t best = 0;
  for (int32_t target = 0; target < nl_target_count(); ++target) {
    if (nl_target_supported(target)) best = target;
  }
  std::puts(nl_target_name(best));
}
