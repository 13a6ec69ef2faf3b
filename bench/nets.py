#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small nets quantized by nibble and by ONNX Runtime's own quantizer, on the same samples in the same run, judged in ONNX Runtime.

Usage: nets.py NIBBLE DATA [--only NAME,...] [--json FILE] (Python with onnxruntime, onnx, numpy; magika, rapidocr-onnxruntime with pillow where they are installed).
DATA holds vision/ (mnist, cifar10_jpeg2000, ultraface, fastestdet, superres), tinyml/ (onnx, kws01) and audio/ (silero, .wav).
Accuracy of recogniser: the characters that are right, 100 less the share that would have to be changed; of anomaly: whether what it fails by orders
samples as in float, the rank correlation in percent.
Figures are of samples that neither quantizer has seen. Times are of one thread, medians, and mean something on an idle machine only.
"""

import argparse
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import net_demos  # noqa: E402

ort.set_default_logger_severity(4)


def session(path, optimized=None):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if optimized:
        options.optimized_model_filepath = str(optimized)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_all(path, samples):
    running = session(path)
    wanted = {i.name for i in running.get_inputs()}
    return [running.run(None, {n: a for n, a in sample.items() if n in wanted}) for sample in samples]


def decibels(made, should):
    should, made = (np.concatenate([np.ravel(a).astype(np.float64) for a in x]) for x in (should, made))
    noise = np.sum((made - should) ** 2)
    return float("inf") if noise == 0 else float(10 * np.log10(np.sum(should**2) / noise))


def sqnr(outputs, reference):
    """Of the worst output."""
    return min(decibels([o[i] for o in outputs], [r[i] for r in reference]) for i in range(len(reference[0])))


class Task:
    def __init__(self, name, model, calibration, test, labels=None, options=(), constants=None, measure=None, score=None, **goal):
        self.name, self.model, self.calibration, self.test, self.labels = name, model, calibration, test, labels
        self.options, self.constants, self.measure, self.score = list(options), constants or {}, measure, score
        self.goal = goal

    def run(self, path):
        if self.measure:
            return self.measure(path)
        return run_all(path, [{**s, **self.constants} for s in self.test])

    def judge(self, outputs, reference):
        figures = {"sqnr": sqnr(outputs, reference)}
        choice = [np.argmax(o[0], -1).ravel() if o[0].shape[-1] > 1 else (o[0] > 0.5).ravel() for o in outputs]
        wanted = [np.argmax(r[0], -1).ravel() if r[0].shape[-1] > 1 else (r[0] > 0.5).ravel() for r in reference]
        figures["agreement"] = 100 * float(np.mean(np.concatenate(choice) == np.concatenate(wanted)))
        if self.score:
            figures["accuracy"] = self.score(outputs, reference)
        elif self.labels is not None:
            figures["accuracy"] = 100 * float(np.mean([c[0] == label for c, label in zip(choice, self.labels)]))
        return figures

    def missed(self, row, original):
        """What of --require a quantized net has not reached."""
        missed = [f"{figure} {row[figure]:.2f}, asked for {self.goal[figure]}" for figure in ("accuracy", "agreement") if row.get(figure, 100) < self.goal.get(figure, 0)]
        if "loses" in self.goal and original["accuracy"] - row["accuracy"] > self.goal["loses"]:
            missed.append(f"{original['accuracy'] - row['accuracy']:.2f} points lost, at most {self.goal['loses']} allowed")
        if row["bytes"] > self.goal.get("kilobytes", 1e9) * 1000:
            missed.append(f"{row['bytes'] / 1000:.1f} kB, at most {self.goal['kilobytes']} allowed")
        return missed


def split(arrays, labels, count):
    """The first `count` calibrate, the rest is judged."""
    return arrays[:count], arrays[count:], labels[count:]


def kws(data):
    files = sorted((data / "tinyml/kws01").glob("*.bin"))
    if not files:
        raise FileNotFoundError(f"no recordings: {data / 'tinyml/kws01'}")
    x = np.stack([np.frombuffer(f.read_bytes(), np.int8) for f in files]).astype(np.float32)
    x = ((x - 83) * np.float32(0.58470)).reshape(-1, 1, 49, 10)
    calibration, test, labels = split(x, [int(f.stem.rsplit("_", 1)[1]) for f in files], 100)
    return Task("kws", data / "tinyml/onnx/kws.onnx", {"input": calibration}, [{"input": a[None]} for a in test], labels, accuracy=90, kilobytes=42.9)


def pictures(data):
    raw = np.frombuffer((data / "vision/cifar10_jpeg2000/test_2000.bin").read_bytes(), np.uint8).reshape(-1, 3073)
    return raw[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32), raw[:, 0].tolist()


def enlarged(x, height, width):
    """Bilinear, half pixels."""
    for axis, size in ((2, height), (3, width)):
        n = x.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
        low = np.floor(at).astype(int)
        high, share = np.minimum(low + 1, n - 1), (at - low).astype(np.float32)
        share = share.reshape([-1 if d == axis else 1 for d in range(4)])
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x.astype(np.float32)


def resnet8(data):
    x, labels = pictures(data)
    calibration, test, labels = split(x, labels, 100)
    return Task("resnet8", data / "tinyml/onnx/resnet8.onnx", {"input": calibration}, [{"input": a[None]} for a in test], labels, loses=0.3, agreement=96.5)


def mnist(data):
    folder = data / "vision/mnist"
    x = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8).reshape(-1, 1, 28, 28).astype(np.float32)
    labels = list(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:])
    calibration, test, labels = split(x, labels, 100)
    return Task("mnist", folder / "mnist.onnx", {"Input3": calibration}, [{"Input3": a[None]} for a in test], labels, accuracy=98.9, kilobytes=22)


def vww(data):
    x, _ = pictures(data)
    x = enlarged(x[:400], 96, 96) / 255
    return Task("vww", data / "tinyml/onnx/vww.onnx", {"input": x[:100]}, [{"input": a[None]} for a in x[100:]])


def anomaly(data):
    generator = np.random.default_rng(3)
    slow = generator.standard_normal((600, 1, 128)).cumsum(-1) * 0.3
    x = (slow + generator.standard_normal((600, 5, 128)) * 1.5 - 15 + 5 * generator.standard_normal((600, 1, 1))).reshape(600, 640).astype(np.float32)

    def ranks(outputs):
        return np.argsort(np.argsort([np.mean((o[0].ravel() - a) ** 2) for o, a in zip(outputs, x[100:])]))

    return Task("anomaly", data / "tinyml/onnx/ad.onnx", {"input": x[:100]}, [{"input": a[None]} for a in x[100:]],
                score=lambda outputs, reference: 100 * float(np.corrcoef(ranks(outputs), ranks(reference))[0, 1]), accuracy=99.7)


def ultraface(data):
    x, _ = pictures(data)
    x = (enlarged(x[:48], 240, 320) - 127) / 128
    return Task("ultraface", data / "vision/ultraface/version-RFB-320_without_postprocessing.onnx", {"input": x[:32]}, [{"input": a[None]} for a in x[32:]])


def fastestdet(data):
    x, _ = pictures(data)
    x = enlarged(x[:48], 352, 352) / 255
    return Task("fastestdet", data / "vision/fastestdet/FastestDet.onnx", {"input.1": x[:32]}, [{"input.1": a[None]} for a in x[32:]])


def superres(data):
    x, _ = pictures(data)
    x = enlarged(x[:24].mean(1, keepdims=True), 224, 224) / 255
    return Task("superres", data / "vision/superres/pytorch_super_resolution.onnx", {"input": x[:16]}, [{"input": a[None]} for a in x[16:]])


def silero(data):
    model = net_demos.voice_net() or data / "audio/silero_vad_16k_op15.onnx"
    calibration = net_demos.voice_samples(model, data / "audio/jfk.wav")
    every = max(1, len(calibration["input"]) // 128)
    calibration, sound = {n: a[::every] for n, a in calibration.items()}, net_demos.frames(data / "audio/test.wav")
    first = [{n: a[0][None] if n == "input" else a[0] for n, a in calibration.items()}]
    return Task("silero", model, calibration, first, options=["--constant", "sr=16000", "--shape", "input=1,576", "--shape", "state=2,1,128"], constants={"sr": np.array(16000, np.int64)},
                measure=lambda path: net_demos.hear(path, sound)[0], agreement=99, kilobytes=450)


def magika(_):
    model = net_demos.file_net()
    if model is None:
        return None
    x, labels = net_demos.file_samples()
    calibration, test, labels = split(x, labels, 64)
    return Task("magika", model, {"bytes": calibration}, [{"bytes": a[None]} for a in test], labels, loses=0.2, kilobytes=900)


def recogniser(_):
    model = net_demos.line_net()
    if model is None:
        return None
    x, texts = net_demos.line_samples(180)
    calibration, test, texts = split(x, texts, 60)
    return Task("recogniser", model, {"x": calibration}, [{"x": a[None]} for a in test], options=["--shape", "x=1,3,48,320"],
                score=lambda outputs, _: 100 - net_demos.character_error([o[0] for o in outputs], texts), loses=0.5, kilobytes=3300)


def direction(_):
    model = net_demos.direction_net()
    if model is None:
        return None
    x, turned = net_demos.direction_samples(400)
    calibration, test, turned = split(x, turned, 100)
    return Task("direction", model, {"x": calibration}, [{"x": a[None]} for a in test], turned, options=["--shape", "x=1,3,48,192"])


TASKS = {f.__name__: f for f in (kws, resnet8, mnist, vww, anomaly, ultraface, fastestdet, superres, silero, magika, recogniser, direction)}


class Reader(CalibrationDataReader):
    def __init__(self, task):
        count = len(next(iter(task.calibration.values())))
        self.samples = iter([{**{n: a[i][None] if n != "state" else a[i] for n, a in task.calibration.items()}, **task.constants} for i in range(count)])

    def get_next(self):
        return next(self.samples, None)


def their_own(task, folder, kind):
    source, out = task.model, folder / f"{task.name}.{kind}.onnx"
    settings = {"per_channel": kind == "channel"}
    if kind == "channel":
        settings |= {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        model = onnx.load(source)
        if model.opset_import[0].version < 13:
            kept = {i.name for i in model.graph.initializer}
            for value in [i for i in model.graph.input if i.name in kept]:
                model.graph.input.remove(value)
            model.ir_version = max(model.ir_version, 7)
            source = folder / f"{task.name}.13.onnx"
            onnx.save(onnx.version_converter.convert_version(model, 13), source)
    quantize_static(str(source), str(out), Reader(task), **settings)
    return out


def ours(nibble, task, folder, extra=(), form="int8"):
    samples, out = folder / f"{task.name}.npz", folder / f"{task.name}.nibble.onnx"
    np.savez(samples, **task.calibration)
    command = [nibble, "quantize", task.model, "-f", form, "--samples", samples, "-o", out, "--json", *task.options, *extra]
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr.strip())
    return out, json.loads(result.stdout)


def fused(path, folder):
    optimized = folder / "optimized.onnx"
    session(path, optimized)
    counts = {}
    for node in onnx.load(optimized).graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return {op: n for op, n in counts.items() if op.startswith(("QLinear", "QGemm", "Conv", "Gemm", "MatMul", "LSTM", "FusedConv", "DynamicQ", "QAttention"))}


def milliseconds(path, sample):
    running = session(path)
    feed = {i.name: sample[i.name] for i in running.get_inputs()}
    for _ in range(3):
        running.run(None, feed)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        running.run(None, feed)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("nibble")
    arguments.add_argument("data", type=pathlib.Path)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--json", type=pathlib.Path)
    arguments.add_argument("--ours", action="store_true", help="leave out ONNX Runtime's quantizer")
    arguments.add_argument("--keep", type=pathlib.Path, help="a directory for the files that are made")
    arguments.add_argument("--format", default="int8")
    arguments.add_argument("--option", action="append", default=[], help="for nibble quantize, as --option=--equalize=off")
    arguments.add_argument("--require", action="store_true", help="exit code 1 where a net in int8 misses what is asked of it, or none is at hand")
    given = arguments.parse_args()
    results, missed = [], []
    print(f"{'net':11} {'quantizer':12} {'accuracy':>8} {'agree':>7} {'SQNR dB':>8} {'KB':>8} {'ms':>8}  operators")
    with tempfile.TemporaryDirectory() as name:
        folder = given.keep or pathlib.Path(name)
        folder.mkdir(exist_ok=True)
        for make in [TASKS[n] for n in given.only.split(",") if n] or TASKS.values():
            try:
                task = make(given.data)
                if task is not None and not task.model.exists():
                    raise FileNotFoundError(f"no such file: {task.model}")
            except (FileNotFoundError, ImportError) as error:
                print(f"{make.__name__}: skipped, {error}")
                continue
            if task is None:
                print(f"{make.__name__}: skipped, the package that has it is not installed")
                continue
            reference = task.run(task.model)
            sample = {**task.test[0], **task.constants}

            def report(kind, path, more=None):
                outputs = reference if kind == "float" else task.run(path)
                row = {"net": task.name, "quantizer": kind, **task.judge(outputs, reference), "bytes": pathlib.Path(path).stat().st_size, "ms": milliseconds(path, sample), "operators": fused(path, folder), **(more or {})}
                results.append(row)
                accuracy = f"{row['accuracy']:8.2f}" if "accuracy" in row else " " * 8
                print(f"{task.name:11} {kind:12} {accuracy} {row['agreement']:7.2f} {row['sqnr']:8.1f} {row['bytes'] / 1000:8.1f} {row['ms']:8.3f}  {row['operators']}", flush=True)

            report("float", task.model)
            for kind in [] if given.ours else ["tensor", "channel"]:
                try:
                    report("ort " + kind, their_own(task, folder, kind))
                except Exception as error:  # of any kind: what their quantizer does not get through is a result
                    print(f"{task.name:11} {'ort ' + kind:12} fails: {str(error).splitlines()[0][:100]}")
            path, summary = ours(given.nibble, task, folder, given.option, given.format)
            report("nibble", path, {"seconds": summary["seconds"], "left_out": summary["left_out"]})
            missed += [f"{task.name}: {one}" for one in task.missed(results[-1], next(r for r in results if r["net"] == task.name))]
            share = summary.get("changing")
            changing = f", decisions expected to change {100 * share['value']:.2f} % ({100 * share['low']:.2f} to {100 * share['high']:.2f})" if share else ""
            print(f"{'':11} {'':12} in {summary['seconds']:.1f} s, {summary['fit']}, equalized {summary['equalized']}, biases corrected {summary['corrected_biases']}, {len(summary['left_out'])} left in float{changing}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    if given.require:
        print("\n".join(missed) or f"{sum(r['quantizer'] == 'nibble' for r in results)} nets are what is asked for")
        return 1 if missed or not results else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
