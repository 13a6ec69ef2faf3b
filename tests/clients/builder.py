#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds a package that GenAI's own model builder has made of the bundled model against ours of the same model.

    tests/clients/builder.py

The graphs are compared operator by operator: how many there are of each, and their attributes in order; EXPECTED lists where the two differ
and why, and what is listed has to be so. Then nibble reads the builder's package, which has no config.json: inspect, check, convert to its own
container with the same numbers, and the logits of every position against ONNX Runtime's of the same package, which is made to round no inputs.
Exit code 1 when anything is otherwise. Environment: as agree.py; the builder's by tests/clients/venv builder.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import agree
import exports

# Where the two differ, in the words of differences(), and why.
EXPECTED = {
    "ai.onnx Cast": ("2 of the builder, 13 of ours", "norms keep the type of the source, and a Cast widens each, where the builder writes f32"),
    "ai.onnx Cast to": ("6 and 1", "those of norms come before that of the mask"),
    "ai.onnx Constant": ("3 of the builder, 0 of ours", "small constants are initializers"),
    "ai.onnx Gather axis": ("0 and None", "left out, it means 0"),
    "opset ai.onnx": ("22 and 21", "no operator that is used has changed between them"),
}

GRAPH = """
import json, sys, onnx
model = onnx.load(sys.argv[1], load_external_data=False)
value = lambda a: onnx.helper.get_attribute_value(a) if a.type != onnx.AttributeProto.TENSOR else "tensor"
text = lambda v: v.decode() if isinstance(v, bytes) else round(v, 12) if isinstance(v, float) else v
nodes = [[(n.domain or "ai.onnx") + " " + n.op_type, {a.name: text(value(a)) for a in n.attribute}] for n in model.graph.node]
print(json.dumps({"opsets": {o.domain or "ai.onnx": o.version for o in model.opset_import}, "nodes": nodes}))
"""

EXACT_INPUTS = """
import sys, onnx
model = onnx.load(sys.argv[1], load_external_data=False)
for node in model.graph.node:
    for attribute in node.attribute:
        if attribute.name == "accuracy_level":
            attribute.i = 0
onnx.save(model, sys.argv[1])
"""


def differences(theirs, ours):
    """{what: words} of two graphs, each as GRAPH prints it."""
    found = {}
    for domain in sorted(theirs["opsets"].keys() | ours["opsets"].keys()):
        versions = theirs["opsets"].get(domain), ours["opsets"].get(domain)
        if versions[0] != versions[1]:
            found[f"opset {domain}"] = f"{versions[0]} and {versions[1]}"
    counts = [collections.Counter(name for name, _ in graph["nodes"]) for graph in (theirs, ours)]
    for name in sorted(counts[0].keys() | counts[1].keys()):
        if counts[0][name] != counts[1][name]:
            found[name] = f"{counts[0][name]} of the builder, {counts[1][name]} of ours"
        pairs = zip(*([attributes for other, attributes in graph["nodes"] if other == name] for graph in (theirs, ours)))
        for mine, other in pairs:
            for key in sorted(mine.keys() | other.keys()):
                if mine.get(key) != other.get(key):
                    found.setdefault(f"{name} {key}", f"{mine.get(key)} and {other.get(key)}")
    return found


def main():
    python = agree.output_of(agree.HERE / "venv", "builder").strip()
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        theirs, ours = scratch / "theirs", scratch / "ours"
        build = [python, "-m", "onnxruntime_genai.models.builder", "-i", agree.TALE, "-o", theirs, "-p", "int4", "-e", "cpu", "-c", scratch / "cache"]
        agree.output_of(*build)
        agree.output_of(agree.NIBBLE, "quantize", agree.TALE, "-f", "int4:g32", "--embedding", "int4:g32", "--to", "onnx-genai", "-o", ours)
        graphs = [json.loads(agree.output_of(python, "-c", GRAPH, directory / "model.onnx")) for directory in (theirs, ours)]
        found = differences(*graphs)
        for what in sorted(found.keys() | EXPECTED.keys()):
            words, reason = EXPECTED.get(what, (None, "not listed"))
            print(f"{what}: {found.get(what, 'no difference')} ({reason})")
            if found.get(what) != words:
                failures.append(f"{what}: {found.get(what)}, and not {words} as is listed")

        for command in (["check", theirs], ["convert", theirs, "-o", scratch / "copy"], ["check", scratch / "copy", "--against", theirs]):
            made = subprocess.run([str(word) for word in [agree.NIBBLE, *command]], capture_output=True, text=True)
            if made.returncode:
                failures.append(f"nibble {command[0]}: {made.stderr.strip()}")
        seen = json.loads(agree.output_of(agree.NIBBLE, "inspect", theirs, "--json"))
        source = json.loads(agree.output_of(agree.NIBBLE, "inspect", agree.TALE, "--json"))
        for key in ("architecture", "parameters", "vocabulary", "hidden", "layers", "context", "intermediate", "heads", "kv_heads", "head_dim", "rope_base", "tied_head"):
            if seen[key] != source[key]:
                failures.append(f"inspect: {key} is {seen[key]}, and {source[key]} of the model that it was made from")

        agree.output_of(python, "-c", EXACT_INPUTS, theirs / "model.onnx")
        prompt, out = agree.prompt_for(agree.TALE, exports.PROMPT), scratch / "read"
        job = {"model": str(theirs), "dtype": "float32", "ids": prompt, "new": exports.NEW, "out": str(out)}
        with open(scratch / "log", "w+") as log:
            agree.read_all("ort", [job], scratch, log)
            log.seek(0)
            if (out / "error").exists():
                failures.append(f"ONNX Runtime: {(out / 'error').read_text()}: {log.read()[-2000:]}")
            else:
                cells, well = agree.judge(theirs, agree.Theirs(out, prompt), exports.F32)
                print("logits: largest difference, divergence, same choice, where it leads, greedy:", *cells)
                if not well:
                    failures.append("logits differ")
    for failure in failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
