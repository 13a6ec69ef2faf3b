#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PyTorch makes of AdaRound (arXiv:2004.10568) on two small layers to tests/data/nets/adaptive_rounding.json.

    python tools/reference_adaptive_rounding.py --out tests/data/nets/adaptive_rounding.json

A weight is its scale times floor(w / s) + h(V), h a sigmoid stretched to -0.1 .. 1.1 and cut to 0 .. 1. The loss of a row is the mean square of
what is made behind an activation that clamps, less what should be, over that of nearest rounding; and lambda times the mean of
1 - |2 h - 1| ^ beta over its weights. V begins where h leaves weights as they are, but
a hundredth from where it is cut. Slopes are autograd's, steps torch.optim.Adam's, in f64.
"""
import argparse
import json
import math

import torch

ROWS, COLS, TOKENS = 6, 10, 48
STEPS, BATCH, RATE, LAMBDA, WARM_UP, BETAS = 200, 16, 0.02, 10.0, 0.2, (20.0, 2.0)
LOW, HIGH = -8, 7
SEEDS = (4, 5, 5)
SLOPE_BETA = 3.0


def short(x):
    """Enough digits for f32."""
    return [float(f"{value:.9g}") for value in x.flatten().tolist()]


def f32(x):
    return x.to(torch.float32).to(torch.float64)


class Layer:
    def __init__(self, seed, least, most):
        generator = torch.Generator().manual_seed(seed)
        mixing = torch.randn(COLS, COLS, generator=generator, dtype=torch.float64)
        self.x = f32(torch.randn(TOKENS, COLS, generator=generator, dtype=torch.float64) @ mixing / 3)
        self.w = f32(torch.randn(ROWS, COLS, generator=generator, dtype=torch.float64))
        self.bias = f32(0.3 * torch.randn(ROWS, generator=generator, dtype=torch.float64))
        # So small that the largest weights are cut.
        self.scales = f32(self.w.abs().amax(1) / 8.2)
        self.least, self.most = least, most
        # What rounded layers make differs from what the original's made.
        original = self.x + 0.05 * torch.randn(TOKENS, COLS, generator=generator, dtype=torch.float64)
        self.y = f32(self.behind(original @ self.w.T + self.bias))
        places = self.w / self.scales[:, None]
        self.floors = places.floor().clamp(LOW, HIGH - 1)
        above = (places - self.floors).clamp(0.01, 0.99)
        self.v = (-torch.log(1.2 / (above + 0.1) - 1)).requires_grad_()
        self.nearest_errors = self.errors(self.scales[:, None] * places.round().clamp(LOW, HIGH))

    def behind(self, made):
        return made.clamp(self.least, self.most)

    def errors(self, weights, tokens=slice(None)):
        return ((self.behind(self.x[tokens] @ weights.T + self.bias) - self.y[tokens]) ** 2).mean(0)

    def loss(self, tokens, beta):
        h = (1.2 * torch.sigmoid(self.v) - 0.1).clamp(0, 1)
        loss = (self.errors(self.scales[:, None] * (self.floors + h), tokens) / self.nearest_errors).sum()
        return loss + LAMBDA * (1 - (2 * h - 1).abs() ** beta).mean(1).sum() if beta else loss

    def learn(self):
        adam = torch.optim.Adam([self.v], lr=RATE)
        first = 0
        for step in range(STEPS):
            if first + BATCH > TOKENS:
                first = 0
            warm = WARM_UP * STEPS
            beta = BETAS[0] + (BETAS[1] - BETAS[0]) * (step - warm) / (STEPS - warm) if step >= warm else 0
            adam.zero_grad()
            self.loss(slice(first, first + BATCH), beta).backward()
            adam.step()
            first += BATCH

    def codes(self):
        return self.floors + (self.v > 0)


def case(name, seed, least, most):
    torch.set_num_threads(1)
    layer = Layer(seed, least, most)
    loss = layer.loss(slice(0, BATCH), SLOPE_BETA)
    loss.backward()
    made = {
        "name": name, "least": None if math.isinf(least) else least, "most": None if math.isinf(most) else most,
        "x": short(layer.x), "y": short(layer.y), "weights": short(layer.w), "bias": short(layer.bias), "scales": short(layer.scales),
        "begin": short(layer.v.detach()), "loss": loss.item(), "slopes": short(layer.v.grad),
    }  # fmt: skip
    layer.v.grad = None
    layer.learn()
    codes = layer.codes()
    # Other arithmetic may not decide otherwise.
    assert layer.v.detach().abs().min() > 0.02, layer.v.detach().abs().min()
    nearest = (layer.w / layer.scales[:, None]).round().clamp(LOW, HIGH)
    error = layer.errors(layer.scales[:, None] * codes).sum().item()
    print(f"{name}: {int((codes != nearest).sum())} of {codes.numel()} codes are not the nearest, error {error / layer.nearest_errors.sum().item():.3f} of that")
    return made | {"variables": short(layer.v.detach()), "codes": [int(c) for c in codes.flatten().tolist()], "error": error, "nearest_error": layer.nearest_errors.sum().item()}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--out", required=True)
    given = arguments.parse_args()
    made = {
        "rows": ROWS, "cols": COLS, "low": LOW, "high": HIGH, "steps": STEPS, "batch": BATCH, "rate": RATE, "lambda": LAMBDA, "warm_up": WARM_UP,
        "beta_first": BETAS[0], "beta_last": BETAS[1], "slope_beta": SLOPE_BETA,
        "cases": [case("linear", SEEDS[0], -math.inf, math.inf), case("relu", SEEDS[1], 0.0, math.inf), case("clip", SEEDS[2], 0.0, 1.5)],
    }  # fmt: skip
    with open(given.out, "w") as file:
        json.dump(made, file)
        file.write("\n")


if __name__ == "__main__":
    main()
