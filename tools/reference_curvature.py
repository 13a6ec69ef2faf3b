# SPDX-License-Identifier: Apache-2.0
"""Writes how the loss bends in a Linear's weights, as PyTorch's gradients tell, and what rounding by it chooses, as test data.

    python tools/reference_curvature.py tests/data/tiny_qwen3 --out tests/data/train/curvature.json

`curvature`: of a directory that `transformers` reads, in float64, of token windows that are made by ids(): of some Linears what each token weighs,
g^T O g, and O itself after three rounds of I <- sum (g^T O g) x x^T, O <- sum (x^T I x) g g^T from identities (YAQA, arXiv:2505.22988, with the
text's own next tokens): its diagonal, and its products with a vector. `streams`: the same of the stream behind a layer, O = sum g g^T there.
Each moment gives way to the identity, and what tokens weigh to 1, as far as few tokens make up all of it: n / (n + width / 2) of it stays, n the
effective number of tokens (sum of the traces)^2 / sum of their squares.

`rounding`: of random weights W, input moment I and output moment O the four-bit codes that are nearest, element after element, to
W + N_O^T E N_I + N_O^T E + E N_I, with E the errors made before and N the triangular factors in the order of falling diagonals, that of O with
blocks of eight rows, which do not see each other's errors; scales reach the largest of a row's targets. No target lies near the middle of two codes.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

LENGTH, WINDOWS, ROUNDS, BLOCK, DAMPING = 20, 5, 3, 8, 0.01
WATCHED = {"q": "model.layers.1.self_attn.q_proj", "down": "model.layers.1.mlp.down_proj", "up": "model.layers.0.mlp.up_proj"}


def ids():
    return torch.tensor([i * i * 7 % 199 for i in range(LENGTH * WINDOWS)]).reshape(WINDOWS, LENGTH)


def rounded(values):
    return [float(f"{value:.9g}") for value in values]


def curvature(path):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).eval()
    seen = {}

    def watch(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            output.retain_grad()
            seen[name] = inputs[0], output

        return hook

    modules = dict(model.named_modules())
    streams = {layer: f"model.layers.{layer}" for layer in range(model.config.num_hidden_layers)}
    for name in [*WATCHED.values(), *streams.values()]:
        modules[name].register_forward_hook(watch(name))
    tokens = ids()
    logits = model(tokens).logits[:, :-1]
    F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum").backward()
    found = {}
    for part, name in WATCHED.items():
        x, y = seen[name]
        x, g = x.detach().flatten(0, 1), y.grad.flatten(0, 1)
        of_inputs, of_outputs = torch.eye(x.shape[1], dtype=torch.float64), torch.eye(g.shape[1], dtype=torch.float64)
        for _ in range(ROUNDS):
            u, v = ((x @ of_inputs) * x).sum(1), ((g @ of_outputs) * g).sum(1)
            of_inputs, of_outputs = believed_moment(x, v), believed_moment(g, u)
        trust = believed_share(v, x.shape[1])
        weights = trust * v / v.mean() + 1 - trust
        found[part] = {"layer": int(name.split(".")[2]), "token_weights": rounded(weights.tolist()), **told(of_outputs)}
    of_streams = []
    for layer, name in streams.items():
        g = seen[name][1].grad.flatten(0, 1)
        of_streams.append({"layer": layer, **told(believed_moment(g, torch.ones(len(g), dtype=torch.float64)))})
    return {"length": LENGTH, "windows": WINDOWS, "rounds": ROUNDS, "linears": found, "streams": of_streams}


def believed_share(shares, width):
    tokens = shares.sum() ** 2 / (shares**2).sum()
    return tokens / (tokens + width / 2)


def believed_moment(vectors, weights):
    """sum of weight v v^T, 1 for the mean of its diagonal, the identity in the place of what is not believed of it."""
    moment = vectors.T @ (weights[:, None] * vectors)
    trust = believed_share(weights * (vectors**2).sum(1), vectors.shape[1])
    return trust * moment / moment.diagonal().mean() + (1 - trust) * torch.eye(vectors.shape[1], dtype=torch.float64)


def told(moment):
    """Of a moment enough to tell it from others: its diagonal, and its products with a vector."""
    probe = torch.tensor([(i * 13 % 29) / 14 - 1 for i in range(len(moment))], dtype=torch.float64)
    return {"diagonal": rounded(moment.diagonal().tolist()), "probed": rounded((moment @ probe).tolist())}


def unit_factor(moment, block):
    """The order of falling diagonals, and in it the upper triangular N of moment = N D N^T, D of blocks and N with identities for them."""
    order = np.argsort(-moment.diagonal(), kind="stable")
    damped = moment + DAMPING * moment.diagonal().mean() * np.eye(len(moment))
    backwards = damped[np.ix_(order, order)][::-1, ::-1]
    upper = np.linalg.cholesky(backwards)[::-1, ::-1]
    blocks = np.zeros_like(upper)
    for begin in range(0, len(upper), block):
        own = slice(begin, begin + block)
        blocks[own, own] = upper[own, own]
    return order, upper @ np.linalg.inv(blocks)


def rounding():
    random = np.random.default_rng(7)
    rows, cols = 28, 24
    weights = np.float32(random.normal(size=(rows, cols)))
    moments = []
    for n in (cols, rows):
        mixed = random.normal(size=(n, n)) @ random.normal(size=(n, 3 * n)) * random.uniform(0.3, 2, size=(n, 1))
        moments.append(np.float32(mixed @ mixed.T / n / n))
    column_order, of_columns = unit_factor(np.float64(moments[0]), 1)
    row_order, of_rows = unit_factor(np.float64(moments[1]), BLOCK)
    of_columns -= np.eye(cols)
    of_rows -= np.eye(rows)
    w = np.float64(weights)[np.ix_(row_order, column_order)]
    errors, stored, margin = np.zeros((rows, cols)), np.zeros((rows, cols)), 1.0
    for j in range(rows):
        base = w[j] + of_rows[:j, j] @ errors[:j]
        scale = np.float64(np.float32(np.abs(base).max() / 7.5))
        for c in range(cols):
            target = w[j, c] + of_rows[:, j] @ errors @ of_columns[:, c] + of_rows[:, j] @ errors[:, c] + errors[j] @ of_columns[:, c]
            code = np.clip(np.round(target / scale), -8, 7)
            if -8.5 < target / scale < 7.5:
                margin = min(margin, abs(abs(target / scale - np.floor(target / scale)) - 0.5))
            stored[j, c] = code * scale
            errors[j, c] = w[j, c] - stored[j, c]
    assert margin > 1e-4, margin
    back = np.empty_like(stored)
    back[np.ix_(row_order, column_order)] = stored
    return {"rows": rows, "cols": cols, "weights": rounded(weights.flatten()), "inputs": rounded(moments[0].flatten()),
            "outputs": rounded(moments[1].flatten()), "stored": rounded(back.flatten())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.out.write_text(json.dumps({"curvature": curvature(options.model), "rounding": rounding()}) + "\n")


if __name__ == "__main__":
    main()
