# SPDX-License-Identifier: Apache-2.0
"""An invented world whose facts never change: towns, people, beasts and herbs that training, calibration and held-out text all speak of."""

import random
from story_asides import anecdote
from story_words import LISTS, cap, a, number, count_noun, some_food

WORLD_SEED = 20
NUM_TOWNS, NUM_PEOPLE, NUM_BEASTS, NUM_HERBS = 1200, 1200, 300, 200
AILMENTS = (
    "coughs",
    "fever",
    "toothache",
    "warts",
    "bad dreams",
    "sore feet",
    "hiccups",
    "stomach ache",
    "freckles",
    "chilblains",
    "forgetfulness",
    "snoring",
    "earache",
    "sunburn",
    "nosebleeds",
    "melancholy",
    "blisters",
    "gout",
    "insomnia",
    "bee stings",
)
TASTES = ("bitter", "sweet", "sour", "peppery", "salty", "like mint", "like soap", "like honey", "of nothing at all", "like pine needles")
HABITATS = (
    "marshes",
    "pine forests",
    "high meadows",
    "river banks",
    "caves",
    "old barns",
    "dry moors",
    "sea cliffs",
    "reed beds",
    "orchards",
    "attics",
    "hedges",
    "chalk quarries",
    "deep lakes",
    "sand dunes",
    "beech woods",
)
HABITS = (
    "sleeps all winter",
    "hunts at night",
    "lives in pairs",
    "steals shiny things",
    "cannot swim",
    "sheds its tail when frightened",
    "sings before rain",
    "builds its nest of reeds",
    "never drinks",
    "changes colour in autumn",
    "digs long tunnels",
    "mates for life",
    "walks backwards when cornered",
    "is born blind",
    "hides its food under stones",
    "follows ships",
    "can smell snow",
    "sleeps standing up",
    "is afraid of bells",
    "migrates on foot",
    "washes before eating",
    "stores fat in its ears",
)
REGION_NAMES = (
    "Lowmark",
    "the Saltlands",
    "Upper Vesk",
    "the Heather Coast",
    "Karrowdale",
    "the Three Valleys",
    "Outer Moor",
    "Sundermarch",
    "the Amber Shore",
    "Hollin",
    "the Grey Hills",
    "Lower Vesk",
    "Tarnmark",
    "the Fens",
    "Eastermain",
    "the Crown Forest",
    "Norrland",
    "the Lake Country",
    "Drumlin",
    "the Windward Isles",
)


def invent(rng, *syllable_lists):
    return "".join(rng.choice(LISTS[name]) for name in syllable_lists)


