#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What each method costs in each format on one model, how long it takes, and how llama.cpp judges it.

    bench/methods.py build/src/cli/nibble models/fable-5M --text models/fable-5M/calibration.txt --heldout models/fable-5M/heldout.txt
    bench/methods.py ... --llama llama.cpp/build/bin --parts llama --formats q4_k,q2_k     beside llama-quantize and llama-imatrix

Loss is the mean KL divergence from the original on the held-out text (windows of 512, second half scored), in f32 arithmetic unless a part
is about arithmetic. Prints Markdown as kept in docs/methods.md. Parts: table (methods x formats), twin (the outlier twin; needs numpy and
safetensors), cache (keys and values in codes, on twins, too), engine (8-bit activations, small KV caches), budget (a solved mix against uniform
formats and mixes at equal bytes), llama, trained (what gradients bring in each format, each line with its time, at most --minutes; --trained for
short, --also for further texts to judge by; with --json in several goes), limit (loss over bits per weight, of trellises beside everything else;
--json for tools/draw_limit.py), inputs (W4A8 and W4A4 with and without
rotation, simulated; needs numpy and safetensors).
"""
import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from random import Random

FORMATS = "int4:g128,int3:g128:sym,int2:g64:sym,nf4:g64,ternary:row,q4_0,q4_k,q3_k,q2_k,iq4_xs,iq3_xxs,iq2_xs"
METHODS = "absmax,mse,imatrix,awq,gptq,descent"
TRAINED_FORMATS = "int4:g128,int3:g128,int2:g64,q4_k,q3_k,q2_k,ternary:row,binary:row,int8:row"  # what little time would leave out stands last
LIMIT_FORMATS = ("trellis1:l8,trellis2:l8,trellis3:l8,trellis4:l8,trellis5:l8,trellis1:l12,trellis2:l12,trellis3:l12,trellis4:l12,"
                 "trellis2:l16,e8p2,e8p3,e8p4,ternary:row,int2:g64,int3:g128,int4:g128,int5:g128,q2_k,q3_k,q4_k,q5_k,iq1_s,iq2_xxs,iq2_s,iq3_xxs,iq3_s,"
                 "iq4_xs,trellis2:l8@hadamard,trellis3:l8@hadamard,trellis4:l8@hadamard,trellis2:l12@hadamard,trellis3:l12@hadamard,"
                 "trellis4:l12@hadamard,int2:g64@hadamard,int3:g128@hadamard,int4:g128@hadamard,int2:g64+outliers:0.5%,"
                 "int3:g128+outliers:0.5%")
WITH_GRADIENTS = (("gptq", "plain"), ("gptq", "kl"), ("blockwise", "kl"))  # method, moments (part trained)
GENTLE_RATE = 0.0004  # of training that goes on from a quantized model of four points
ROUNDED_FORMATS = ("ternary:row", "binary:row")  # which no rounding afterwards serves
LLAMA_FORMATS = "q4_k,q4_0,q3_k,q2_k,iq4_xs"
WITHOUT_TEXT = ("absmax", "rtn", "mse")
BLOCK_PREFIXES = ("q", "iq", "tq", "mxfp", "nvfp")
F32 = ["--activations", "f32", "--kv", "f32"]


def run(*command, seconds=None):
    """What it printed. seconds: how long it may take."""
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", timeout=seconds)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["exit code %d" % done.returncode])[-1])
    return done.stdout + done.stderr if "llama" in pathlib.Path(str(command[0])).name else done.stdout


class Bench:
    def __init__(self, options, directory):
        self.options, self.directory, self.count, self.end = options, pathlib.Path(directory), 0, None

    def run(self, *command, tool=None):
        """The same of nibble, or of another tool, within the time that is left."""
        if self.end is not None and self.end <= time.time():
            raise subprocess.TimeoutExpired(command, 0)
        return run(tool or self.options.nibble, *command, seconds=None if self.end is None else self.end - time.time())

    @staticmethod
    def remove(model):
        """A model that is not needed any more, and what a run that was cut short has left beside it."""
        for path in (model, model.with_name(model.name + ".training")):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def quantize(self, format_name, method, model=None, extra=(), suffix=None):
        """The output's path and the seconds it took. absmax: rtn on grids that reach the largest magnitude."""
        self.count += 1
        is_file = suffix == ".gguf" or (suffix is None and format_name.startswith(BLOCK_PREFIXES))
        output = self.directory / f"m{self.count}{'.gguf' if is_file else ''}"
        arguments = ["quantize", model or self.options.model, "-o", output, "--json", *extra]
        if format_name:
            arguments += ["-f", format_name]
        arguments += ["--method", "rtn", "--fit", "absmax"] if method == "absmax" else ["--method", method]
        if method not in WITHOUT_TEXT or not format_name:
            arguments += [*self.texts(), "--samples", self.options.samples, "--walk", self.options.walk]
        start = time.time()
        self.summary = json.loads(self.run(*arguments))
        return output, time.time() - start

    def judge(self, models, original=None, engine=F32, text=None):
        return json.loads(self.run("eval", *models, "--against", original or self.options.model, "--text", text or self.options.heldout, "--json", *engine))

    def texts(self):
        return sum((["--text", text] for text in self.options.text), [])

    def own_text(self):
        """What the model writes itself, drawn from its own distributions behind openings of the calibration text: more to learn from where a teacher is
        heard, as text of the kind that it was made for. Made once, in a third of the time that is left at most; none where --own is 0."""
        path = self.directory / "own.txt"
        if self.options.own and not path.exists():
            paragraphs = [part.split() for text in self.options.text for part in re.split(r"\n\s*\n", pathlib.Path(text).read_text())]
            paragraphs = [words for words in paragraphs if len(words) > 12]
            random = Random(1)
            pieces, start = [], time.time()
            until = None if self.end is None else start + (self.end - start) / 3
            for seed in range(self.options.own):
                if until is not None and time.time() > until:
                    break
                words = random.choice(paragraphs)
                begin = 0 if random.random() < 0.6 else random.randrange(len(words) - 12)
                opening = " ".join(words[begin:begin + random.choice((4, 8, 12))])
                drawn = ["--temperature", 1, "--top-k", 0, "--top-p", 1, "--min-p", 0, "--seed", seed]
                pieces.append(opening + self.run("run", self.options.model, "-p", opening, "-n", int(self.options.length) - 12, "-q", *drawn, *F32).rstrip())
            path.write_text("\n\n\n".join(pieces) + "\n")
            print(f"the model's own text: {len(pieces)} pieces of {self.options.own}, {time.time() - start:.0f} seconds", file=sys.stderr)
        return ["--text", path] if self.options.own else []

    def resolved(self, model):
        """The format of a model's Linears, as a shorthand came out (int2:g64: int2:g64:half)."""
        return collections.Counter(tensor["format"] for tensor in json.loads(self.run("inspect", model, "--json"))["tensors"]
                                   if tensor["format"].startswith("int")).most_common(1)[0][0]

    def texts_to_train_on(self):
        """The end of what was given is what training is judged by."""
        return [*self.own_text(), *self.texts()]

    def distill(self, model, extra, before=0):
        """The same with what lies beside its codes trained, and the seconds that took, with those before."""
        self.count += 1
        output = self.directory / f"m{self.count}{model.suffix}"
        texts = self.texts_to_train_on()
        start = time.time()
        self.run("distill", model, "--original", self.options.model, "-o", output, "--json", *extra, *texts)
        return output, before + time.time() - start

    def train(self, format_name, model, extra, before=0):
        """`model` trained further, the original its teacher, while it is rounded; and the seconds that took, with those before."""
        self.count += 1
        output = self.directory / f"m{self.count}"
        texts = self.texts_to_train_on()
        start = time.time()
        self.run("train", "--from", model, "--teacher", self.options.model, "--quantize", format_name, "-o", output, "--json",
                 "--batch", "4", "--held-out", "0.05", "--validate-every", "20", "--patience", "4", *extra, *texts)
        return output, before + time.time() - start

    def loss(self, format_name, method, model=None, original=None, engine=F32):
        output, seconds = self.quantize(format_name, method, model)
        result = self.judge([output], original or model, engine)["kl_mean"], seconds
        self.remove(output)
        return result

    def perplexity(self, model, engine):
        return json.loads(run(self.options.nibble, "eval", model, "--text", self.options.heldout, "--json", *engine))["perplexity"]


