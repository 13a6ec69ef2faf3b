# SPDX-License-Identifier: Apache-2.0
"""Writes reference figures of how far a changed model's hidden states are from the original's, computed by the `transformers` package.

    python tools/reference_layers.py tests/data/tiny_gqa_llama3rope --ids tests/data/logits/tiny_gqa_llama3rope/index.json \
        --scale model.layers.0.mlp.down_proj.weight=0.75 ... --out tests/data/layers/tiny_gqa_llama3rope.json

Windows as llama-perplexity cuts them; the changed model is the original with some tensors multiplied (in float32). Arithmetic in float64.
Every figure is a Frobenius norm over all scored positions of all windows, relative to the original's: of the residual stream that leaves a
layer, of what the layer adds to it, and of what it adds when it reads the original's stream instead of its own.
"""

import argparse
import json
import pathlib

import torch

from reference_logits import load_model


@torch.no_grad()
def streams(model, ids, held=None):
    """The residual stream before each layer and behind the last, [layers + 1, tokens, hidden]. held: streams that layers read instead."""
    entering, leaving = [], []

    def before(index):
        def hook(module, inputs, keywords):
            x = inputs[0] if inputs else keywords["hidden_states"]
            entering.append(x[0])
            if held is None:
                return None
            replaced = held[index][None]
            return ((replaced, *inputs[1:]), keywords) if inputs else (inputs, dict(keywords, hidden_states=replaced))

        return hook

    def after(module, inputs, output):
        leaving.append((output[0] if isinstance(output, tuple) else output).reshape(len(ids), -1))

    handles = []
    for index, layer in enumerate(model.model.layers):
        handles.append(layer.register_forward_pre_hook(before(index), with_kwargs=True))
        handles.append(layer.register_forward_hook(after))
    model(torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()
    return torch.stack([entering[0], *leaving])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--ids", type=pathlib.Path, required=True)
    parser.add_argument("--context", type=int, default=20)
    parser.add_argument("--bos", type=int, default=7)
    parser.add_argument("--scale", action="append", required=True, metavar="TENSOR=FACTOR")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    ids = json.loads(options.ids.read_text())["ids"]
    original, changed = load_model(options.model)[1], load_model(options.model)[1]
    factors = {name: float(factor) for name, factor in (item.split("=") for item in options.scale)}
    with torch.no_grad():
        for name, factor in factors.items():
            changed.state_dict()[name].mul_(torch.tensor(factor, dtype=torch.float32))
    original, changed = original.double(), changed.double()

    sums = {}
    scored = slice(options.context // 2, options.context - 1)
    for begin in range(0, len(ids) - options.context + 1, options.context):
        window = [options.bos, *ids[begin + 1 : begin + options.context]]
        x = streams(original, window)
        y = streams(changed, window)
        alone = streams(changed, window, held=x)
        squares = {
            "stream": x, "added": x.diff(dim=0), "residual": y - x, "output": y.diff(dim=0) - x.diff(dim=0), "local": (alone - x)[1:],
        }
        for key, value in squares.items():
            sums[key] = sums.get(key, 0) + value[:, scored].pow(2).sum(dim=(1, 2))
    residual, output, local = ((sums[a] / sums[b]).sqrt().tolist() for a, b in (("residual", "stream"), ("output", "added"), ("local", "added")))
    result = {
        "description": "relative errors of hidden states of the model with some tensors multiplied, by transformers in float64",
        "bos": options.bos,
        "context": options.context,
        "embedding": residual[0],
        "factors": factors,
        "layers": [{"residual": r, "output": o, "local": s} for r, o, s in zip(residual[1:], output, local)],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
