# SPDX-License-Identifier: Apache-2.0
"""Perplexity of the bundled model on its held-out text, as stored and with the Linear weights rounded to few bits.

    python tools/judge_rounding.py --model models/fable-5M

Windows of 512 tokens that do not overlap, each starting with <|begin_of_text|> (which takes one of the 512 places); all tokens after it
count. Rounding is to nearest on symmetric absmax grids per run of 32 inputs, full code range: scale = amax / (2^(b-1) - 1/2), or
amax / 127 at 8 bits. float32 arithmetic.
"""

import argparse
import math
import pathlib

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from decoder import load

WINDOW, GROUP = 512, 32


def round_weights(w, bits):
    blocks = w.view(-1, GROUP)
    top = blocks.abs().amax(dim=1, keepdim=True)
    low, high = (-127, 127) if bits == 8 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    scale = top / (127 if bits == 8 else 2 ** (bits - 1) - 0.5)
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (torch.clamp(torch.round(blocks / scale), low, high) * scale).view_as(w)


@torch.no_grad()
def token_losses(model, windows):
    parts = []
    for batch in windows.split(8):
        logits = model(batch)[:, :-1]
        parts.append(F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="none").double())
    return torch.cat(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--bits", type=int, nargs="*", default=[8, 4, 3, 2])
    parser.add_argument("--windows", type=int, default=0, help="use only so many windows")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    text = (arguments.model / "heldout.txt").read_text(encoding="utf-8")
    ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)
    count = len(ids) // (WINDOW - 1)
    begin = torch.full((count, 1), tokenizer.token_to_id("<|begin_of_text|>"))
    windows = torch.cat((begin, ids[: count * (WINDOW - 1)].view(count, WINDOW - 1)), dim=1)
    if arguments.windows:
        windows = windows[: arguments.windows]
    reference = token_losses(load(arguments.model), windows)
    base = math.exp(reference.mean())
    print(f"windows {len(windows)}  tokens {len(reference)}  bf16 perplexity {base:.4f}")
    for bits in arguments.bits:
        model = load(arguments.model)
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.data = round_weights(module.weight.data, bits)
        losses = token_losses(model, windows)
        difference = losses - reference
        error = 100 * difference.std() / math.sqrt(len(difference))
        rise = 100 * (math.exp(difference.mean()) - 1)
        print(f"{bits} bits: perplexity {math.exp(losses.mean()):.4f}  rise {rise:+.3f} %  (standard error {error:.3f} %)")


if __name__ == "__main__":
    main()
