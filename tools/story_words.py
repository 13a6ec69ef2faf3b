# SPDX-License-Identifier: Apache-2.0
"""Word lists, weighted choice and the little morphology that story_grammar.py needs."""

import bisect
import pathlib
import random

WORDS_DIR = pathlib.Path(__file__).resolve().parent / "words"

IRREGULAR_PLURALS = {
    "mouse": "mice",
    "goose": "geese",
    "sheep": "sheep",
    "deer": "deer",
    "wolf": "wolves",
    "calf": "calves",
    "ox": "oxen",
    "fish": "fish",
    "child": "children",
    "foot": "feet",
    "tooth": "teeth",
    "knife": "knives",
    "scarf": "scarves",
    "loaf": "loaves",
    "shelf": "shelves",
    "dice": "dice",
    "salmon": "salmon",
    "trout": "trout",
    "bellows": "bellows",
    "moose": "moose",
    "chamois": "chamois",
    "leaf": "leaves",
    "shrimp": "shrimp",
    "pike": "pike",
    "carp": "carp",
    "compass": "compasses",
    "reindeer": "reindeer",
    "toy soldier": "toy soldiers",
    "jigsaw": "jigsaws",
    "potato": "potatoes",
    "tomato": "tomatoes",
    "mosquito": "mosquitoes",
}

NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
).split()
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def load_lists():
    """Reads every words/*.txt into {list name: tuple of words}."""
    lists = {}
    for path in sorted(WORDS_DIR.glob("*.txt")):
        current = None
        for line in path.read_text(encoding="utf-8").splitlines():
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            if line.startswith("["):
                current = lists.setdefault(line[1:-1], [])
            else:
                current.extend(word.replace("_", " ") for word in line.split())
    return {name: tuple(dict.fromkeys(words)) for name, words in lists.items()}


LISTS = load_lists()


class Dice:
    """A seeded source of choices. `pick` is heavy-tailed: the word of rank r has weight 1 / (r + 8)^0.5."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.cumulative = {}

    def chance(self, probability):
        return self.random.random() < probability

    def integer(self, low, high):
        return self.random.randint(low, high)

    def even(self, options):
        return options[int(self.random.random() * len(options))]

    def rank(self, count, exponent=0.5, shift=8.0):
        key = (count, exponent, shift)
        sums = self.cumulative.get(key)
        if sums is None:
            sums, total = [], 0.0
            for r in range(count):
                total += (r + shift) ** -exponent
                sums.append(total)
            self.cumulative[key] = sums
        return min(bisect.bisect_left(sums, self.random.random() * sums[-1]), count - 1)

    def pick(self, options):
        if isinstance(options, str):
            options = LISTS[options]
        return options[self.rank(len(options))]

    def several(self, options, count):
        if isinstance(options, str):
            options = LISTS[options]
        chosen = []
        while len(chosen) < min(count, len(options)):
            word = self.pick(options)
            if word not in chosen:
                chosen.append(word)
        return chosen


def cap(text):
    for i, ch in enumerate(text):
        if ch.isalpha():
            return text[:i] + ch.upper() + text[i + 1 :]
    return text


def a(noun_phrase):
    head = noun_phrase.lower()
    vowel = head[0] in "aeiou" and not head.startswith(("uni", "eu", "one", "use"))
    return ("an " if vowel or head.startswith(("honest", "hour")) else "a ") + noun_phrase


def plural(noun):
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if " " in noun:
        first, last = noun.rsplit(" ", 1)
        return first + " " + plural(last)
    if noun.endswith("man"):
        return noun[:-2] + "en"
    if noun.endswith(("s", "x", "ch", "sh", "z")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def past(verb):
    """Past tense of a regular verb."""
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    if verb in ("drop", "wrap", "scrub", "drag", "unwrap", "label", "tap", "rub", "pat"):
        return (verb if verb == "label" else verb + verb[-1]) + "ed"
    return verb + "ed"


def gerund(verb):
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    return verb + "ing"


def number(n):
    """A number below one thousand in words."""
    if n <= 20:
        return NUMBER_WORDS[n]
    if n < 100:
        return TENS[n // 10] + ("-" + NUMBER_WORDS[n % 10] if n % 10 else "")
    rest = n % 100
    return NUMBER_WORDS[n // 100] + " hundred" + (" and " + number(rest) if rest else "")


def count_noun(n, noun):
    return number(n) + " " + (noun if n == 1 else plural(noun))


def listing(items):
    items = list(items)
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]


MASS_FOODS = (
    set(
        """bread soup cheese cake milk honey fish pie butter jam porridge ham cabbage lettuce garlic parsley rice pudding toast stew broth gravy
mustard rhubarb gingerbread marzipan toffee fudge custard trifle herring mackerel shrimp""".split()
    )
    | {"barley soup", "goose liver", "smoked eel"}
)


def some_food(noun):
    """The noun as one eats an unstated amount of it: plums, but bread."""
    return noun if noun in MASS_FOODS else plural(noun)