class LlamaJudge:
    """llama-perplexity's own mean KL divergence from the model, on the held-out text."""

    def __init__(self, bench):
        options = bench.options
        self.bench, self.tool = bench, pathlib.Path(options.llama) / "llama-perplexity"
        self.base, self.logits = bench.directory / "base.gguf", bench.directory / "logits.bin"
        self.arguments = ["-f", options.heldout, "-c", "512", "-t", str(os.cpu_count()), "--kl-divergence-base", self.logits]
        bench.run("convert", options.model, "-o", self.base, "--dtype", "f32")
        bench.run("-m", self.base, *self.arguments, tool=self.tool)

    def divergence(self, model):
        output = self.bench.run("-m", model, *self.arguments, "--kl-divergence", tool=self.tool)
        found = re.search(r"Mean\s+KLD:\s*([-0-9.]+)", output)
        if not found:
            raise RuntimeError("llama-perplexity tells no mean KLD: " + output[-500:])
        return float(found.group(1))


def table(bench):
    methods = bench.options.methods.split(",")
    print("| format | " + " | ".join(methods) + " |\n|---|" + "---|" * len(methods), flush=True)
    for format_name in bench.options.formats.split(","):
        cells, first = [], None
        for method in methods:
            try:
                loss, seconds = bench.loss(format_name, method)
            except RuntimeError as error:
                print(f"{format_name} {method}: {error}", file=sys.stderr)
                cells.append("-")
                continue
            first = loss if first is None else first
            change = "" if len(cells) == 0 else f", {100 * (loss / first - 1):+.0f} %"
            cells.append(f"{loss:.5f} ({seconds:.1f} s{change})")
        print(f"| {format_name} | " + " | ".join(cells) + " |", flush=True)


