#include "cuda/tests/testing.h"
#include "kernels/elementwise/elementwise.cuh"

namespace nested_learning {
namespace {

class CudaElementwise : public InEveryOrder {};
NL_IN_EVERY_ORDER(CudaElementwise);

TEST_P(CudaElementwise, Fill_WritesEveryElement) {
  for (size_t count : {0, 1, 255, 256, 257, 5000}) {
    DeviceFloats x(count);
    LaunchKernel("nl_fill", 3, 256, 0, FillArguments{x.data(), static_cast<int64_t>(count), 2, 0});
    EXPECT_EQ(x.values(), std::vector<float>(count, 2));
  }
}

}  // namespace
}  // namespace nested_learning
