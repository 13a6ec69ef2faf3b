# SPDX-License-Identifier: Apache-2.0
"""Writes gradients that PyTorch's automatic differentiation finds, as test data.

    python tools/reference_gradients.py operations --out tests/data/gradients/operations.json
    python tools/reference_gradients.py model tests/data/tiny_qwen3 --out tests/data/gradients/tiny_qwen3.json

`operations`: of every operation that drawings consist of, in float64. Numbers that go in are made by number() on both sides; what is
differentiated is the sum of the output's numbers, each times a number of its own. The test that reads the file has the same cases, by name.

`model`: of a directory that `transformers` reads, in float64: the mean cross-entropy of next tokens, and the mean divergence from logits that
are made by number(), of token windows that are made likewise; of each tensor's gradient the norm and its sums with four vectors of numbers.
"""

import argparse
import json
import math
import pathlib

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM
from transformers.models.qwen3_5.modeling_qwen3_5 import torch_recurrent_gated_delta_rule

WATCHED = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "model.layers.1.mlp.down_proj")
KEEP, OUTPUT, INPUTS, WEIGHTS = 9, 7, 10, 100  # digits that are written; what numbers are made from


def number(seed, i):
    return ((i * 7919 + seed * 104729 + i * i * 31) % 4096) / 1024 - 2


def numbers(seed, *shape):
    return torch.tensor([number(seed, i) for i in range(math.prod(shape))], dtype=torch.float64).reshape(shape)


def routing(seed, tokens, experts):
    """Of three experts in a row one is not asked."""
    x = numbers(seed, tokens, experts)
    return torch.tensor([[0.0 if (t + e) % 3 == 0 else float(x[t, e]) for e in range(experts)] for t in range(tokens)], dtype=torch.float64)


def heads(x, head_dim):
    return x.reshape(len(x), -1, head_dim)


def grouped(f, group):
    return lambda x, *w: f(heads(x, group), *w).flatten(1)


def rope(head_dim, frequencies, half_split=True, magnitude=1.0):
    def f(x):
        n = len(frequencies)
        h = heads(x, head_dim)
        angles = torch.arange(len(x), dtype=torch.float64)[:, None] * torch.tensor(frequencies, dtype=torch.float64)
        c, s = angles.cos()[:, None], angles.sin()[:, None]
        a, b = (h[..., :n], h[..., n : 2 * n]) if half_split else (h[..., 0 : 2 * n : 2], h[..., 1 : 2 * n : 2])
        first, second = (a * c - b * s) * magnitude, (a * s + b * c) * magnitude
        turned = torch.cat([first, second], -1) if half_split else torch.stack([first, second], -1).flatten(-2)
        return torch.cat([turned, h[..., 2 * n :]], -1).flatten(1)

    return f


def attention(count, kv, dim, scale, window=0, cap=0.0, has_sinks=False):
    def f(q, k, v, *sinks):
        n = len(q)
        q, k, v = (heads(x, dim).transpose(0, 1) for x in (q, k, v))
        k, v = k.repeat_interleave(count // kv, 0), v.repeat_interleave(count // kv, 0)
        scores = q @ k.transpose(1, 2) * scale
        if cap:
            scores = cap * torch.tanh(scores / cap)
        t = torch.arange(n)
        unseen = t[None] > t[:, None]
        if window:
            unseen |= t[None] <= t[:, None] - window
        scores = scores.masked_fill(unseen, -torch.inf)
        if has_sinks:
            scores = torch.cat([scores, sinks[0][:, None, None].expand(count, n, 1)], -1)
        shares = torch.softmax(scores, -1)[..., :n]
        return (shares @ v).transpose(0, 1).flatten(1)

    return f


def route(used, normalizes=True, is_sigmoid=False, is_corrected=False, groups=1, groups_used=1, counted=2, factor=1.0, offset=0.0):
    def f(logits, *vectors):
        scores = torch.sigmoid(logits) if is_sigmoid else torch.softmax(logits, -1)
        by = (scores + vectors[0] if is_corrected else scores).reshape(len(logits), groups, -1)
        kept = torch.topk(torch.topk(by, min(counted, by.shape[-1]), -1)[0].sum(-1), groups_used)[1]
        is_kept = torch.zeros(by.shape[:2], dtype=torch.bool).scatter(1, kept, True)
        chosen = torch.topk(by.masked_fill(~is_kept[..., None], -torch.inf).flatten(1), used)[1]
        shares = scores.gather(1, chosen)
        if normalizes:
            shares = shares / (shares.sum(-1, keepdim=True) + offset)
        weights = torch.zeros_like(logits).scatter(1, chosen, shares * factor)
        return weights if is_corrected or not vectors else weights * vectors[0]

    return f


def latent_attention(count, key, turned, value, scale):
    def f(q, q_turned, kv, k_turned):
        n = len(q)
        q = torch.cat([heads(q, key), heads(q_turned, turned)], -1).transpose(0, 1)
        k, v = heads(kv, key + value).transpose(0, 1).split([key, value], -1)
        k = torch.cat([k, k_turned[None].expand(count, n, turned)], -1)
        scores = (q @ k.transpose(1, 2) * scale).masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf)
        return (torch.softmax(scores, -1) @ v).transpose(0, 1).flatten(1)

    return f


