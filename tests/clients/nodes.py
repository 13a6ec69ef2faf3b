#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""ONNX's own operator tests, run by nibble: what is read must give what the test says, what is not must be refused by name.

Operators whose weights or shapes nibble wants to know when it reads a file get these as constants: first none of the inputs is one, then those of whole numbers
and truths, then all but the first, then all. Prints counts; exit code 1 where an answer is wrong or an error is none of a refusal. Usage: nodes.py NIBBLE [PART OF A NAME]
"""

import collections
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

# Tests of an arithmetic in f16, which nibble does in f32.
HALVES = ("test_attention_24_qk_matmul_output_mode3_softmax_precision_expanded",)

# What says that something is not read; any other error is a defect.
REFUSALS = (
    "not known", "not read", "of opset", "known only when the net runs", "as in training", "as an output", "an alpha other than 1", "an equation", "antialias",
    "left out", "windows of three or more dimensions", "different lengths", "of which there are none", "counted by column", "before opset 21", "codes of this type",
)


def run(nibble, folder, model, feeds):
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "in.npz", **feeds)
    return subprocess.run([nibble, "run", folder / "m.onnx", "--input", folder / "in.npz", "-o", folder / "out.npz"], capture_output=True, text=True)


def with_constants(model, inputs, names):
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for name in names:
        changed.graph.initializer.append(numpy_helper.from_array(inputs[name], name))
    return changed


def judge(nibble, folder, test):
    """(outcome, reason)"""
    graph = test.model.graph
    if not all(v.type.HasField("tensor_type") for v in [*graph.input, *graph.output]):
        return "not of tensors", ""
    inputs = {v.name: np.asarray(a) for v, a in zip(graph.input, test.data_sets[0][0])}
    outputs = {v.name: np.asarray(a) for v, a in zip(graph.output, test.data_sets[0][1])}
    if any(a.dtype.kind not in "fiub" for a in [*inputs.values(), *outputs.values()]):
        return "not of tensors", ""
    names = list(inputs)
    tries = ([], [n for n in names if inputs[n].dtype.kind != "f"], names[1:], names)
    for constants in tries:
        feeds = {n: inputs[n] for n in names if n not in constants}
        if not feeds and names:  # a net without inputs cannot be asked
            feeds = {"nothing": np.zeros(1, np.float32)}
            model = with_constants(test.model, inputs, constants)
            model.graph.input.append(onnx.helper.make_tensor_value_info("nothing", onnx.TensorProto.FLOAT, [1]))
        else:
            model = with_constants(test.model, inputs, constants)
        result = run(nibble, folder, model, feeds)
        if result.returncode == 0:
            break
        if result.returncode != 1:
            return "failed", result.stderr.strip()
    else:
        reason = result.stderr.strip().split("m.onnx: ")[-1]
        return "refused" if any(r in reason for r in REFUSALS) else "failed", reason
    made = np.load(folder / "out.npz")
    for name, expected in outputs.items():
        found = made[name]
        if found.shape != expected.shape:
            return "wrong", f"{name}: shape {found.shape} in place of {expected.shape}"
        tolerance = (max(test.rtol, 1e-3), 1e-5) if expected.dtype.kind == "f" else (0, 0)
        if expected.dtype.itemsize == 2 and expected.dtype.kind == "f":
            tolerance = (2e-3, 1e-3)
        if not np.allclose(found.astype(np.float64), expected.astype(np.float64), *tolerance, equal_nan=True):
            return "wrong", f"{name}: off by {np.nanmax(np.abs(found.astype(np.float64) - expected.astype(np.float64)))}"
    return "passed", ""


def main():
    warnings.simplefilter("ignore")
    nibble, part = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    counts, reasons, bad = collections.Counter(), collections.Counter(), []
    with tempfile.TemporaryDirectory() as name:
        for test in sorted(collect_testcases(None), key=lambda t: t.name):
            if part not in test.name or test.name in HALVES:
                continue
            outcome, reason = judge(nibble, pathlib.Path(name), test)
            counts[outcome] += 1
            if outcome in ("wrong", "failed"):
                bad.append(f"{test.name}: {outcome}: {reason}")
            if outcome == "refused":
                reasons[reason.split(" (")[0] if "operators that" in reason else reason.split(": ", 1)[-1]] += 1
    print("refused:")
    for reason, count in reasons.most_common():
        print(f"  {count:4} {reason}")
    print(*bad, sep="\n")
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    return 1 if bad or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
