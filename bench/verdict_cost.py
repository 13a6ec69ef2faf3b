#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a verdict costs: a candidate beside its original, against the two read one after the other.

    bench/verdict_cost.py build/src/cli/nibble ORIGINAL CANDIDATE --text TEXT [--windows N] [--repetitions R]

Processor seconds of whole commands (loading included), the least of the repetitions, which take turns, and the same by the clock, which other
work on the machine disturbs. docs/verdict.md keeps the figures.
Needs nothing but Python.
"""
import argparse
import resource
import subprocess
import time


def measure(command):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, end - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nibble")
    parser.add_argument("original")
    parser.add_argument("candidate")
    parser.add_argument("--text", required=True)
    parser.add_argument("--windows", type=int, default=0, help="0: all")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    commands = {
        "original alone": [options.original],
        "candidate alone": [options.candidate],
        "side by side": [options.candidate, "--against", options.original],
        "and layer by layer": [options.candidate, "--against", options.original, "--layers"],
    }
    reading = ["--text", options.text, *(["--windows", str(options.windows)] if options.windows else []), "--json"]
    samples = {name: [] for name in commands}
    for _ in range(options.repetitions):
        for name, models in commands.items():
            samples[name].append(measure([options.nibble, "eval", *models, *reading]))
    least = {name: [min(column) for column in zip(*rows)] for name, rows in samples.items()}
    alone = [sum(pair) for pair in zip(least["original alone"], least["candidate alone"])]
    for name, (processor, clock) in least.items():
        shares = f"{processor / alone[0]:.3f} of the two alone; by the clock {clock:.3f} s, {clock / alone[1]:.3f}"
        print(f"{name:20} {processor:7.3f} s   {shares}")


if __name__ == "__main__":
    main()
