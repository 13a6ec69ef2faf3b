#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what the kernels of single tokens issue for 64 weights, from the disassembly.

    tools/count_instructions.py OBJDUMP OBJECT...      objects: neon_int8.cpp.o, neon_dot_int8.cpp.o

Every layout's kernel is one function; its work is in the loop that holds most dot products. A weight goes into one dot product, of which an
instruction takes sixteen (where there is none, SMULL2 stands for it), so a loop's instructions are divided by those. Scales are in the count where
they are multiples, which the same loop applies; numbers of their own come once a group, in the loop around it. Prints a Markdown table: instructions
for 64 weights by kind, and the cycles that they take at least on cores with so many vector pipes, load pipes and instructions a cycle (as LLVM's
scheduling models have them from Arm's software optimization guides). Nothing here is a measurement.
"""
import re
import subprocess
import sys

# vector pipes, load pipes, instructions
CORES = {"Neoverse N1": (2, 2, 4), "Neoverse V1": (4, 3, 8), "Neoverse V2": (4, 3, 6)}

LAYOUTS = {"8, 0": "8 bits", "7, 0": "7 bits", "4, 0": "4 bits", "4, 2": "6 bits", "4, 1": "5 bits", "2, 1": "3 bits", "2, 0": "2 bits",
           "1, 0": "1 bit"}
GRIDS = ["numbers", "numbers, offsets", "f16", "whole rows", "multiples", "multiples, minima"]
FORMATS = {("8 bits", False, "f16"): "q8_0", ("8 bits", False, "whole rows"): "int8:row", ("4 bits", False, "f16"): "q4_0, int4:g32",
           ("4 bits", False, "numbers, offsets"): "q4_1", ("4 bits", False, "multiples, minima"): "q4_k", ("5 bits", False, "f16"): "q5_0",
           ("5 bits", False, "multiples, minima"): "q5_k", ("6 bits", False, "multiples"): "q6_k", ("3 bits", False, "multiples"): "q3_k",
           ("2 bits", False, "multiples, minima"): "q2_k", ("2 bits", False, "f16"): "tq2_0, ternary, q2_0", ("4 bits", True, "f16"): "iq4_nl",
           ("4 bits", True, "multiples"): "iq4_xs; units of iq1 to iq3, decoded", ("1 bit", False, "f16"): "q1_0, binary",
           ("4 bits", True, "numbers"): "mxfp4, nf4", ("4 bits", False, "whole rows"): "int4:row"}


def functions(objdump, path):
    """Name and [(address, mnemonic, operands)] of every function."""
    text = subprocess.run([objdump, "-d", "-C", "--no-show-raw-insn", path], check=True, capture_output=True, text=True).stdout
    name, body = None, []
    for line in text.splitlines():
        if start := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            if name:
                yield name, body
            name, body = start.group(1), []
        elif entry := re.match(r"^\s+([0-9a-f]+):\s+(\S+)\s*(.*)$", line):
            body.append((int(entry.group(1), 16), entry.group(2), entry.group(3)))
    if name:
        yield name, body


def loops(body):
    """Instructions between the target of a backward branch and the branch."""
    for i, (address, mnemonic, operands) in enumerate(body):
        target = re.search(r"\b([0-9a-f]+) <", operands)
        if not target or not re.match(r"^(b|b\..*|cbn?z|tbn?z)$", mnemonic):
            continue
        begin = int(target.group(1), 16)
        if body[0][0] <= begin <= address:
            yield [entry for entry in body[:i + 1] if entry[0] >= begin]


def is_dot(entry):
    return entry[1] in ("sdot", "smull2")


def work_of(body):
    """The smallest loop that holds as many dot products as any: what is read again and again."""
    found = [loop for loop in loops(body) if any(map(is_dot, loop))]
    if not found:
        return None
    innermost = [loop for loop in found if not any(other is not loop and other[0][0] >= loop[0][0] and other[-1][0] <= loop[-1][0] for other in found)]
    return max(innermost, key=lambda loop: sum(map(is_dot, loop)))


def kinds(loop):
    counts = dict(dot=0, vector=0, load=0, store=0, other=0)
    for _, mnemonic, operands in loop:
        registers = re.search(r"\b[vqds][0-9]+\b", operands) is not None
        if is_dot((0, mnemonic)):
            counts["dot"] += 1
        elif mnemonic.startswith("ld") and registers:
            counts["load"] += 1
        elif mnemonic.startswith("st") and registers:
            counts["store"] += 1
        elif registers:
            counts["vector"] += 1
        else:
            counts["other"] += 1
    return counts


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print("| set | kernel | formats | dot products | vector | loads | stores | other | all |", *(f" {core} |" for core in CORES), sep="")
    print("|---|---|---|" + "---:|" * (6 + len(CORES)))
    for path in sys.argv[2:]:
        rows = []
        for function, body in functions(sys.argv[1], path):
            kernel = re.search(r"vector_panel<.*?, ([0-9]), ([0-9]), (true|false), \(.*?GridSource\)([0-9]), ([0-9]+)>", function)
            loop = work_of(body) if kernel else None
            if not loop:
                continue
            layout, table, grid = LAYOUTS[f"{kernel[1]}, {kernel[2]}"], kernel[3] == "true", GRIDS[int(kernel[4])]
            if (layout, table, grid) not in FORMATS:
                continue
            name = re.search(r"nibble::(\w+)::\(anonymous namespace\)::Quad", function)[1]
            group = f", {kernel[5]} columns" if kernel[5] != "0" else ""
            counts = kinds(loop)
            scale = 4 / counts["dot"]
            per = {kind: count * scale for kind, count in counts.items()}
            total = sum(per.values())
            cycles = [max((per["dot"] + per["vector"]) / pipes, (per["load"] + per["store"]) / ports, total / width)
                      for pipes, ports, width in CORES.values()]
            cells = [per["dot"], per["vector"], per["load"], per["store"], per["other"], total, *cycles]
            rows.append(f"| {name} | {layout}{', table' if table else ''}; {grid}{group} | {FORMATS[layout, table, grid]} | "
                        + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
        print("\n".join(sorted(rows)))


if __name__ == "__main__":
    main()
