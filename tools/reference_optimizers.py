# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch's optimizers make of given numbers, and transformers' schedules of given steps, to tests/data/train/optimizers.json.

    python tools/reference_optimizers.py --out tests/data/train/optimizers.json

A matrix [6, 4] and its transpose start at numbers of a fixed rule and get gradients of a fixed rule in every step, clipped to a norm of 1 first
where the case says so. torch.optim.Muon makes its matrices orthogonal in bf16; here its function does so in f32, by the same coefficients.
"""

import argparse
import json
import pathlib

import torch
import torch.optim._muon as muon_module
import transformers

STEPS = 5
ROWS, COLS = 6, 4


def start(rows, cols):
    return torch.tensor([[((5 * r + 3 * c) % 11 - 5) / 8 for c in range(cols)] for r in range(rows)], dtype=torch.float32)


def slope(step, rows, cols):
    return torch.tensor([[((7 * r + 4 * c + 3 * step * (r + 1)) % 13 - 6) / 4 for c in range(cols)] for r in range(rows)], dtype=torch.float32)


def orthogonal(matrix, coefficients, steps, eps):
    a, b, c = coefficients
    x = matrix.T if matrix.size(0) > matrix.size(1) else matrix
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.size(0) > matrix.size(1) else x


CASES = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "sgd momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.1),
    "sgd nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, nesterov=True),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.9, 0.98), weight_decay=0.1),
    "adamw clipped": lambda p: torch.optim.AdamW(p, lr=0.02),
    "muon": lambda p: torch.optim.Muon(p, lr=0.02, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
    "muon plain": lambda p: torch.optim.Muon(p, lr=0.02, weight_decay=0.0, momentum=0.9, nesterov=False, adjust_lr_fn="match_rms_adamw"),
}


def run(name):
    matrices = [torch.nn.Parameter(start(ROWS, COLS)), torch.nn.Parameter(start(COLS, ROWS))]
    optimizer = CASES[name](matrices)
    norms = []
    for step in range(STEPS):
        for matrix in matrices:
            matrix.grad = slope(step, *matrix.shape)
        norms.append(float(torch.nn.utils.clip_grad_norm_(matrices, 1.0 if "clipped" in name else 1e9)))
        optimizer.step()
    return {"values": [m.detach().flatten().tolist() for m in matrices], "norms": norms}


def schedule(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(20):
        factors.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return factors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    muon_module._zeropower_via_newtonschulz = orthogonal
    schedules = {
        "linear": schedule(lambda o: transformers.get_linear_schedule_with_warmup(o, 4, 20)),
        "cosine": schedule(lambda o: transformers.get_cosine_schedule_with_warmup(o, 4, 20)),
        "constant": schedule(lambda o: transformers.get_constant_schedule_with_warmup(o, 4)),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({"steps": STEPS, "cases": {name: run(name) for name in CASES}, "schedules": schedules}) + "\n")


if __name__ == "__main__":
    main()