def twin(bench):
    """How much of what the twin adds to the loss a method removes again."""
    path = bench.directory / "twin"
    tool = pathlib.Path(__file__).parent.parent / "tools" / "make_outlier_twin.py"
    run(sys.executable, tool, bench.options.model, path)
    print("| format | method | original | twin | twin with the method | of the added loss removed |\n|---|---|---|---|---|---|", flush=True)
    int8 = ["--activations", "int8", "--kv", "f32"]
    for format_name, plain, method, engine in (("int4:g128", "absmax", "awq", F32), ("int4:g128", "imatrix", "awq", F32),
                                               ("int3:g128:sym", "imatrix", "awq", F32), ("int8:row", "absmax", "smoothquant", int8)):
        original, _ = bench.loss(format_name, plain, engine=engine)
        added, _ = bench.loss(format_name, plain, model=path, engine=engine)
        mended, _ = bench.loss(format_name, method, model=path, engine=engine)
        removed = 100 * (added - mended) / (added - original)
        print(f"| {format_name} | {plain}; {method} | {original:.5f} | {added:.5f} | {mended:.5f} | {removed:.0f} % |", flush=True)


def engine(bench):
    model = bench.options.model
    exact = bench.perplexity(model, F32)
    output, _ = bench.quantize("int8:row", "rtn")
    w8a8 = bench.perplexity(output, ["--activations", "int8", "--kv", "f32"])
    print(f"int8:row with int8 activations: perplexity {w8a8:.4f}, {100 * (w8a8 / exact - 1):+.2f} % of {exact:.4f}")
    # A quantized model keeps q8_0 by itself, its original f16: the pair shows what the cache adds.
    output, _ = bench.quantize("q8_0", "rtn")
    with_f16, with_q8 = (bench.judge([output], engine=["--activations", "f32", *kv])["kl_mean"] for kv in (["--kv", "f16"], []))
    print(f"q8_0 weights: KL {with_f16:.5f} with an f16 cache, {with_q8:.5f} with q8_0: {with_q8 - with_f16:+.5f}")
    q4 = bench.perplexity(model, ["--activations", "f32", "--kv", "q4_0"])
    print(f"q4_0 cache (keys rotated): perplexity {q4:.4f}, {100 * (q4 / exact - 1):+.2f} %", flush=True)


def cache(bench):
    """What keys and values in codes cost, values turned and not, on the model and on twins whose values, or keys and values, have outliers."""
    kinds = ("q8_0", "q8_0:rotated", "q4_0", "q4_0:rotated")
    tool = pathlib.Path(__file__).parent.parent / "tools" / "make_outlier_twin.py"
    print("| model | " + " | ".join(kinds) + " |\n|---|" + "---|" * len(kinds), flush=True)
    for name, factors in (("original", []), ("values x 10", ["--value-factor", 10]), ("keys and values x 10", ["--key-factor", 10, "--value-factor", 10])):
        path = bench.options.model
        if factors:
            path = bench.directory / "cached-twin"
            run(sys.executable, tool, bench.options.model, path, "--factor", 1, *factors)
        losses = [bench.judge([path], engine=["--activations", "f32", "--against-kv", "f16", "--kv", kind])["kl_mean"] for kind in kinds]
        print(f"| {name} | " + " | ".join(f"{loss:.6f}" for loss in losses) + " |", flush=True)


