# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/tokenizer/charsmap.json: what the package `tokenizers` makes of texts by the normaliser map of kind_unigram.json.

    python tools/reference_charsmap.py tests/data/tokenizer

Pairs of a text and its normal form. The texts set marks, joiners and variation selectors behind what the map replaces and what it leaves alone.
"""

import base64
import json
import pathlib
import random
import sys

from token_texts import texts
from tokenizers import normalizers

REPLACED = ["ﬁ", "½", "é", "e\u0301", "Å", "ｶ", "ｶ\uff9e", "①", "㎏", "\u00a0", "\u3000", "\u2028", "각", "ᄀ", "ᆨ", "가", "ａ", "ﷺ", "क़", "\u0344", "ß", "ſ", "\t", "\x7f", "\u200b"]
BEHIND = ["", "\u0301", "\u0308\u0301", "\u200d", "\ufe0f", "\u0327", "\u0903", "\u094d", "\uff9e", "\u20dd", "\U0001f3fb", "\u11a8", "\r\n", "ﬁ"]


def main():
    folder = pathlib.Path(sys.argv[1])
    steps = json.loads((folder / "kind_unigram.json").read_text())["normalizer"]["normalizers"]
    precompiled = normalizers.Precompiled(base64.b64decode(steps[0]["precompiled_charsmap"]))
    given = [first + behind + last for first in REPLACED for behind in BEHIND for last in ("", "x")]
    choose = random.Random(7)
    given += ["".join(choose.choice(REPLACED + BEHIND + ["a", " ", "🇩", "👩"]) for _ in range(12)) for _ in range(200)]
    given += texts(200, 5)
    lines = [json.dumps([text, precompiled.normalize_str(text)]) for text in given]
    (folder / "charsmap.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
