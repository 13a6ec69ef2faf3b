#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Latency of small nets on one thread: nibble beside ONNX Runtime and LiteRT, in turns, on random inputs.

Usage: nets_vs_peers.py NIBBLE FILE|DIRECTORY... [--rounds 5] [--seconds 0.3] [--json FILE]
.onnx files are run by ONNX Runtime as they are and, with --codes, in int8 as its own quantizer makes it of them (u8 values, weights by channel); .tflite files by LiteRT.
A round measures each program for so long, one after the other; a ratio is the median over rounds of nibble's tenth percentile over the peer's, so that what else the machine does
hits both. What a net leaves open has to be known: OPEN in tests/clients/nets.py says it.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/clients"))
from nets import OPEN, random_input  # noqa: E402

TYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def onnx_feeds(session, path):
    shapes, constants = next((said for part, said in OPEN.items() if part in path.name), ({}, {}))
    generator = np.random.default_rng(1)
    feeds = {}
    for one in session.get_inputs():
        dtype = TYPES[one.type]
        if one.name in constants:
            feeds[one.name] = np.array(constants[one.name], dtype)
            continue
        shape = shapes.get(one.name) or [n if isinstance(n, int) and n > 0 else 1 for n in one.shape]
        whole = np.dtype(dtype).itemsize > 1 and np.dtype(dtype).kind != "f"
        feeds[one.name] = np.zeros(shape, dtype) if whole else random_input(generator, shape, dtype)
    return feeds


def onnx_runtime(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    start = time.perf_counter()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feeds = onnx_feeds(session, path)
    session.run(None, feeds)
    return (lambda: session.run(None, feeds)), time.perf_counter() - start


def litert(path):
    from ai_edge_litert.interpreter import Interpreter

    start = time.perf_counter()
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    generator = np.random.default_rng(1)
    for one in interpreter.get_input_details():
        interpreter.set_tensor(one["index"], random_input(generator, one["shape"], one["dtype"]))
    interpreter.invoke()
    return interpreter.invoke, time.perf_counter() - start


def quantized(path, folder):
    """The same net in int8 by ONNX Runtime's quantizer; None where it cannot."""
    import onnx
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    class Samples(CalibrationDataReader):
        left = [onnx_feeds(session, path)] * 2

        def get_next(self):
            return self.left.pop() if self.left else None

    newer = folder / f"{path.stem}_13.onnx"
    made = folder / f"{path.stem}_int8.onnx"
    try:
        model = onnx.load(path)
        if model.opset_import[0].version < 13:
            model = onnx.version_converter.convert_version(model, 13)
        onnx.save(model, newer)
        quantize_static(newer, made, Samples(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    except Exception as error:  # whatever a quantizer stumbles over
        print(f"{path.name}: no int8 by ONNX Runtime: {str(error).splitlines()[0] if str(error) else type(error).__name__}", file=sys.stderr)
        return None
    return made


def percentile(run, seconds):
    run()
    samples, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < 10:
        start = time.perf_counter()
        run()
        samples.append(time.perf_counter() - start)
    return sorted(samples)[len(samples) // 10]


def by_nibble(nibble, path, seconds):
    command = [nibble, "bench", path, "-t", "1", "--seconds", str(seconds), "--json"]
    shapes, constants = next((said for part, said in OPEN.items() if part in path.name), ({}, {}))
    for name, shape in shapes.items():
        command += ["--shape", f"{name}={','.join(map(str, shape))}"]
    for name, number in constants.items():
        command += ["--constant", f"{name}={number}"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def compare(arguments, path):
    run, peer_first = (litert if path.suffix == ".tflite" else onnx_runtime)(path)
    ours, theirs, firsts = [], [], []
    for _ in range(arguments.rounds):
        made = by_nibble(arguments.nibble, path, arguments.seconds)
        ours.append(made["low_seconds"])
        firsts.append(made["load_seconds"] + made["first_run_seconds"])
        theirs.append(percentile(run, arguments.seconds))
    return {
        "net": path.name,
        "arithmetic": made["arithmetic"],
        "peer": "LiteRT" if path.suffix == ".tflite" else "ONNX Runtime",
        "nibble_us": 1e6 * statistics.median(ours),
        "peer_us": 1e6 * statistics.median(theirs),
        "ratio": statistics.median(a / b for a, b in zip(ours, theirs)),
        "nibble_first_ms": 1e3 * min(firsts),
        "peer_first_ms": 1e3 * peer_first,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nibble")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--codes", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    files = []
    for place in arguments.files:
        files += [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.suffix in (".onnx", ".tflite"))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        if arguments.codes:
            made = [quantized(path, pathlib.Path(name)) for path in files if path.suffix == ".onnx"]
            files += [path for path in made if path]
        print(f"{'net':44} {'peer':13} {'':5} {'nibble':>10} {'peer':>10} {'ratio':>6} {'load + first run':>17} {'peer':>8}")
        for path in files:
            try:
                row = compare(arguments, path)
            except (subprocess.CalledProcessError, RuntimeError, ValueError) as error:
                print(f"{path.name}: {str(getattr(error, 'stderr', '') or error).strip().splitlines()[0]}")
                continue
            rows.append(row)
            print(f"{row['net'][:44]:44} {row['peer']:13} {row['arithmetic']:5} {row['nibble_us']:7.1f} us {row['peer_us']:7.1f} us {row['ratio']:6.2f} {row['nibble_first_ms']:14.2f} ms {row['peer_first_ms']:5.1f} ms", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
