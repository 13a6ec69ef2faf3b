#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hands nibble's exports to a foreign runtime and holds its logits and greedy continuations against nibble's own of the same directory.

    tests/clients/agree.py CLIENT [--model NAME]... [--export TEXT]...
    tests/clients/agree.py CLIENT --directory DIR...     directories that are there, whoever wrote them

CLIENT: mlx, ort, openvino, hf, vllm; with a GPU vllm-gpu, onnx-cuda, tensorrt, whose Python PYTHON_OF_CLIENT names (tests/clients/gpu).

Prints a table of export, model, largest difference of logits, mean divergence, in how many positions of how many both choose the same token,
and in how many the runtime's own greedy continuation is ours; what a runtime does not read stands in it with the reason. Exit code 1 when a
figure exceeds what exports.py allows. Environment: NIBBLE, LOGIT_GAP (default: the release build's), PYTHON_OF_CLIENT (default: venv's).
"""

import argparse
import array
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import exports

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TALE = ROOT / "tests" / "data" / exports.BUNDLED
NIBBLE = os.environ.get("NIBBLE", ROOT / "build/release/src/cli/nibble")
GAP = os.environ.get("LOGIT_GAP", ROOT / "build/release/tests/peer/logit_gap")
READERS = {
    "mlx": "mlx_reader.py",
    "hf": "transformers_reader.py",
    "vllm": "vllm_reader.py",
    "vllm-gpu": "vllm_reader.py",
    "ort": "ort_reader.py",
    "openvino": "openvino_reader.py",
    "onnx-cuda": "onnx_reader.py",
    "tensorrt": "onnx_reader.py",
}
LEAD_OF_GAP = 5e-3  # where logit_gap counts another choice


def output_of(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout


def prompt_for(directory, length):
    """The first tokens of a text where the vocabulary is the bundled model's, else random ones."""
    size = json.loads((directory / "config.json").read_text())["vocab_size"]
    if size == json.loads((TALE / "config.json").read_text())["vocab_size"]:
        return [int(word) for word in output_of(NIBBLE, "tokenize", TALE, "--text", TALE / "heldout.txt").split()[:length]]
    rng = random.Random(7)
    return [rng.randrange(2, size) for _ in range(length)]


class Theirs:
    """What a runtime made of a directory."""

    def __init__(self, folder, prompt):
        self.folder = folder
        self.ids = [int(word) for word in (folder / "ids").read_text().split()]
        self.made = range(len(prompt), len(self.ids))  # positions of the continuation
        logits = array.array("f", (folder / "logits").read_bytes())
        width = len(logits) // len(self.ids)
        self.rows = [logits[i : i + width] for i in range(0, len(logits), width)]
        self.finite = all(map(math.isfinite, logits))

    def lead(self, position):
        first, second = sorted(self.rows[position])[-2:][::-1]
        return first - second

    def choice(self, position):
        row = self.rows[position]
        return row.index(max(row))

    def gap(self, directory, arithmetic, rows=None, scale=1.0):
        """logit_gap's figures; choices stay what they are whatever logits are multiplied by, which sets the lead that counts."""
        file, ids = self.folder / "compared", self.folder / "ids_compared"
        rows = rows or self.rows
        ids.write_text(" ".join(map(str, self.ids[: len(rows)])))
        with open(file, "wb") as out:
            for row in rows:
                out.write(array.array("f", (scale * value for value in row)).tobytes())
        return json.loads(output_of(GAP, directory, ids, file, arithmetic))


def largest_difference(figures, rows):
    return figures["relative"] * max(abs(value) for row in rows for value in row)


def judge(directory, theirs, reading):
    """-> (cells of the table, whether all is well)."""
    lead = reading.lead or reading.largest
    count = len(theirs.ids)
    figures = theirs.gap(directory, reading.arithmetic)
    largest = largest_difference(figures, theirs.rows)
    first = largest_difference(theirs.gap(directory, reading.arithmetic, theirs.rows[:1]), theirs.rows[:1])
    same = count - theirs.gap(directory, reading.arithmetic, scale=1e6)["other_choice"]
    leads = [position for position in range(count) if theirs.lead(position) > lead]
    others = theirs.gap(directory, reading.arithmetic, scale=LEAD_OF_GAP / lead)["other_choice"]
    # What follows a position: the runtime's own continuation, against our choice after the same tokens.
    steps = [position for position in leads if position + 1 in theirs.made]
    zeros = array.array("f", bytes(4 * len(theirs.rows[0])))
    wanted = [zeros] * count
    for position in steps:
        wanted[position] = array.array("f", zeros)
        wanted[position][theirs.ids[position + 1]] = 1.0
    unlike = theirs.gap(directory, reading.arithmetic, wanted)["other_choice"] if steps else 0
    near = largest <= reading.largest and first <= (reading.first or reading.largest) and figures["kl"] <= reading.divergence
    well = theirs.finite and near and len(leads) >= reading.leads and not others and not unlike
    counted = f"{len(leads) - others}/{len(leads)}", f"{len(steps) - unlike}/{len(steps)}"
    cells = [f"{largest:.1e}", f"{figures['kl']:.1e}", f"{same}/{count}", *counted]
    return cells, well and len(theirs.made) == exports.NEW


