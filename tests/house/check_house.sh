#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Rules of the house that a compiler does not check: arrows between rooms point downward, every source file says its licence, files
# stay short, tests are named for what they test, nothing names a machine's paths. Prints each breach; exit code 1 if there is any.
set -uo pipefail
cd "${1:?usage: check_house.sh SOURCE_DIR}"

# What each room may include besides itself, std and third parties. An arrow includes all that lies below it.
declare -A sees=(
  [base]="" [terminal]="base" [distribute]="base" [tensor]="base" [format]="tensor base"
  [kernels]="format tensor base" [io]="format tensor base" [graph]="tensor base"
  [net]="quantize graph io kernels format tensor base"
  [quantize]="kernels format tensor base"
  [engine]="model graph io kernels format tensor base"
  [model]="graph io kernels format tensor base"
  [calibrate]="distribute engine model quantize graph io kernels format tensor base"
  [train]="net calibrate distribute engine model quantize graph io kernels format tensor base"
  [evaluate]="distribute engine model graph io kernels format tensor base"
  [pipeline]="distribute net train calibrate evaluate engine model quantize graph io kernels format tensor base"
  [report]="pipeline distribute net train calibrate evaluate engine model quantize graph io kernels format tensor base"
  [serve]="pipeline distribute net train calibrate evaluate engine model quantize graph io kernels format tensor base"
  [cli]="serve terminal report pipeline distribute net train calibrate evaluate engine model quantize graph io kernels format tensor base"
)
rooms="${!sees[*]}"
breaches=0
breach() { echo "$*"; breaches=$((breaches + 1)); }

for room in $rooms; do
  [ -d "src/$room" ] || continue
  for other in $rooms; do
    [ "$other" = "$room" ] && continue
    case " ${sees[$room]} " in *" $other "*) continue ;; esac
    while IFS= read -r line; do breach "arrow that runs upward: $line"; done < <(grep -rn "#include \"$other/" "src/$room" || true)
  done
done

# Message types of ONNX stay where they are read and written.
while IFS= read -r line; do breach "protobuf outside src/io/onnx: $line"; done \
  < <(grep -rnE '#include [<"](google/protobuf|onnx/)' src include | grep -v '^src/io/onnx/onnx_messages.cpp:' || true)

# Tables of TensorFlow Lite, too.
while IFS= read -r line; do breach "FlatBuffers outside src/io/tflite: $line"; done \
  < <(grep -rnE '#include [<"](flatbuffers/|tflite_generated)' src include | grep -v '^src/io/tflite/tflite_\(tables\|writer\).cpp:' || true)

# What a machine runs of its own accord is ./test, and nothing else.
if [ -e .ci/run ]; then grep -q 'exec \./test$' .ci/run && [ -x .ci/run ] || breach ".ci/run does not run ./test"; fi

# Installed headers see only the standard library and each other.
while IFS= read -r line; do breach "installed header that includes the house: $line"; done < <(grep -rn '#include "' include | grep -v '#include "nibble/' || true)
# So does the package for Python, which has files of its own beside them.
while IFS= read -r line; do breach "Python's extension sees the house: $line"; done \
  < <(grep -rn '#include "[a-z_]*/' python | grep -v '#include "nibble/' || true)
[ "$(find include/nibble -name '*.h' | wc -l)" -le 13 ] || breach "more than 13 installed headers"

while IFS= read -r file; do
  head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0' || breach "no licence line: $file"
  case "$file" in
    *.h|*.cpp)
      lines=$(wc -l <"$file")
      case "$file" in *_table.cpp|*_tables.cpp|*_grids.cpp) ;; *) [ "$lines" -le 500 ] || breach "long file: $file ($lines lines)" ;; esac ;;
  esac
done < <(find include src python examples tests bench fuzz tools cmake \( -name '*.h' -o -name '*.cpp' -o -name '*.py' -o -name '*.sh' -o -name '*.cmake' -o -name CMakeLists.txt \) | sort)

# What documents point to is there.
while IFS= read -r place; do [ -e "$place" ] || breach "documents name what is not there: $place"; done \
  < <(grep -ohE '`(src|tests|tools|bench|include)/[a-z0-9_/-]+(\.[a-z]+)?`' docs/*.md README.md 2>/dev/null | tr -d '`' | sort -u)

# Lines are read side by side: at most 120 characters, but for tables and text that would mean something else if broken.
while IFS= read -r line; do breach "long line: $line"; done \
  < <(LC_ALL=C.UTF-8 grep -rnP '^.{121,}' src include python examples tests bench fuzz --include='*.cpp' --include='*.h' | grep -vE '_(table|tables|grids)\.(h|cpp):|R"|\\$|": |^[^:]+:[0-9]+:(mix|Exit codes|Planar)' || true)

# A file of tests is named for what it tests: X_test.cpp.
while IFS= read -r file; do breach "tests under another name than X_test.cpp: $file"; done \
  < <(grep -rlE '^(TEST|TEST_F|TEST_P)\(' tests --include='*.cpp' | grep -v '_test\.cpp$' || true)

while IFS= read -r line; do breach "path of one machine: $line"; done < <(grep -rnIE '"/(work|root|home)/|\.\./shared' include src python examples tests bench fuzz tools cmake --include='*' 2>/dev/null | grep -v check_house.sh || true)

[ "$breaches" -eq 0 ]
