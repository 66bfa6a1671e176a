// Room for signal frames with tiles. From a thread's first tile instruction on, Linux reserves 8 KiB more in each signal frame
// of that thread, whether tiles are in use or not. A handler's alternate stack that was made without them in mind may then be
// too small: .NET 10's is 12 KiB, of which such a frame takes nearly all.
#ifndef NESTED_LEARNING_KERNELS_GEMM_SIGNAL_STACK_H_
#define NESTED_LEARNING_KERNELS_GEMM_SIGNAL_STACK_H_

#include <cstddef>

namespace nested_learning {

// The bytes of the largest signal frame that this system may write, tiles among them.
size_t SignalFrameBytes();

// Where the calling thread has an alternate signal stack with less than two frames of frame_bytes and room for handlers, a larger
// one takes its place until the thread ends, when the former comes back. The first call of a thread decides. A thread without an alternate
// stack is left without. Throws where there is no memory for it.
void RequireSignalStack(size_t frame_bytes);

inline void RequireSignalStack() { RequireSignalStack(SignalFrameBytes()); }

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_GEMM_SIGNAL_STACK_H_
