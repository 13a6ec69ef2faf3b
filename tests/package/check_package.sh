#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the library into an empty prefix, builds a project that finds it there, runs that.
set -euo pipefail
cmake=$1 build=$2 consumer=$3 compiler=$4 sanitize=$5 source=$6 generator=$7
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
flags=
[ -z "$sanitize" ] || flags="-fsanitize=$sanitize"
"$cmake" --install "$build" --prefix "$scratch/prefix" >/dev/null
"$cmake" -G "$generator" -S "$consumer" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_FLAGS="$flags" \
  -DCMAKE_PREFIX_PATH="$scratch/prefix" >/dev/null
"$cmake" --build "$scratch/build" >/dev/null
cd "$scratch"
"$scratch/build/consumer" "$source"