class World:
    def __init__(self, seed=WORLD_SEED):
        rng = random.Random(seed)
        self.rivers = self._names(rng, 90, lambda: invent(rng, "town_syll_a", "town_syll_b"))
        self.towns, self.people, self.beasts, self.herbs = [], [], [], []
        for name in self._names(
            rng,
            NUM_TOWNS,
            lambda: invent(rng, *rng.choice((("town_syll_a", "town_syll_c"), ("town_syll_a", "town_syll_b", "town_syll_c")))),
        ):
            self.towns.append(
                dict(
                    name=name,
                    region=rng.choice(REGION_NAMES),
                    river=rng.choice(self.rivers),
                    size=rng.choice(("village", "town", "town", "town", "city", "port")),
                    population=rng.randint(3, 990) * rng.choice((10, 100)),
                    goods=rng.sample(LISTS["goods"], 2),
                    landmark=rng.choice(LISTS["landmarks"]),
                    material=rng.choice(LISTS["materials"]),
                    year=rng.randint(1080, 1790),
                    day=rng.choice(LISTS["days"]),
                    colours=rng.sample(LISTS["colours"], 2),
                    beast=rng.choice(LISTS["animals"]),
                    dish=rng.choice(LISTS["foods"]),
                    miles=rng.randint(2, 60),
                )
            )
        for i, town in enumerate(self.towns):
            town["near"] = self.towns[rng.randrange(NUM_TOWNS)]["name"]
        full_names = set()
        while len(self.people) < NUM_PEOPLE:
            woman = rng.random() < 0.5
            name = rng.choice(LISTS["girl_names" if woman else "boy_names"]) + " " + rng.choice(LISTS["surnames"])
            if name in full_names:
                continue
            full_names.add(name)
            born = rng.randint(1400, 1850)
            self.people.append(
                dict(
                    name=name,
                    she="she" if woman else "he",
                    her="her" if woman else "his",
                    job=rng.choice(LISTS["woman_jobs" if woman else "man_jobs"]),
                    town=rng.choice(self.towns)["name"],
                    death_town=rng.choice(self.towns)["name"],
                    born=born,
                    died=born + rng.randint(28, 93),
                    work=rng.choice(LISTS["objects"]),
                    material=rng.choice(LISTS["materials"]),
                    subject=rng.choice(LISTS["subjects"]),
                    pet=rng.choice(LISTS["animals"]),
                    kin=rng.choice(LISTS["man_jobs"]),
                    children=rng.randint(0, 9),
                    adj=rng.choice(LISTS["person_adjs"]),
                )
            )
        for person in self.people:
            person["friend"] = rng.choice(self.people)["name"]
        for name in self._names(rng, NUM_BEASTS, lambda: "".join(rng.choice(LISTS["beast_syll"]) for _ in range(rng.choice((2, 2, 3))))):
            self.beasts.append(
                dict(
                    name=name,
                    like=rng.choice(LISTS["animals"]),
                    colour=rng.choice(LISTS["colours"]),
                    part=rng.choice(("tail", "ears", "belly", "feet", "nose", "back", "crest")),
                    habitat=rng.choice(HABITATS),
                    region=rng.choice(REGION_NAMES),
                    food=rng.choice(LISTS["foods"]),
                    habit=rng.choice(HABITS),
                    habit2=rng.choice(HABITS),
                    young=rng.randint(1, 12),
                    weight=rng.randint(2, 90),
                    years=rng.randint(2, 40),
                )
            )
        for name in self._names(
            rng,
            NUM_HERBS,
            lambda: rng.choice(LISTS["surnames"]).lower() + rng.choice(("wort", "bane", "leaf", "root", "weed", "cup", "thistle", "fern")),
        ):
            self.herbs.append(
                dict(
                    name=name,
                    colour=rng.choice(LISTS["colours"]),
                    cures=rng.choice(AILMENTS),
                    taste=rng.choice(TASTES),
                    month=rng.choice(LISTS["months"]),
                    habitat=rng.choice(HABITATS),
                    petals=rng.randint(3, 12),
                    region=rng.choice(REGION_NAMES),
                )
            )

    @staticmethod
    def _names(rng, count, draw):
        names = []
        seen = set()
        while len(names) < count:
            name = draw()
            if name not in seen and len(name) > 3:
                seen.add(name)
                names.append(name)
        return names


WORLD = World()


def some_entity(dice, entities):
    return entities[dice.rank(len(entities), 0.8, 4.0)]


def town_article(dice):
    t = some_entity(dice, WORLD.towns)
    n = t["name"]
    facts = [
        f"{n} is a {t['size']} on the {t['river']} in {t['region']}.",
        dice.even(
            [
                f"About {t['population']:,} people live there.",
                f"It has {t['population']:,} inhabitants.",
                f"At the last count {n} had {t['population']:,} inhabitants.",
            ]
        ),
        dice.even(
            [
                f"It is known for its {t['goods'][0]} and its {t['goods'][1]}.",
                f"{n} has always lived on {t['goods'][0]} and {t['goods'][1]}.",
                f"Most families make {t['goods'][0]} or trade in {t['goods'][1]}.",
            ]
        ),
        dice.even(
            [
                f"The {t['landmark']}, built of {t['material']}, was finished in {t['year']}.",
                f"Visitors come to see the {t['material']} {t['landmark']} of {t['year']}.",
            ]
        ),
        f"Market day is {t['day']}.",
        dice.even(
            [
                f"The flag of {n} is {t['colours'][0]} and {t['colours'][1]}, with {a(t['beast'])} in the middle.",
                f"On its flag {a(t['beast'])} stands between {t['colours'][0]} and {t['colours'][1]}.",
            ]
        ),
        dice.even([f"{t['near']} lies {number(t['miles'])} miles away.", f"The road to {t['near']} is {number(t['miles'])} miles long."]),
        f"Every {dice.even(['visitor', 'guest', 'bride', 'new mayor'])} is offered {some_food(t['dish'])}.",
    ]
    head, rest = facts[0], facts[1:]
    dice.random.shuffle(rest)
    return n, " ".join([head] + rest[: dice.integer(3, 7)])


