// The numbers of Philox4x32-10, whose random bits round moments to bfloat16, on the processor and on a GPU.
#ifndef NESTED_LEARNING_KERNELS_ADAM_PHILOX_H_
#define NESTED_LEARNING_KERNELS_ADAM_PHILOX_H_

#include <cstdint>

namespace nested_learning {

constexpr uint32_t kPhiloxMultiply0 = 0xD2511F53u, kPhiloxMultiply1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxWeyl0 = 0x9E3779B9u, kPhiloxWeyl1 = 0xBB67AE85u;
constexpr int kPhiloxRounds = 10;

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_ADAM_PHILOX_H_