def tensor_bytes(bench, path):
    return sum(tensor["bytes"] for tensor in json.loads(run(bench.options.nibble, "inspect", path, "--json"))["tensors"])


def budget(bench):
    """The mix solved for the bytes of a uniform format or of a mix of llama.cpp's, all by one method."""
    print("| against | bytes | KL | solved mix, bytes | KL | difference, 95 % |\n|---|---|---|---|---|---|", flush=True)
    for format_name in ("q4_k", "q4_k_m", "q3_k_m"):
        for method in ("rtn", "gptq"):
            other, _ = bench.quantize(format_name, method)
            size = tensor_bytes(bench, other)
            bits = 8 * size / json.loads(run(bench.options.nibble, "inspect", other, "--json"))["parameters"]
            # Never more bytes: a thousandth of a bit below.
            mix, _ = bench.quantize("", method, extra=["--bpw", f"{bits - 0.0005:.5f}"], suffix=".gguf")
            verdict = bench.judge([mix, other])
            kl = [candidate["figures"]["kl_mean"]["value"] for candidate in verdict["candidates"]]
            difference = verdict["contests"][0]["kl_difference"]
            print(f"| {format_name}, {method} | {size} | {kl[1]:.5f} | {tensor_bytes(bench, mix)} | {kl[0]:.5f} | "
                  f"{difference['value']:+.5f} [{difference['low']:+.5f}, {difference['high']:+.5f}] |", flush=True)


def llama(bench):
    """llama-quantize with llama-imatrix beside us, both judged by llama-perplexity."""
    options = bench.options
    tools = pathlib.Path(options.llama)
    judge = LlamaJudge(bench)
    base, divergence = judge.base, judge.divergence
    text = bench.directory / "calibration.txt"
    text.write_text("".join(pathlib.Path(t).read_text() for t in options.text))
    imatrix = bench.directory / "imatrix.gguf"
    run(tools / "llama-imatrix", "-m", base, "-f", text, "-o", imatrix, "-c", "512", "-t", str(os.cpu_count()))

    print(f"| type | tensor bytes | llama-quantize, imatrix | nibble, {options.best} | ratio | nibble eval's ratio |\n|---|---|---|---|---|---|", flush=True)
    formats = LLAMA_FORMATS if options.formats == FORMATS else options.formats
    for format_name in formats.split(","):
        theirs = bench.directory / "theirs.gguf"
        run(tools / "llama-quantize", "--pure", "--imatrix", imatrix, base, theirs, format_name.upper(), str(os.cpu_count()))
        ours, _ = bench.quantize(format_name, options.best, model=base)
        sizes = tensor_bytes(bench, theirs), tensor_bytes(bench, ours)
        if sizes[0] != sizes[1]:
            raise RuntimeError(f"{format_name}: different sizes, {sizes[0]} and {sizes[1]} bytes")
        a, b = divergence(theirs), divergence(ours)
        own = [candidate["figures"]["kl_mean"]["value"] for candidate in bench.judge([theirs, ours], original=base)["candidates"]]
        print(f"| {format_name} | {sizes[0]} | {a:.5f} | {b:.5f} | {b / a:.2f} | {own[1] / own[0]:.2f} |", flush=True)


class KnownFigures:
    """Rows of an earlier go, kept in a file beside the settings that they were measured with, each of one format. path: None for none."""

    def __init__(self, path, settings):
        self.path = pathlib.Path(path) if path else None
        self.figures = {**settings, "rows": []}
        if self.path and self.path.exists():
            self.figures = json.loads(self.path.read_text())
            for name, wanted in settings.items():
                if self.figures.get(name) != wanted:
                    raise RuntimeError(f"{self.path} has figures with {name} {self.figures.get(name)}, not {wanted}: choose another file")

    def find(self, format_name):
        return next((row for row in self.figures["rows"] if row["format"] == format_name), None)

    def keep(self, row):
        self.figures["rows"].append(row)
        if self.path:
            beside = self.path.with_name(self.path.name + ".partial")
            beside.write_text(json.dumps(self.figures, indent=1) + "\n")
            os.replace(beside, self.path)


