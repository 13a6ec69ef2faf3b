#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times `nibble quantize` beside llama-quantize on one GGUF file, in turn, in one run.

    nibble synth --shape llama-3.2-1b --dtype f16 -o /tmp/model && nibble quantize /tmp/model -f f16 -o /tmp/model.gguf
    python bench/quantize.py --nibble build/src/cli/nibble --llama-quantize PATH /tmp/model.gguf

Every tensor that can be is written in the one type (`--pure` there). Prints, for each type, the median wall time and peak memory of
both and their ratio. Both write beside the model, check or do not check as they do by default, and do not sync. One run of each before
the first that counts brings the file into the page cache.
"""
import argparse
import os
import statistics
import subprocess
import time


def timed(command):
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)}: {error.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="GGUF file in F16")
    parser.add_argument("--nibble", required=True)
    parser.add_argument("--llama-quantize", help="without it nibble alone is timed")
    parser.add_argument("--types", default="q8_0,q4_0,q4_k,q6_k")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    output = os.path.abspath(options.model) + ".bench.gguf"
    threads = str(options.threads)
    print(f"{'type':8} {'nibble':>10} {'MB':>7} {'llama-quantize':>15} {'MB':>7} {'ratio':>7}   (medians of {options.runs}, {threads} threads)")
    for kind in options.types.split(","):
        commands = {"nibble": [options.nibble, "quantize", options.model, "-f", kind, "-o", output, "-t", threads]}
        if options.llama_quantize:
            commands["llama"] = [options.llama_quantize, "--pure", options.model, output, kind.upper(), threads]
        runs = {name: [] for name in commands}
        for i in range(options.runs + 1):
            for name, command in commands.items():
                result = timed(command)
                os.unlink(output)
                if i > 0:
                    runs[name].append(result)
        medians = {name: (statistics.median(r[0] for r in results), max(r[1] for r in results)) for name, results in runs.items()}
        line = f"{kind:8} {medians['nibble'][0]:8.2f} s {medians['nibble'][1]:7.0f}"
        if "llama" in medians:
            line += f" {medians['llama'][0]:13.2f} s {medians['llama'][1]:7.0f} {medians['llama'][0] / medians['nibble'][0]:6.1f}x"
        print(line, flush=True)


if __name__ == "__main__":
    main()
