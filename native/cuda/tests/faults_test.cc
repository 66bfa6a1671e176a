// Every kernel with every fault that the emulator can plant in it.
#include "cuda/tests/faults.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/tests/testing.h"

namespace nested_learning {
namespace {

using emulator::Order;

// What a case passes without a fault.
emulator::Trace TraceOf(const FaultCase& c, Order order) {
  emulator::Trace trace;
  emulator::SetOrder(order);
  emulator::Record(&trace);
  for (const auto& check : c.checks) check();
  emulator::Record(nullptr);
  return trace;
}

bool IsSeen(const FaultCase& c, Order order, const emulator::Site& site) {
  emulator::SetOrder(order);
  emulator::Plant(&site);
  const bool seen = std::any_of(c.checks.begin(), c.checks.end(), [](const auto& check) {
    return Fails(check) || emulator::Broken();
  });
  emulator::Plant(nullptr);
  return seen;
}

// From native/ on: a compiler's cache makes paths relative to where it builds.
std::string WithinNative(const std::filesystem::path& path) {
  const std::string name = path.generic_string();
  return name.substr(name.rfind("native/") + 7);
}

// The lines of a source, of which the first is 1.
std::vector<std::string> LinesOf(const std::string& within_native) {
  std::ifstream source(std::filesystem::path(NL_NATIVE_FOLDER) / within_native);
  std::vector<std::string> lines(1);
  for (std::string line; std::getline(source, line);) lines.push_back(line);
  lines.emplace_back();
  return lines;
}

class CudaFaults : public ::testing::TestWithParam<FaultCase> {};

TEST_P(CudaFaults, AreSeen) {
  // Whatever a missing barrier lets happen in either order, one of these two has.
  const FaultCase& c = GetParam();
  TraceOf(c, Order::kReverse);
  std::vector<int> named(c.unseen.size());
  for (const emulator::Site& site : TraceOf(c, Order::kForward).sites) {
    const auto lines = LinesOf(WithinNative(site.place.file));
    bool is_named = false;
    for (size_t i = 0; i < c.unseen.size(); i++) {
      const bool here =
          c.unseen[i].fault == site.fault &&
          (lines[site.place.line] + lines[site.place.line + 1]).find(c.unseen[i].code) !=
              std::string::npos;
      named[i] += here;
      is_named |= here;
    }
    const bool is_seen = IsSeen(c, Order::kForward, site) || IsSeen(c, Order::kReverse, site);
    EXPECT_NE(is_seen, is_named) << site.kernel << ": " << NameOf(site.fault) << ", "
                                 << site.place.file << ":" << site.place.line;
  }
  for (size_t i = 0; i < named.size(); i++)
    EXPECT_GT(named[i], 0) << "no site is at " << c.unseen[i].code;
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
  int found = 0;
  for (const char* folder : {"cuda", "kernels"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             std::filesystem::path(NL_NATIVE_FOLDER) / folder)) {
      const auto& path = entry.path();
      if (path.extension() != ".cu" && path.extension() != ".cuh") continue;
      const std::string name = WithinNative(path);
      const auto lines = LinesOf(name);
      for (size_t line = 1; line < lines.size(); line++) {
        const std::string_view code =
            std::string_view(lines[line]).substr(0, lines[line].find("//"));
        if (std::none_of(std::begin(calls), std::end(calls),
                         [&](const char* call) { return code.find(call) != code.npos; }))
          continue;
        found++;
        const bool is_passed =
            std::any_of(passed.sites.begin(), passed.sites.end(), [&](const emulator::Site& site) {
              return site.place.line == static_cast<int>(line) &&
                     WithinNative(site.place.file) == name;
            });
        EXPECT_TRUE(is_passed) << "no fault case passes " << name << ":" << line << lines[line];
      }
    }
  }
  EXPECT_GT(found, 0);
}

}  // namespace
}  // namespace nested_learning
