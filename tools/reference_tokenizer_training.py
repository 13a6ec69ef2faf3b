# SPDX-License-Identifier: Apache-2.0
"""Writes the merges that the `tokenizers` package learns from the bundled model's calibration text, to tests/data/tokenizer/trained.json.

    python tools/reference_tokenizer_training.py --text tests/data/tale-4M/calibration.txt --out tests/data/tokenizer/trained.json

With --against DIR instead of --out, compares a tokenizer.json that `nibble train-tokenizer --text ... --size N -o DIR` wrote: vocabulary, merges,
and every component.
"""

import argparse
import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BEGIN, END = "<|begin_of_text|>", "<|end_of_text|>"
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train(text, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[BEGIN, END], initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(text.split("\n\n\n"), trainer)
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN}:1 $B:1", special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))]
            ),
        ]
    )
    return json.loads(tokenizer.to_str())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--size", type=int, default=700)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--against", type=pathlib.Path)
    arguments = parser.parse_args()
    text = arguments.text.read_bytes().decode("utf-8")
    if arguments.against:
        ours = json.loads((arguments.against / "tokenizer.json").read_text())
        theirs = train(text, len(ours["model"]["vocab"]))
        for key in theirs:
            if theirs[key] != ours[key]:
                raise SystemExit(f"differs: {key}")
        print(f"the same: {len(ours['model']['merges'])} merges")
        return
    merges = train(text, arguments.size)["model"]["merges"]
    arguments.out.write_text(json.dumps({"size": arguments.size, "merges": merges}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
