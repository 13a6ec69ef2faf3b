#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tokens that nibble leaves under a JSON schema beside those that llguidance leaves, mask by mask.

    tests/clients/grammar.py GRAMMAR_MASKS MODEL

For every schema and text of grammar_corpus.jsonl, before each token and behind the last. What may differ, and why, is in
REASONS; anything else is an error.
"""
import json
import pathlib
import re
import subprocess
import sys

from llguidance import LLMatcher, LLTokenizer

BLANKS = b" \t\n\r"


def outside_of_strings(text):
    """A text of JSON without what its strings hold."""
    return re.sub(rb'"(?:[^"\\]|\\.)*(?:"|\\?$)', b'""', text, flags=re.S)


REASONS = {
    "nibble has white space where people put it, llguidance is told to have none":
        lambda before, token: any(c in BLANKS for c in outside_of_strings(before + token)),
    "a half of a surrogate pair is no character, and nibble makes none":
        lambda before, token: re.search(rb"\\u[dD]([89a-fA-F]|$)", before + token),
    "an escape that is not needed (a solidus, u and digits for what may stand itself) is JSON, and llguidance leaves it out":
        lambda before, token: re.search(rb"\\(/|u[0-9a-fA-F]*)", (before + token).replace(rb"\\", b"")),
    "DEL may stand in a string of JSON, and llguidance leaves it out":
        lambda before, token: b"\x7f" in token,
    "nibble ends numbers at 16 digits, and exponents at 3":
        lambda before, token: re.search(rb"\d{16,}|[eE][+-]?\d{3,}", outside_of_strings(before + token)),
}


def bits(data):
    return {i * 8 + j for i, byte in enumerate(data) for j in range(8) if byte >> j & 1}


def main():
    program, model = sys.argv[1:]
    corpus = [json.loads(line) for line in
              pathlib.Path(__file__).with_name("grammar_corpus.jsonl").read_text().splitlines()]
    tokenizer = LLTokenizer((pathlib.Path(model) / "tokenizer.json").read_text())
    size = tokenizer.vocab_size
    pieces = [tokenizer.decode_bytes([i]) if i != tokenizer.eos_token else b"" for i in range(size)]
    asked = [{"schema": one["schema"], "texts": [tokenizer.tokenize_str(text) for text in one["texts"]]} for one in corpus]
    made = subprocess.run([program, model], input="".join(json.dumps(one) + "\n" for one in asked), check=True, text=True,
                          stdout=subprocess.PIPE).stdout.splitlines()
    masks = excused = 0
    faults, met = [], set()
    for one, given, line in zip(corpus, asked, made, strict=True):
        answer = json.loads(line)
        if "refused" in answer:
            faults.append(f"{one['schema']}: nibble refuses it: {answer['refused']}")
            continue
        schema = ({} if one["schema"] is True else one["schema"]) | {"x-guidance": {"whitespace_flexible": False}}
        # All tokens that may come, and not only the one that is best where the text is certain.
        grammar = '%llguidance {"no_forcing": true}\nstart: %json ' + json.dumps(schema)
        for text, ids, ours in zip(one["texts"], given["texts"], answer["masks"], strict=True):
            matcher = LLMatcher(tokenizer, grammar)
            if len(ours) != len(ids) + 1:
                faults.append(f"{one['schema']}: nibble does not admit {text}")
            for step, mask in enumerate(ours):
                before = b"".join(pieces[i] for i in ids[:step])
                left, theirs = bits(bytes.fromhex(mask)), bits(matcher.compute_bitmask())
                if matcher.is_error():
                    faults.append(f"{one['schema']}: {matcher.get_error()}")
                    break
                masks += 1
                for token in left ^ {i for i in theirs if i < size}:
                    why = [reason for reason, holds in REASONS.items() if holds(before, pieces[token])]
                    excused += bool(why)
                    met.update(why[:1])
                    if not why:
                        whose = "nibble" if token in left else "llguidance"
                        faults.append(f"{one['schema']}: behind {before!r} only {whose} leaves {pieces[token]!r} ({token})")
                if step < len(ids) and not matcher.consume_token(ids[step]):
                    faults.append(f"{one['schema']}: llguidance does not admit {text}")
                    break
    for reason in sorted(met):
        print("differs since", reason)
    if faults:
        print("\n".join(faults[:40]))
        raise SystemExit(f"{len(faults)} disagreements that have no reason, {masks} masks")
    print(f"{len(corpus)} schemas, {masks} masks of {size} tokens: all alike but for {excused} tokens, each for one of these reasons")


if __name__ == "__main__":
    main()
