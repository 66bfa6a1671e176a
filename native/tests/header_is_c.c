/* That the public header is valid C, and what it declares can be called from C. */
#include "nested_learning.h"

int header_is_c(void);

int header_is_c(void) {
  nl_elementwise_arguments arguments = {
      sizeof(nl_elementwise_arguments), NL_GELU, 1.0f, 0, 0, 0, 0};
  return nl_abi_version() == NL_ABI_VERSION && nl_scale(&arguments, 0, 0) == NL_OK &&
         nl_struct_size("nl_elementwise_arguments") == sizeof(nl_elementwise_arguments);
}