def trained(bench):
    """What gradients bring: moments that weigh by the loss (kl), layers that learn by them (blockwise), then the best of these trained while it is
    rounded, or distilled where all matrices are in codes. Lines as they are measured, then a row for each format; what --minutes leave no time for is a
    dash. With --llama what llama-perplexity says of the held-out text stands beside files of llama.cpp. With --json formats that were measured whole
    with the same settings are taken from there, and others kept there."""
    options = bench.options
    texts = [options.heldout, *options.also]
    bench.end = time.time() + 60 * options.minutes
    judge = None
    heads = [pathlib.Path(text).stem for text in texts] + (["llama-perplexity"] if options.llama else [])
    print(f"The best of a format is the one with the least loss on {heads[0]}.\n")
    print("| format | how | " + " | ".join(heads) + " | seconds |\n|---|---|" + "---|" * (len(heads) + 1), flush=True)

    settings = {"model": str(options.model), "texts": [*options.text, *texts], "samples": str(options.samples), "walk": options.walk,
                "steps": options.steps, "length": options.length, "own": options.own, "llama": bool(options.llama)}
    known = KnownFigures(options.json, settings)
    printed = []

    def show(line):
        print(line, flush=True)
        printed.append(line)

    def llama_figure(model):
        nonlocal judge
        if model.suffix != ".gguf":
            return "-"
        judge = judge or LlamaJudge(bench)
        return f"{judge.divergence(model):.5f}"

    def line(format_name, how, make):
        """What `make` gives, a model and the seconds that it took, and its losses on all texts; None where there is no time."""
        try:
            model, seconds = make()
            losses = [bench.judge([model], text=text)["kl_mean"] for text in texts]
            figures = [f"{loss:.5f}" for loss in losses] + ([llama_figure(model)] if options.llama else [])
        except subprocess.TimeoutExpired:
            print(f"{format_name}, {how}: no time is left", file=sys.stderr)
            return None
        except RuntimeError as error:
            print(f"{format_name}, {how}: {error}", file=sys.stderr)
            return None
        show(f"| {format_name} | {how} | " + " | ".join(figures) + f" | {seconds:.0f} |")
        return losses[0], model, seconds

    def train_gently(model, seconds):
        """Numbers that are rounded already and made for each other are to be left alone where no slope insists."""
        points = bench.resolved(model)
        return bench.train(points, model, [*steps, "--rate", GENTLE_RATE / 4 ** (int(points[3]) - 2)], seconds)

    def least(lines):
        return min((found for found in lines if found), default=None, key=lambda found: found[0])

    steps = ["--steps", options.steps, "--length", options.length]
    rows = []
    for format_name in (TRAINED_FORMATS if options.formats == FORMATS else options.formats).split(","):
        if row := known.find(format_name):
            print("\n".join(row["lines"]), flush=True)
            rows.append((format_name, row["losses"]))
            continue
        printed.clear()
        cells = [line(format_name, "rtn", lambda: bench.quantize(format_name, "rtn"))]
        for method, hessian in WITH_GRADIENTS:
            how = method if hessian == "plain" else f"{method}, {hessian}"
            make = lambda: bench.quantize(format_name, method, extra=["--hessian", hessian])
            if format_name not in ROUNDED_FORMATS:
                cells.append(line(format_name, how, make))
        best = least(cells[1:])
        for other in bench.directory.glob("m[0-9]*"):
            if not best or other != best[1]:
                bench.remove(other)
        if format_name in ROUNDED_FORMATS:
            cells.append(line(format_name, "trained while it is rounded", lambda: bench.train(format_name, options.model, steps)))
        elif best and format_name.startswith("int"):
            cells.append(line(format_name, "the best, trained while it is rounded", lambda: train_gently(*best[1:])))
        else:
            cells.append(best and line(format_name, "the best, distilled", lambda: bench.distill(best[1], [*steps, "--codes", "--train-embedding"], best[2])))
        for made in bench.directory.glob("m[0-9]*"):  # those of lines that failed among them
            bench.remove(made)
        losses = [cell and cell[0] for cell in cells]
        if all(cells):
            known.keep({"format": format_name, "losses": losses, "lines": [*printed]})
        rows.append((format_name, losses))
    names = [method if hessian == "plain" else f"{method}, {hessian}" for method, hessian in WITH_GRADIENTS]
    print("\n| format | rtn | " + " | ".join(names) + " | trained |\n|---|---|" + "---|" * len(names) + "---|")
    for format_name, losses in rows:
        if format_name in ROUNDED_FORMATS:
            losses = [losses[0], *[None] * len(names), losses[-1]]
        print(f"| {format_name} | " + " | ".join("-" if loss is None else f"{loss:.5f}" for loss in losses) + " |", flush=True)


