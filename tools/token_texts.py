# SPDX-License-Identifier: Apache-2.0
"""Random texts for tokenizers: every script, marks, emoji, white space, digits, controls, contractions, code. The same seed gives the same texts.

Only characters that Unicode 14 has: what a later version calls them depends on the library that is asked. No surrogates.
"""

import random
import unicodedata

SCRIPTS = (
    (0x41, 0x7A), (0xC0, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x58A), (0x5D0, 0x5F4), (0x600, 0x6FF),
    (0x700, 0x74F), (0x900, 0x97F), (0x980, 0x9FF), (0xA00, 0xA7F), (0xB80, 0xBFF), (0xC00, 0xC7F), (0xD00, 0xD7F), (0xD80, 0xDFF),
    (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F),
    (0x13A0, 0x13FF), (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1C90, 0x1CBF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2C00, 0x2C5F),
    (0x2D00, 0x2D2F), (0x3041, 0x309F), (0x30A0, 0x30FF), (0x3105, 0x312F), (0x3131, 0x318E), (0x3400, 0x3420), (0x4E00, 0x9FFF),
    (0x4E00, 0x9FFF), (0xA000, 0xA48C), (0xA720, 0xA7FF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFB4F), (0xFF00, 0xFFEF),
    (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1E900, 0x1E943), (0x20000, 0x20100),
)  # fmt: skip
SYMBOLS = ((0x21, 0x2F), (0xA1, 0xBF), (0x2010, 0x2027), (0x2030, 0x205E), (0x20A0, 0x20BF), (0x2100, 0x214F), (0x2190, 0x22FF), (0x2460, 0x24FF), (0x3001, 0x303F), (0x1F300, 0x1F6FF))
BLANKS = (
    " ", "  ", "   ", "    ", "         ", "\n", "\n\n", "\n\n\n", " \n", "\n ", "\r\n", "\r\n\r\n", "\r", "\t", "\t\t", " \t ", "\t\n\t", "\u00a0", " \u00a0",
    "\u1680", "\u180e", "\u2000", "\u2003\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u3000\u3000", "\u0085", "\v", "\f", "\u200b", "\u2060",
    "\ufeff",
)  # fmt: skip
CLUSTERS = (
    "👩‍👩‍👧‍👦", "👍🏽", "🇩🇰🇯🇵", "☕️", "1️⃣", "🏴\U000e0067\U000e0062\U000e007f", "e\u0301", "n\u0303\u0323", "a\u0323\u0307\u0308", "한글", "ᄒ\u1161\u11ab",
    "नमस्ते", "क्षि", "مرحبا", "ﷺ", "漢字かな交じり文", "が\u3099", "½²³", "Ⅷⅸ", "ǅungla", "ſ's", "İi", "K's", "ﬁne ﬂow", "①②", "㎏㍿", "ｆｕｌｌ　ｗｉｄｔｈ", "™©®",
    "…", "—", "“quoted”", "‘it’", "▁", "a▁b", "▁▁", "Ġ", "ĊĠ", "<0x0A>", "\\n", "\x00", "ª", "ˈ",
)  # fmt: skip
ENGLISH = (
    "the of and to in is was it for with as on be at by had are but from they which one you were all her she there would their we him been has when who "
    "will no more if out so what up said its about than into them only other time new some could these two may first then do any like my now over such our "
    "man me even most made after also did many off before must well back through years where much your way down should because long each just state those "
    "people too mister house understanding internationalization Massachusetts Once upon tokenizer"
).split(" ")
CODE = (
    "if (a[i] != b->c) {", "return \"x\\n\";", "// done", "def f(x, *, y=1):", "    self.value_2 += 0x1F", "}\n\n", "#include <vector>", "std::vector<int>",
    "http://a.b/c?d=e&f=%20", "user.name@example.com", "a_b-c.d", "x=y+1;", "===", "-----", "....", "!!?!", "/**", "*/", "</div>", "$HOME/${x}", "1e-5", "3.14",
    "camelCaseWord", "HTTPServer2Go", "SCREAMING_CASE", "<|im_start", "[INST", "#tag @home", "~`^", "/usr/bin/", "C:\\dir\\", "'''", "\"\"\"",
)  # fmt: skip
CONTRACTIONS = ("'s", "'S", "'t", "'T", "'re", "'RE", "'Re", "'ve", "'VE", "'m", "'M", "'ll", "'LL", "'lL", "'d", "'D", "’s", "’LL", "'x", "'", "''s")


class Texts:
    def __init__(self, seed):
        self.rng = random.Random(seed)
        kinds = {}
        for code in range(0x110000):
            category = unicodedata.category(chr(code))
            if category not in ("Cn", "Cs", "Co"):
                kinds.setdefault(category, []).append(chr(code))
        self.kinds = kinds
        self.assigned = [c for category in sorted(kinds) for c in kinds[category]]
        self.marks = kinds["Mn"] + kinds["Mc"] + kinds["Me"]

    def from_range(self, ranges, most):
        rng = self.rng
        low, high = rng.choice(ranges)
        letters = (chr(rng.randint(low, high)) for _ in range(rng.randint(1, most)))
        return "".join(c for c in letters if unicodedata.category(c) not in ("Cn", "Cs", "Co"))

    def digits(self):
        rng = self.rng
        kind = rng.randrange(5)
        if kind < 3:
            return rng.choice(("{}", "{:,}", "0{}", "-{}", "{}.5", "{}%", "2026-{}")).format(rng.randrange(10 ** rng.randint(1, 12)))
        pool = self.kinds["Nd"] if kind == 3 else self.kinds["No"] + self.kinds["Nl"]
        return "".join(rng.choice(pool) for _ in range(rng.randint(1, 5)))

    def word(self):
        word = self.rng.choice(ENGLISH)
        return self.rng.choice((word, word, word.capitalize(), word.upper(), word + self.rng.choice(CONTRACTIONS), word.upper() + self.rng.choice(CONTRACTIONS)))

    def piece(self):
        rng = self.rng
        kind = rng.randrange(20)
        if kind < 4:
            return self.word()
        if kind < 7:
            return "".join(rng.choice(BLANKS) for _ in range(rng.choice((1, 1, 1, 2, 3))))
        if kind < 11:
            return self.from_range(SCRIPTS, 8)
        if kind == 11:
            return self.from_range(SYMBOLS, 4)
        if kind == 12:
            return self.digits()
        if kind == 13:
            return rng.choice(CLUSTERS)
        if kind == 14:
            return rng.choice(CODE)
        if kind == 15:
            return rng.choice(CONTRACTIONS)
        if kind == 16:
            return rng.choice(self.assigned)
        if kind == 17:
            return self.from_range(SCRIPTS, 2) + "".join(rng.choice(self.marks) for _ in range(rng.randint(1, 3)))
        if kind == 18:
            return chr(rng.choice((rng.randrange(0x20), 0x7F, rng.randrange(0x80, 0xA0))))
        return rng.choice("aAzZ.,!?-_/ \nй字") * rng.randint(2, 40)

    def text(self):
        glue = self.rng.choice(("", "", " "))
        return glue.join(self.piece() for _ in range(self.rng.randint(1, 14)))


def texts(count, seed):
    source = Texts(seed)
    return ["", " ", "  ", "\n", "a"][:count] + [source.text() for _ in range(max(count - 5, 0))]
