// What the kernels that end in Adam's step check alike.
#ifndef NESTED_LEARNING_KERNELS_ADAM_H_
#define NESTED_LEARNING_KERNELS_ADAM_H_

#include "core/status.h"

namespace nested_learning {

// That the moments are of a known kind, and that w, m and v are there.
void RequireAdam(const nl_adam_arguments& arguments);

}  // namespace nested_learning

#endif  // NESTED_LEARNING_KERNELS_ADAM_H_