def limit(bench):
    """What a format loses at its bits per weight of the Linear layers, by one method; for tools/draw_limit.py with --json. A format may have a
    transform (trellis2:l8@hadamard). What stands in that file by the same method is taken from there."""
    options = bench.options
    known = KnownFigures(options.json, {"method": options.best})
    print(f"| format | bits per weight | KL, {options.best} | seconds |\n|---|---|---|---|", flush=True)
    formats = LIMIT_FORMATS if options.formats == FORMATS else options.formats
    for name in formats.split(","):
        seconds, row = "known", known.find(name)
        if not row:
            format_name, _, transform = name.partition("@")
            model, took = bench.quantize(format_name, options.best, extra=["--transform", transform] if transform else ())
            row = {"format": name, "bits": bench.summary["linear_bits_per_weight"], "kl": bench.judge([model])["kl_mean"]}
            seconds = f"{took:.0f}"
            bench.remove(model)
            known.keep(row)
        print(f"| {name} | {row['bits']:.3f} | {row['kl']:.5f} | {seconds} |", flush=True)


def inputs(bench):
    """Rounded inputs of 8 and 4 bits, with and without rotation, by exact integer arithmetic (tools/simulate_activations.py); on the twin, too."""
    tools, twin_path = pathlib.Path(__file__).parent.parent / "tools", bench.directory / "twin"
    run(sys.executable, tools / "make_outlier_twin.py", bench.options.model, twin_path, "--factor", "30", "--gated-factor", "30", "--massive", "2")
    for model in (pathlib.Path(bench.options.model), twin_path):
        outputs = []
        for transform in ("none", "hadamard"):
            outputs.append(bench.directory / f"{model.name}_{transform}")
            bench.run("quantize", model, "-f", "int4:g128", "--method", "mse", "--transform", transform, "-o", outputs[-1])
        print(run(sys.executable, tools / "simulate_activations.py", bench.options.nibble, model, *outputs, "--text", bench.options.heldout,
                  "--calibration", bench.options.text[0]), flush=True)


PARTS = {"cache": cache, "inputs": inputs, "table": table, "trained": trained, "twin": twin, "engine": engine, "budget": budget, "llama": llama, "limit": limit}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nibble")
    parser.add_argument("model")
    parser.add_argument("--text", action="append", required=True, help="calibration text")
    parser.add_argument("--heldout", required=True, help="text to judge by")
    parser.add_argument("--also", action="append", default=[], help="a further text to judge by (part trained)")
    parser.add_argument("--parts", default="table", help="of " + ",".join(PARTS))
    parser.add_argument("--trained", action="store_const", dest="parts", const="trained", help="the part trained")
    parser.add_argument("--steps", default="300", help="of distillation, and of training while it is rounded, of 4 rows each (part trained)")
    parser.add_argument("--own", type=int, default=1500, help="pieces of text that the model writes itself, to be trained on beside --text (part trained)")
    parser.add_argument("--length", default="512", help="of its rows, in tokens; at most the model's context")
    parser.add_argument("--minutes", type=float, default=120, help="that the part trained may take; lines that would take longer are left out")
    parser.add_argument("--formats", default=FORMATS)
    parser.add_argument("--methods", default=METHODS, help="shares are of the first one's loss")
    parser.add_argument("--best", default="descent", help="the method that stands beside llama-quantize")
    parser.add_argument("--walk", default="auto", help="arithmetic of the calibration: f32, int8, auto")
    parser.add_argument("--samples", default=128)
    parser.add_argument("--json", help="a file for the figures of the parts limit and trained; what it has already is not measured again")
    parser.add_argument("--llama", help="directory of llama-quantize, llama-imatrix and llama-perplexity (parts llama and trained)")
    options = parser.parse_args()
    if options.json and {"limit", "trained"} <= set(options.parts.split(",")):
        parser.error("--json is a file of one part: limit or trained")
    if "llama" in options.parts.split(",") and not options.llama:
        parser.error("the part llama needs --llama DIRECTORY")
    with tempfile.TemporaryDirectory() as directory:
        for part in options.parts.split(","):
            PARTS[part](Bench(options, directory))
            print()


if __name__ == "__main__":
    main()
