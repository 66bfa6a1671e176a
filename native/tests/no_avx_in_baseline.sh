#!/bin/sh
# Usage: no_avx_in_baseline.sh OBJDUMP LIBRARY
# Fails where code outside the AVX targets' namespaces has VEX or EVEX instructions: a helper shared between targets that
# the linker took from the wrong one would stop a processor without them.
found=$("$1" -d -C --no-show-raw-insn "$2" | awk '
  /^[0-9a-f]+ <.*>:$/ { name = $0 }
  /^ *[0-9a-f]+:\t *v[a-z0-9]+ / && name !~ /N_AVX2|N_AVX3/ { print name; print }' | head -n 20)
if [ -n "$found" ]; then
  echo "$found"
  exit 1
fi
