# SPDX-License-Identifier: Apache-2.0
"""Writes tokenizer test vectors: random Unicode strings, their ids and the text those ids decode to, as the `tokenizers` package has them.

    python tools/reference_tokens.py --tokenizer tests/data/tale-4M/tokenizer.json --out tests/data/tokenizer/bundled_random.json

Ids are without begin and end marks added; special tokens spelled out in the text do become their ids. Decoding keeps special tokens.
"""

import argparse
import json
import pathlib
import random

from tokenizers import Tokenizer

WORDS = (
    "the The THE Ben's don't we'll I'VE it'D o'clock market lantern Umar 12 1,234 3.14 2026 007 well-known e.g. (yes) \"No!\" -- ... ?! #tag @home a_b "
    "x=y+1; http://a.b/c?d=e \\n {} [] <|begin_of_text|> <|end_of_text|> <|begin_of_text <|eot|> naïve façade Straße œuvre Ærø ÅNGSTRÖM"
).split(" ")
RANGES = (
    (0x20, 0x7E),
    (0xA1, 0x17F),
    (0x300, 0x36F),
    (0x370, 0x3FF),
    (0x400, 0x4FF),
    (0x5D0, 0x5EA),
    (0x600, 0x6FF),
    (0x900, 0x97F),
    (0xE01, 0xE3A),
    (0x1E00, 0x1EFF),
    (0x2000, 0x206F),
    (0x2150, 0x218B),
    (0x2460, 0x24FF),
    (0x3000, 0x30FF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3),
    (0xFB00, 0xFB4F),
    (0xFF00, 0xFFEF),
    (0x1D400, 0x1D7FF),
    (0x1F300, 0x1F6FF),
    (0x20000, 0x20100),
    (0xE0020, 0xE007F),
)
BLANKS = (
    " ",
    "  ",
    "   ",
    "       ",
    "\n",
    "\n\n",
    " \n",
    "\n ",
    "\r\n",
    "\r",
    "\t",
    "\t\t",
    " \t ",
    "\u00a0",
    "\u2003",
    "\u3000",
    "\u2028",
    "\u0085",
    "\v",
    "\f",
    "\u200b",
    "\ufeff",
)
EMOJI = (
    "👩‍👩‍👧‍👦",
    "👍🏽",
    "🇩🇰",
    "☕️",
    "e\u0301",
    "n\u0303\u0323",
    "한글",
    "नमस्ते",
    "مرحبا ١٢٣",
    "漢字かな",
    "½²³",
    "Ⅷ",
    "ǅ",
    "ſ's",
    "İi",
    "K's",
)


def piece(rng):
    kind = rng.randrange(9)
    if kind < 3:
        return rng.choice(WORDS)
    if kind < 5:
        return rng.choice(BLANKS)
    if kind == 5:
        return str(rng.randrange(10 ** rng.randint(1, 9)))
    if kind == 6:
        return rng.choice(EMOJI)
    if kind == 7:
        low, high = rng.choice(RANGES)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 4)))
    return chr(rng.choice((rng.randrange(0x20), 0x7F, rng.randrange(0x80, 0xA0), rng.randrange(0x20, 0x7F))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(arguments.tokenizer))
    rng, cases = random.Random(arguments.seed), []
    for i in range(arguments.count):
        glue = rng.choice(("", "", " "))
        text = "" if i == 0 else glue.join(piece(rng) for _ in range(rng.randint(1, 12)))
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cases.append({"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    arguments.out.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