def read_all(client, jobs, scratch, log):
    """Runs the client's reader, again for what follows a directory at which the runtime died."""
    python = os.environ.get("PYTHON_OF_CLIENT") or output_of(HERE / "venv", client).strip()
    while jobs:
        (scratch / "jobs.json").write_text(json.dumps(jobs))
        command = [python, HERE / READERS[client], scratch / "jobs.json"]
        code = subprocess.run(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode  # small models
        left = [job for job in jobs if not any((pathlib.Path(job["out"]) / name).exists() for name in ("ids", "error"))]
        if left:
            out = pathlib.Path(left[0]["out"])
            out.mkdir(parents=True, exist_ok=True)
            (out / "error").write_text(f"the runtime died, exit code {code}")
        jobs = left[1:]


def models_in(scratch, names, client):
    made = [name for name in names if name != exports.BUNDLED]
    if made:
        output_of(sys.executable, HERE.parent / "peer/random_models.py", HERE.parent / "data", TALE, scratch, *made)
    for name in made:
        config = scratch / name / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | exports.CHANGES.get((client, name), {})))
    return {name: TALE if name == exports.BUNDLED else scratch / name for name in names}


def say_inputs(path, inputs):
    config = json.loads(path.read_text())
    for group in config["quantization_config"]["config_groups"].values():
        group["input_activations"] = inputs
    path.write_text(json.dumps(config))


def exported(client, arguments, scratch, table):
    """Directories to read: (export, model, directory, Reading). What nibble or the runtime refuses goes into the table."""
    for name, model in models_in(scratch, arguments.model or exports.models_for(client), client).items():
        for number, export in enumerate(exports.EXPORTS):
            reading = export.readers.get(client)
            if reading is None or arguments.export and not any(word in export.name for word in arguments.export):
                continue
            refusal = reading if isinstance(reading, str) else reading.not_read.get(name)
            if refusal:
                table.add(export.name, name, f"not read: {refusal}")
                continue
            directory = scratch / f"{name}-{number}"
            command = [NIBBLE, "quantize", model, "-f", export.format, "--to", export.container, *export.options, "-o", directory]
            made = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=ROOT)
            if made.returncode:
                table.add(export.name, name, f"nibble: {made.stderr.strip()}", well=False)
                continue
            if reading.of(name).inputs:
                say_inputs(directory / "config.json", reading.of(name).inputs)
            yield export.name, name, directory, reading.of(name)


class Table:
    def __init__(self, client):
        print(f"| export, read by {client} | model | largest difference | divergence | same choice | where it leads | greedy | |")
        print("|---|---|---|---|---|---|---|---|")
        self.failed = 0

    def add(self, export, model, verdict, cells=("", "", "", "", ""), well=True):
        self.failed += not well
        print("|", " | ".join([export, model, *cells, " ".join(verdict.split()).replace("|", "/")[:200]]), "|", flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("client", choices=READERS)
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--export", action="append", default=[], help="only exports whose names contain one of these")
    parser.add_argument("--directory", nargs="+", type=pathlib.Path, default=[])
    arguments = parser.parse_args()
    table = Table(arguments.client)
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        if arguments.directory:
            given = exports.AS_GIVEN[arguments.client]
            parts = [(path.parent.name, path.name, path.resolve(), given.of(path.name)) for path in arguments.directory]
        else:
            parts = list(exported(arguments.client, arguments, scratch, table))
        length = exports.PROMPTS.get(arguments.client, exports.PROMPT)
        prompts = [prompt_for(directory, length) for _, _, directory, _ in parts]
        outs = [scratch / f"read-{i}" for i in range(len(parts))]
        jobs = [
            {"model": str(directory), "dtype": reading.dtype, "ids": prompt, "new": exports.NEW, "out": str(out)}
            for (_, _, directory, reading), prompt, out in zip(parts, prompts, outs)
        ]
        with open(scratch / "log", "w+") as log:
            read_all(arguments.client, jobs, scratch, log)
            for (export, model, directory, reading), prompt, out in zip(parts, prompts, outs):
                if (out / "error").exists():
                    table.add(export, model, f"FAILED: {(out / 'error').read_text()}", well=False)
                    continue
                try:
                    cells, well = judge(directory, Theirs(out, prompt), reading)
                except subprocess.CalledProcessError as failure:
                    table.add(export, model, f"FAILED: {failure.stderr.strip()}", well=False)
                    continue
                limits = f"largest <= {reading.largest:g}, divergence <= {reading.divergence:g}"
                table.add(export, model, "agrees" if well else f"DIFFERS ({limits})", cells, well)
            if table.failed:
                log.seek(0)
                sys.stderr.write(log.read()[-4000:])
    sys.exit(table.failed > 0)


if __name__ == "__main__":
    main()
