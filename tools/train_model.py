# SPDX-License-Identifier: Apache-2.0
"""Trains the bundled model on text of story_grammar.py. One thread of a CPU is enough.

    python tools/story_grammar.py --split vocabulary --megabytes 4 --out vocabulary.txt
    nibble train-tokenizer --text vocabulary.txt --size 3072 -o models/tale-4M
    python tools/story_grammar.py --split train --megabytes 90 --out train.txt
    python tools/train_model.py --text train.txt --model models/tale-4M --minutes 80

Windows of 512 tokens (256 in the first half of the time) start with <|begin_of_text|>. The learning rate follows the clock: it rises for
1 % of --minutes, stays, and from 30 % on falls to zero as a cosine. So the result depends on the speed of the machine and is not
reproducible to the bit.
"""

import argparse
import itertools
import math
import pathlib
import random
import time

import numpy
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from decoder import Decoder, save, tale_config

LENGTH = 512
END_SHARE = 0.15  # of the documents end in <|end_of_text|><|begin_of_text|> instead of blank lines
SHORT_SHARE = 0.5  # of the time goes to windows of half the length, which cost less


def tokenize(text_path, tokenizer):
    """All documents as one stream of token ids."""
    begin, end = tokenizer.token_to_id("<|begin_of_text|>"), tokenizer.token_to_id("<|end_of_text|>")
    rng, parts, pending = random.Random(7), [], []

    def flush():
        encodings = tokenizer.encode_batch(["".join(p) for p, _ in pending], add_special_tokens=False)
        for (_, closed), encoding in zip(pending, encodings):
            parts.append(numpy.array(encoding.ids + ([end, begin] if closed else []), dtype=numpy.int32))
        pending.clear()

    current = []
    for document in text_path.read_text(encoding="utf-8").rstrip("\n").split("\n\n\n"):
        current.append(document)
        if rng.random() < END_SHARE:
            pending.append((current, True))
            current = []
        else:
            current.append("\n\n\n")
        if len(pending) >= 4096:
            flush()
    pending.append((current, False))
    flush()
    return numpy.concatenate(parts)


def batches(stream, size, length, begin, seed):
    """Endless batches of [size, length + 1] ids; each pass uses every token about once, at other offsets."""
    rng = numpy.random.default_rng(seed)
    while True:
        starts = numpy.arange(rng.integers(length), len(stream) - length - 1, length)
        rng.shuffle(starts)
        for i in range(0, len(starts) - size + 1, size):
            rows = numpy.stack([stream[s : s + length] for s in starts[i : i + size]])
            yield torch.from_numpy(numpy.concatenate([numpy.full((size, 1), begin, dtype=numpy.int32), rows], axis=1)).long()


def initialise(model):
    layers = model.config["num_hidden_layers"]
    for name, p in model.named_parameters():
        if p.ndim == 2:
            scale = 0.02 if "embed" in name else p.shape[1] ** -0.5
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                scale /= math.sqrt(2 * layers)
            torch.nn.init.normal_(p, std=scale)


def optimizers(model):
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=0.006, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw", ns_steps=5),
        torch.optim.AdamW(rest, lr=0.004, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(progress):
    if progress < 0.01:
        return 0.05 + progress / 0.01
    if progress < 0.3:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.3) / 0.7)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True, help="directory with tokenizer.json; the model is written here")
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--checkpoint-minutes", type=float, default=10)
    parser.add_argument("--steps", type=int, default=0, help="stop after so many steps (speed test, nothing written)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(11)
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    stream = tokenize(arguments.text, tokenizer)
    print(f"tokens {len(stream)}", flush=True)
    model = Decoder(tale_config(tokenizer.get_vocab_size()))
    initialise(model)
    print(f"parameters {sum(p.numel() for p in model.parameters())}", flush=True)
    opts = optimizers(model)
    base = [o.param_groups[0]["lr"] for o in opts]
    started = saved = time.monotonic()
    smooth = None
    begin = tokenizer.token_to_id("<|begin_of_text|>")
    short = batches(stream, 2 * arguments.batch, LENGTH // 2, begin, seed=3)
    full = batches(stream, arguments.batch, LENGTH, begin, seed=4)
    for step in itertools.count():
        progress = (time.monotonic() - started) / 60 / arguments.minutes
        if progress >= 1 or (arguments.steps and step >= arguments.steps):
            break
        batch = next(short if progress < SHORT_SHARE else full)
        for o, lr in zip(opts, base):
            o.param_groups[0]["lr"] = lr * rate(progress)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in opts:
            o.step()
            o.zero_grad(set_to_none=True)
        value = loss.item()
        smooth = value if smooth is None else 0.97 * smooth + 0.03 * value
        if step % 20 == 0:
            seconds = time.monotonic() - started
            print(
                f"step {step} seconds {seconds:.0f} loss {value:.3f} smooth {smooth:.3f} perplexity {math.exp(smooth):.2f}"
                f" tokens/s {(step + 1) * arguments.batch * LENGTH / seconds:.0f}",
                flush=True,
            )
        if time.monotonic() - saved > 60 * arguments.checkpoint_minutes and not arguments.steps:
            save(model, arguments.model)
            saved = time.monotonic()
    if not arguments.steps:
        save(model, arguments.model)


if __name__ == "__main__":
    main()