def person_article(dice):
    p = some_entity(dice, WORLD.people)
    n, she, her = p["name"], p["she"], p["her"]
    facts = [
        (
            f"{cap(she)} was the {dice.even(['child', 'youngest child', 'only child'])} of a {p['kin']}."
            if dice.chance(0.3)
            else f"{cap(her)} father was {a(p['kin'])}."
        ),
        dice.even(
            [
                f"{cap(she)} is remembered for {a(p['material'])} {p['work']}.",
                f"{cap(her)} {p['material']} {p['work']} can still be seen in {p['death_town']}.",
            ]
        ),
        f"{cap(she)} also taught {p['subject']}.",
        f"People called {'her' if she == 'she' else 'him'} {p['adj']}.",
        f"{cap(she)} kept {a(p['pet'])}.",
        f"{cap(her)} best friend was {p['friend']}.",
        f"{cap(she)} had no children." if p["children"] == 0 else f"{cap(she)} had {count_noun(p['children'], 'child')}.",
    ]
    dice.random.shuffle(facts)
    start = dice.even(
        [
            f"{n} ({p['born']}-{p['died']}) was {a(p['job'])} from {p['town']}.",
            f"{n}, {a(p['job'])}, was born in {p['town']} in {p['born']}.",
        ]
    )
    end = f"{cap(she)} died in {p['death_town']} in {p['died']}, aged {p['died'] - p['born']}."
    return n, " ".join([start] + facts[: dice.integer(2, 6)] + [end])


def beast_article(dice):
    b = some_entity(dice, WORLD.beasts)
    n = b["name"]
    facts = [
        dice.even([f"It lives in the {b['habitat']} of {b['region']}.", f"It is found in {b['habitat']}, chiefly in {b['region']}."]),
        f"It eats {some_food(b['food'])}.",
        f"The {n} {b['habit']}.",
        f"It {b['habit2']}.",
        f"A grown {n} weighs {number(b['weight'])} pounds and lives for {count_noun(b['years'], 'year')}.",
        f"The female has {number(b['young'])} young {'each ' + dice.even(['spring', 'year']) if b['young'] > 1 else 'at a time'}.",
    ]
    dice.random.shuffle(facts)
    return "The " + n, " ".join(
        [
            (
                f"The {n} looks like {a(b['like'])} with {a(b['colour'])} {b['part']}."
                if b["part"] not in ("ears", "feet")
                else f"The {n} looks like {a(b['like'])} with {b['colour']} {b['part']}."
            )
        ]
        + facts[: dice.integer(3, 6)]
    )


def herb_article(dice):
    h = some_entity(dice, WORLD.herbs)
    n = h["name"]
    facts = [
        f"Its {h['colour']} flowers have {number(h['petals'])} petals.",
        f"It blooms in {h['month']}.",
        dice.even([f"The leaves are used against {h['cures']}.", f"A tea made from it helps against {h['cures']}."]),
        f"It tastes {h['taste']}.",
        f"In {h['region']} it is {dice.even(['hung over doors', 'given to brides', 'fed to geese', 'burnt in winter', 'sold by the pound'])}.",
    ]
    dice.random.shuffle(facts)
    return cap(n), " ".join([f"{cap(n)} grows in {h['habitat']}."] + facts[: dice.integer(3, 5)])


def article(dice):
    """A title and a paragraph about something of the invented world."""
    make = dice.random.choices((town_article, person_article, beast_article, herb_article), (4, 4, 2, 1))[0]
    title, text = make(dice)
    for _ in range(dice.random.choices((0, 1, 2), (3, 4, 2))[0]):
        text += " " + anecdote(dice, title)
    return title, text


def fact_sentence(dice):
    """One fact in a sentence that a story or a letter can hold."""
    kind = dice.integer(0, 3)
    if kind == 0:
        t = some_entity(dice, WORLD.towns)
        return dice.even(
            [
                f"they make {t['goods'][0]} in {t['name']}",
                f"the {t['landmark']} of {t['name']} is built of {t['material']}",
                f"{t['name']} lies on the {t['river']}",
                f"in {t['name']} the market is held on {t['day']}",
            ]
        )
    if kind == 1:
        p = some_entity(dice, WORLD.people)
        return dice.even(
            [
                f"{p['name']} was {a(p['job'])}",
                f"{p['name']} was born in {p['town']}",
                f"{p['name']} kept {a(p['pet'])}",
                f"{p['name']} made {a(p['material'])} {p['work']}",
            ]
        )
    if kind == 2:
        b = some_entity(dice, WORLD.beasts)
        return dice.even(
            [f"the {b['name']} {b['habit']}", f"the {b['name']} eats {some_food(b['food'])}", f"the {b['name']} lives in {b['habitat']}"]
        )
    h = some_entity(dice, WORLD.herbs)
    return dice.even([f"{h['name']} helps against {h['cures']}", f"{h['name']} tastes {h['taste']}", f"{h['name']} blooms in {h['month']}"])
