#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# check_weak_symbols.sh NM ARCHIVE: the objects of one instruction set (avx*_*.cpp, neon*_*.cpp) hold no weak functions, so that inline code
# compiled for a rich processor never serves a plain one. Fails also when there is no such object to look at.
set -eu
symbols=$("$1" --demangle --print-file-name "$2" | grep ':\(avx\|neon\)[a-z0-9_]*_[a-z0-9]*\.cpp\.o:') || { echo "no object of an instruction set in $2"; exit 1; }
if printf '%s\n' "$symbols" | grep ' [Ww] ' | grep -v '__[atu]b\{0,1\}san\|DW\.ref\|__odr_asan\|asan\.module'; then
  echo "weak functions in the objects of an instruction set"
  exit 1
fi
