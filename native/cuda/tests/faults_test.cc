// Every kernel with every fault that the emulator can plant in it.
#include "cuda/tests/faults.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "cuda/tests/testing.h"

namespace nested_learning {
namespace {

using emulator::Order;

// What a check passes without a fault.
emulator::Trace TraceOf(const FaultCase& c, Order order) {
  emulator::Trace trace;
  emulator::SetOrder(order);
  emulator::Record(&trace);
  c.check();
  emulator::Record(nullptr);
  return trace;
}

bool IsSeen(const FaultCase& c, Order order, const emulator::Site& site) {
  emulator::SetOrder(order);
  emulator::Plant(&site);
  const bool seen = Fails(c.check) || emulator::Broken();
  emulator::Plant(nullptr);
  return seen;
}

class CudaFaults : public ::testing::TestWithParam<FaultCase> {};

TEST_P(CudaFaults, AreSeen) {
  // Whatever a missing barrier lets happen in either order, one of these two has.
  const FaultCase& c = GetParam();
  TraceOf(c, Order::kReverse);
  for (const emulator::Site& site : TraceOf(c, Order::kForward).sites) {
    EXPECT_TRUE(IsSeen(c, Order::kForward, site) || IsSeen(c, Order::kReverse, site))
        << site.kernel << ": " << NameOf(site.fault) << ", " << site.place.file << ":"
        << site.place.line;
  }
}

INSTANTIATE_TEST_SUITE_P(Planted, CudaFaults, ::testing::ValuesIn(FaultCases()),
                         [](const ::testing::TestParamInfo<FaultCase>& info) {
                           return info.param.name;
                         });

TEST(CudaFaultCases, LaunchEveryKernelAndPassEverySite) {
  emulator::Trace passed;
  for (const FaultCase& c : FaultCases()) {
    const emulator::Trace trace = TraceOf(c, Order::kForward);
    passed.sites.insert(passed.sites.end(), trace.sites.begin(), trace.sites.end());
    passed.kernels.insert(trace.kernels.begin(), trace.kernels.end());
  }
  for (const auto& [name, kernel] : emulator::Kernels()) {
    EXPECT_TRUE(passed.kernels.count(name) || name.starts_with("nl_test_"))
        << "no fault case launches " << name;
  }

  const char* const calls[] = {
      "__syncthreads(", "__syncwarp(", "__shfl_",      "CopyAsyncWait<",
      "MmaTf32(",       "MmaBf16(",    "LoadMatrix4(", "LoadMatrix4Transposed("};
  // From native/ on: a compiler's cache makes paths relative to where it builds.
  const auto within = [](const std::filesystem::path& path) {
    const std::string name = path.generic_string();
    return name.substr(name.rfind("native/"));
  };
  int found = 0;
  for (const char* folder : {"cuda", "kernels"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             std::filesystem::path(NL_NATIVE_FOLDER) / folder)) {
      const auto& path = entry.path();
      if (path.extension() != ".cu" && path.extension() != ".cuh") continue;
      std::ifstream source(path);
      std::string text;
      for (int line = 1; std::getline(source, text); line++) {
        const std::string_view code = std::string_view(text).substr(0, text.find("//"));
        if (std::none_of(std::begin(calls), std::end(calls),
                         [&](const char* call) { return code.find(call) != code.npos; }))
          continue;
        found++;
        const bool is_passed =
            std::any_of(passed.sites.begin(), passed.sites.end(), [&](const emulator::Site& site) {
              return site.place.line == line && within(site.place.file) == within(path);
            });
        EXPECT_TRUE(is_passed) << "no fault case passes " << path << ":" << line << text;
      }
    }
  }
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace nested_learning