def clamped_swiglu(alpha, limit):
    def f(gate, up):
        gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
        return gate * torch.sigmoid(alpha * gate) * (up + 1)

    return f


def convolution(taps):
    def f(x, w):
        return F.conv1d(F.pad(x.T[None], (taps - 1, 0)), w[:, None], groups=x.shape[1])[0].T

    return f


def delta_rule(key_heads, count, key_dim, value_dim, tiles):
    """As transformers has it, which divides queries by the root of the key's length."""

    def f(q, k, v, a, b, rate, bias):
        place = [h % key_heads if tiles else h // (count // key_heads) for h in range(count)]
        q, k = (heads(x, key_dim)[:, place][None] for x in (q, k))
        decay, learns = (rate * F.softplus(a + bias))[None], torch.sigmoid(b)[None]
        y, _ = torch_recurrent_gated_delta_rule(q, k, heads(v, value_dim)[None], decay, learns, None, False)
        return y[0].flatten(1).double() * math.sqrt(key_dim)

    return f


def experts(x, asked, *weights):
    """weights: all matrices, then all biases."""
    count = asked.shape[1]
    biases = weights[count:] or [0] * count
    given = x if x.dim() == 3 else x[:, None].expand(-1, count, -1)
    y = torch.stack([given[:, e] @ weights[e].T + biases[e] for e in range(count)], 1)
    return y * (asked != 0)[..., None]


def rms_norm(x, w):
    return F.rms_norm(x, (x.shape[-1],), w, 0.5)


def l2_norm(x):
    return x / torch.sqrt((x * x).sum(-1, keepdim=True) + 0.5)


def position_factors(x):
    return x * (1 + 0.25 * torch.log1p(torch.arange(len(x), dtype=torch.float64) // 2))[:, None]


def cases():
    """name -> inputs, weights, function. Tokens: five."""
    t = 5

    def x(*widths):
        return [numbers(INPUTS + i, t, w) for i, w in enumerate(widths)]

    def w(*shapes):
        return [numbers(WEIGHTS + i, *s) for i, s in enumerate(shapes)]

    asked, rates = routing(INPUTS + 1, t, 4), -numbers(WEIGHTS, 4).abs() - 0.25
    delta = [numbers(INPUTS + i, t, n) / 2 for i, n in enumerate((6, 6, 8, 4, 4))]
    biases = w((4,), (4,))[1]
    ids = torch.tensor([3, 0, 3, 5, 1])
    return {
        "add": (x(6, 6), [], torch.add),
        "multiply": (x(6, 6), [], torch.mul),
        "scale": (x(6), [], lambda a: 1.5 * a),
        "gain": (x(6), w((1,)), torch.mul),
        "position_scale": (x(6), [], position_factors),
        "scale_tokens": (x(6, 1), [], torch.mul),
        "sigmoid": (x(6), [], torch.sigmoid),
        "silu": (x(6), [], F.silu),
        "gelu": (x(6), [], lambda a: F.gelu(a, approximate="tanh")),
        "squared_relu": (x(6), [], lambda a: F.relu(a).square()),
        "soft_cap": (x(6), [], lambda a: 1.5 * torch.tanh(a / 1.5)),
        "slice": (x(6), [], lambda a: a[:, 1:3]),
        "slice of heads": (x(6), [], grouped(lambda a: a[..., 1:3], 3)),
        "clamped_swiglu": (x(6, 6), [], clamped_swiglu(1.75, 1.03)),
        "embedding": ([], w((6, 4)), lambda rows: rows[ids]),
        "l2_norm": (x(6), [], l2_norm),
        "l2_norm of heads": (x(6), [], grouped(l2_norm, 3)),
        "rms_norm": (x(6), w((6,)), rms_norm),
        "rms_norm of heads": (x(6), w((3,)), grouped(rms_norm, 3)),
        "linear": (x(6), w((4, 6)), lambda a, m: a @ m.T),
        "linear with a bias": (x(6), w((4, 6), (4,)), lambda a, m, b: a @ m.T + b),
        "expert_linear": ([*x(6), asked], w(*[(3, 6)] * 4), experts),
        "expert_linear with biases": ([*x(6), asked], w(*[(3, 6)] * 4, *[(3,)] * 4), experts),
        "expert_linear of own inputs": ([numbers(INPUTS, t, 4, 3), asked], w(*[(2, 3)] * 4), experts),
        "mix_experts": ([numbers(INPUTS, t, 4, 3) * (asked != 0)[..., None], asked], [], lambda a, r: (a * r[..., None]).sum(1)),
        "causal_convolution": (x(6), w((6, 3)), convolution(3)),
        "rope": (x(8), [], rope(4, [1.0, 0.25])),
        "rope of neighbours": (x(8), [], rope(4, [1.0, 0.25], half_split=False)),
        "rope of a part": (x(12), [], rope(6, [1.0, 0.25], magnitude=1.5)),
        "rope of long sequences": (x(8), [], rope(4, [0.5, 0.125])),
        "route": (x(5), [], route(2)),
        "route by all": (x(5), [], route(2, normalizes=False)),
        "route with scales": (x(5), w((5,)), route(3)),
        "route by sigmoids": (x(5), w((5,)), route(2, True, True, True, factor=2.5)),
        "route by sigmoids as they are": (x(5), w((5,)), route(2, False, True)),
        "route within groups": (x(6), [], route(2, False, groups=3, groups_used=2, counted=1)),
        "route by sigmoids within groups": (x(6), [], route(3, True, True, groups=2, groups_used=1, offset=0.25)),
        "attention": (x(8, 4, 4), [], attention(4, 2, 2, 0.5)),
        "attention within a window": (x(8, 4, 4), [], attention(4, 2, 2, 0.5, window=2)),
        "attention under a cap": (x(8, 4, 4), [], attention(4, 2, 2, 0.5, cap=1.5)),
        "attention with sinks": (x(8, 4, 4), w((4,)), attention(4, 2, 2, 0.5, has_sinks=True)),
        "attention with all of them": (x(8, 4, 4), w((4,)), attention(4, 2, 2, 0.5, 3, 1.5, True)),
        "latent_attention": (x(6, 4, 10, 2), [], latent_attention(2, 3, 2, 2, 0.5)),
        "gated_delta_rule": (delta, [rates, biases], delta_rule(2, 4, 3, 2, False)),
        "gated_delta_rule of tiles": (delta, [rates, biases], delta_rule(2, 4, 3, 2, True)),
    }


def rounded(tensor):
    return [float(f"{v:.{KEEP}g}") for v in tensor.flatten().tolist()]


def operations():
    result = {}
    for name, (inputs, weights, f) in cases().items():
        variables = [v.clone().requires_grad_() for v in (*inputs, *weights)]
        y = f(*variables)
        loss = (y.flatten() * numbers(OUTPUT, y.numel())).sum()
        gradients = torch.autograd.grad(loss, variables, allow_unused=True)
        found = [torch.zeros_like(v) if g is None else g for v, g in zip(variables, gradients)]
        result[name] = {
            "sum": float(f"{float(loss.detach()):.{KEEP}g}"),
            "inputs": [rounded(g) for g in found[: len(inputs)]],
            "weights": [rounded(g) for g in found[len(inputs) :]],
        }
    return result


def by_expert(gradients):
    """Stacks of gates and ups, and of what leads down, by the names that files have for each expert's. Those that have biases (gpt-oss) hold
    columns by rows, a gate and an up in turn; others rows by columns, all gates first."""
    result = {}
    for name, g in gradients.items():
        base, has_biases = name.rpartition("experts.")[0] + "experts.", name.rpartition("proj")[0] + "proj_bias" in gradients
        if name.endswith("experts.gate_up_proj"):
            for e in range(len(g)):
                gate, up = (g[e].T[0::2], g[e].T[1::2]) if has_biases else g[e].chunk(2)
                result[f"{base}{e}.gate_proj.weight"], result[f"{base}{e}.up_proj.weight"] = gate.contiguous(), up.contiguous()
        elif name.endswith("experts.down_proj"):
            for e in range(len(g)):
                result[f"{base}{e}.down_proj.weight"] = (g[e].T if has_biases else g[e]).contiguous()
        elif name.endswith("experts.gate_up_proj_bias"):
            for e in range(len(g)):
                result[f"{base}{e}.gate_proj.bias"], result[f"{base}{e}.up_proj.bias"] = g[e][0::2].contiguous(), g[e][1::2].contiguous()
        elif name.endswith("experts.down_proj_bias"):
            result |= {f"{base}{e}.down_proj.bias": g[e] for e in range(len(g))}
        else:
            result[name] = g
    return result


def described(gradients):
    result = {}
    for name, g in by_expert(gradients).items():
        g = g.double().flatten()
        index = torch.arange(len(g), dtype=torch.int64)
        vectors = [((index * 7919 + seed * 104729 + index * index * 31) % 4096).double() / 1024 - 2 for seed in range(4)]
        result[name] = {"norm": float(f"{float(g.norm()):.{KEEP}g}"), "sums": [float(f"{float(g @ v):.{KEEP}g}") for v in vectors]}
    return result


def model_gradients(directory):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager").double()
    for module in model.modules():
        if isinstance(module, torch.nn.Embedding):
            module.padding_idx = None  # whose row would have no gradient
    vocabulary, windows, length = model.config.get_text_config().vocab_size, 3, 24
    ids = torch.tensor([[int((number(w, i) + 2) * 1024) * 13 % vocabulary for i in range(length + 1)] for w in range(windows)])
    teacher = torch.stack([numbers(50 + w, length, vocabulary) for w in range(windows)])
    result, outputs = {"windows": ids.tolist()}, {}
    for name, module in model.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: outputs.__setitem__(name, output))
    parameters = dict(model.named_parameters())
    parameters |= {name: b.requires_grad_() for name, b in model.named_buffers() if name.endswith("layer_scalar")}  # which is stored, too
    for kind in ("next_token", "divergence"):
        logits = model(ids[:, :-1], use_cache=False).logits.double()
        if kind == "next_token":
            loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        else:
            loss = F.kl_div(F.log_softmax(logits, -1), F.log_softmax(teacher, -1), log_target=True, reduction="sum") / (windows * length)
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, retain_graph=True)
        found = {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(parameters.items(), gradients)}
        if kind == "next_token":
            by = torch.autograd.grad(loss, [outputs[name] for name in WATCHED if name in outputs], allow_unused=True)
            result["output_squares"] = {n: rounded(g.pow(2).sum(-1)) for n, g in zip([n for n in WATCHED if n in outputs], by)}
        result[kind] = {"loss": float(f"{float(loss.detach()):.{KEEP}g}"), "gradients": described(found)}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("operations", "model"))
    parser.add_argument("model", nargs="?", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    result = operations() if options.what == "operations" else model_gradients(options.model)
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
    options.out.write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
