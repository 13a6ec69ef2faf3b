#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the library into an empty prefix, builds the examples as a project that finds it there, runs them all. Of what the installed
# archive defines for others only names of the installed headers are global.
set -euo pipefail
cmake=$1 build=$2 compiler=$3 sanitize=$4 source=$5 generator=$6
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
flags=
[ -z "$sanitize" ] || flags="-fsanitize=$sanitize"
"$cmake" --install "$build" --prefix "$scratch/prefix" >/dev/null

# The public names are those that the headers declare: classes and functions of namespace nibble.
if [ -z "$sanitize" ]; then
  archive=$(find "$scratch/prefix" -name libnibble.a)
  nm --extern-only --defined-only --demangle "$archive" 2>/dev/null | sed -nE 's/^[0-9a-f]+ [A-Za-z] //p' >"$scratch/symbols"
  [ -s "$scratch/symbols" ] || { echo "the installed archive defines nothing" >&2; exit 1; }
  while IFS= read -r symbol; do
    name=$(sed -nE 's/^nibble::([A-Za-z_]+).*/\1/p' <<<"$symbol")
    [ -n "$name" ] && grep -qE "(^|[ *&])$name\(|^(class|struct) $name " "$source"/include/nibble/*.h ||
      { echo "the installed archive shows what no installed header declares: $symbol" >&2; exit 1; }
  done <"$scratch/symbols"
fi

"$cmake" -G "$generator" -S "$source/examples" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" \
  -DCMAKE_CXX_FLAGS="-Wall -Wextra -Werror $flags" -DCMAKE_PREFIX_PATH="$scratch/prefix" >/dev/null
"$cmake" --build "$scratch/build" >"$scratch/log" || { cat "$scratch/log" >&2; exit 1; }

model=$source/tests/data/tale-4M text=$source/tests/data/tale-4M/calibration.txt
mkdir "$scratch/out"
cd "$scratch/out"
ran=0
run() { # EXAMPLE ARGUMENT...
  echo "== $1"
  "$scratch/build/$1" "${@:2}" || { echo "$1 failed with exit code $?" >&2; exit 1; }
  ran=$((ran + 1))
}
run inspect "$model"
run formats
run errors "$model"
run progress "$model" stopped.gguf
run calibrate "$model" "$text" tale.stats.safetensors
run quantize "$model" "$text" .
run evaluate "$model" "$source/tests/data/tale-4M/heldout.txt" mix.gguf gptq.gguf
run tasks "$model" mix.gguf
run engine mix.gguf
run generate mix.gguf "Once upon a time"
echo "{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}assistant:" >lines.jinja
run chat mix.gguf lines.jinja
run plan mix.gguf 1000000000
run convert "$model" converted.gguf
cmp mix.gguf recipe.gguf
[ "$ran" -eq "$(find "$source/examples" -name '*.cpp' | wc -l)" ] || { echo "an example was not run" >&2; exit 1; }
# Each header has an example that is about it.
for header in "$source"/include/nibble/*.h; do
  grep -ql "^// nibble/$(basename "$header"):" "$source"/examples/*.cpp || { echo "no example of $header" >&2; exit 1; }
done
