// The scan's backward pass, after W of every chunk is there (scan.cu): the states' gradients from the last chunk to the first,
// with Y of each; then the tokens' gradients of every chunk by itself.
#include "kernels/scan/states-inl.cuh"
#include "kernels/scan/tokens-inl.cuh"

namespace nested_learning {

template <Rounding kRounding>
NL_DEVICE void ScanTokensBackward(const ScanArguments& a) {
  NL_DYNAMIC_SHARED(float, memory);
  ScanTokenBlock<kRounding> block(a, memory);
  block.Run();
}

}  // namespace nested_learning

using namespace nested_learning;

NL_KERNEL_IN_EACH_ROUNDING(nl_scan_states, kScanThreads, ScanArguments, ScanStates, false)
NL_KERNEL_IN_EACH_ROUNDING(nl_scan_states_momentum, kScanThreads, ScanArguments, ScanStates, true)
NL_KERNEL_IN_EACH_ROUNDING(nl_scan_tokens, kScanThreads, ScanArguments, ScanTokensBackward)
