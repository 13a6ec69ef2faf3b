# SPDX-License-Identifier: Apache-2.0
"""Writes what the `transformers` package (float32, CPU) generates greedily, as test data.

    python tools/reference_generation.py --model tests/data/tale-4M --model OTHER/tinywiki-6M --out tests/data/logits/greedy.json

Each entry: model (the folder's name), prompt, ids (the prompt's tokens, by tokenizer.json), made (the tokens that follow, without an end token),
gap (the smallest distance between the largest and the second largest logit on the way: how far an implementation may be off and still agree).
"""

import argparse
import json
import pathlib

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

PROMPTS = [
    "Once upon a time",
    "Tom and Lily went to the river.",
    "In 1995, the city of",
    "Question: Tom has 2 balls and gets 3 more. How many balls does he have?\nAnswer:",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, action="append", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=int, default=48)
    options = parser.parse_args()
    entries = []
    for directory in options.model:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"))
        model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
        for prompt in PROMPTS:
            ids = tokenizer(prompt, return_tensors="pt").input_ids
            with torch.no_grad():
                result = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=options.tokens, pad_token_id=0,
                                        output_logits=True, return_dict_in_generate=True)
            made = result.sequences[0, ids.shape[1]:].tolist()
            best = [logits[0].topk(2).values for logits in result.logits]
            if made and made[-1] == model.config.eos_token_id:
                made.pop()
            entries.append({"model": directory.name, "prompt": prompt, "ids": ids[0].tolist(), "made": made,
                            "gap": round(min(float(a - b) for a, b in best), 6)})
    lines = ",\n".join(" " + json.dumps(entry) for entry in entries)
    options.out.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
