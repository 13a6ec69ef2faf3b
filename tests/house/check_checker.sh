#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{include/nibble,src/base,src/model,examples,tests,bench,fuzz,tools,cmake}
printf '// SPDX-License-Identifier: Apache-2.0\n' >"$scratch/src/base/a.h"
"$1" "$scratch" || { echo "a sound tree was refused" >&2; exit 1; }
printf '#include "model/config.h"\n' >>"$scratch/src/base/a.h"
if "$1" "$scratch" >"$scratch/out"; then echo "an upward arrow went unseen" >&2; exit 1; fi
grep -q 'arrow that runs upward: src/base/a.h:2' "$scratch/out"
mkdir "$scratch/.ci" && : >"$scratch/.ci/run" && chmod +x "$scratch/.ci/run"
if "$1" "$scratch" >"$scratch/out"; then echo "a run that tests nothing went unseen" >&2; exit 1; fi
grep -q '.ci/run does not run ./test' "$scratch/out"
