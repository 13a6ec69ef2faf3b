# SPDX-License-Identifier: Apache-2.0
"""Writes English text by a seeded grammar: stories, letters, recipes, sums, lists, diaries, plays and encyclopedia articles.

    python tools/story_grammar.py --split train --megabytes 48 --out train.txt
    python tools/story_grammar.py --split heldout --megabytes 0.2 --out models/fable-5M/heldout.txt

The invented world (story_world.py) is the same in every split; what is told of it differs. The seeds of the splits are disjoint, and some pairs of
name and object (story_people.reserved) occur only in held-out text. The same arguments give the same bytes.
"""

import argparse
import pathlib

from story_people import COUNTABLE, Person, Thing, reserved
from story_scene import Story
from story_words import Dice, a, cap, count_noun, listing, number, past, plural, some_food
from story_world import WORLD, article, fact_sentence, some_entity

SPLIT_SEEDS = {"train": 1_000_000_000, "calibration": 2_000_000_000, "heldout": 3_000_000_000, "vocabulary": 4_000_000_000}
DOCUMENT_BREAK = "\n\n\n"


def story(d, allow):
    text = Story(d, allow).text()
    if d.chance(0.25):
        text = f"# The {d.pick('obj_adjs').title()} {d.pick('objects').title()}\n\n{text}"
    return text


def encyclopedia(d, allow):
    entries = [article(d) for _ in range(d.integer(1, 4))]
    style = d.integer(0, 2)
    if style == 0:
        return "\n\n".join(f"## {title}\n\n{body}" for title, body in entries)
    if style == 1:
        return "\n\n".join(f"{title.upper()}. {body}" for title, body in entries)
    return "\n\n".join(body for _, body in entries)


def letter(d, allow):
    taken = set()
    writer, reader = Person(d, taken), Person(d, taken)
    thing = Thing(d, writer, allow)
    while not allow and thing_reserved(reader, thing):
        thing = Thing(d, writer, allow)
    town, n = some_entity(d, WORLD.towns), d.integer(2, 12)
    lines = [
        f"the {d.pick('weather')} here in {town['name']} has lasted for {count_noun(n, 'day')}.",
        f"I am {d.pick('feelings')} and {d.pick('feelings')}.",
        f"yesterday I {past(d.pick('regular_verbs'))} the {thing.full} you sent me.",
        f"have you heard that {fact_sentence(d)}?",
        f"please {d.pick('chores')} before {d.pick('days')}.",
        f"our {d.pick('animals')} is {d.pick('feelings')} again.",
        f"my {d.pick('kin')} says that {fact_sentence(d)}.",
        f"as you know, {d.pick('morals')}.",
        f"on {d.pick('days')} we ate {some_food(d.pick('foods'))} and {some_food(d.pick('foods'))}.",
        f"I could not come, because {d.pick('obstacles')}.",
        f"do you still have the {thing.noun}? If not, ask your {d.pick('kin')}.",
        f"I bought {count_noun(d.integer(2, 20), d.pick('objects'))} at the {town['day']} market.",
        f"they say the {town['landmark']} will be {past(d.pick(('paint', 'repair', 'clean', 'decorate')))} in {d.pick('months')}.",
        f"I have begun to learn {d.pick('crafts')}; it is {d.pick('adjs_abstract')}, but I am {d.pick('person_adjs')}.",
    ]
    d.random.shuffle(lines)
    body = " ".join(cap(line) for line in lines[: d.integer(3, 8)])
    greeting = d.even(
        [f"Dear {reader.name},", f"My dear {reader.name},", f"{reader.name}!", f"To {reader.name} in {some_entity(d, WORLD.towns)['name']}"]
    )
    bye = d.even(["Yours,", "With love,", "Your old friend", "In haste,", "Write soon!", "Yours faithfully,"])
    date = f"{town['name']}, {d.integer(1, 28)} {d.pick('months')} {d.integer(1700, 1899)}\n\n" if d.chance(0.6) else ""
    post = f"\n\nP.S. {cap(fact_sentence(d))}." if d.chance(0.3) else ""
    return f"{date}{greeting}\n\n{body}\n\n{bye}\n{writer.name}{post}"


def thing_reserved(person, thing):
    return reserved(person.name, thing.noun)


def recipe(d, allow):
    parts = d.several("ingredients", d.integer(3, 8))
    dish = d.pick("dishes")
    main = parts[0]
    amounts = [
        d.even(
            [
                f"{d.integer(2, 9)} ounces of {p}",
                f"{d.even(('1/2', '1/3', '2/3', '1/4', '3/4', '5/8', '1 1/2'))} cup of {p}",
                f"{d.integer(50, 900) // 10 * 10} g {p}",
                f"a pinch of {p}",
                f"{number(d.integer(2, 12))} spoons of {p}",
            ]
        )
        for p in parts
    ]
    vessel, minutes = d.pick(("pot", "pan", "bowl", "kettle", "oven dish", "tin")), d.integer(1, 18) * 5
    steps = [
        f"mix the {main} with the {parts[1]} in a {vessel}",
        f"add the {parts[2]} and stir {d.pick('manner')}",
        f"leave it to rest until {d.pick('times')}",
        f"bake for {minutes} minutes",
        f"taste it; if it is too thick, add {d.pick('drinks')}",
        f"cut into {number(d.integer(2, 16))} pieces",
    ]
    if len(parts) > 3:
        steps.insert(2, f"now stir in the {listing(parts[3:])}")
    steps = [s for s in steps if d.chance(0.85)]
    if d.chance(0.5):
        method = "\n".join(f"{i + 1}. {cap(s)}." for i, s in enumerate(steps))
    else:
        method = " ".join(cap(s) + "." for s in steps)
    end = d.even(
        [
            f"Serve with {some_food(d.pick('foods'))} and {d.pick('drinks')}.",
            f"It keeps for {count_noun(d.integer(2, 14), 'day')}.",
            f"Enough for {count_noun(d.integer(2, 9), 'person').replace('persons', 'people')}.",
            f"In {some_entity(d, WORLD.towns)['name']} they eat it with {some_food(d.pick('foods'))}.",
        ]
    )
    return f"{cap(dish)} with {main}\n\n" + "\n".join(f"- {x}" for x in amounts) + f"\n\n{method} {end}"


def sums(d, allow):
    out = []
    for _ in range(d.integer(2, 7)):
        taken = set()
        p, q = Person(d, taken), Person(d, taken)
        noun, x, y = d.pick(d.even(COUNTABLE)), d.integer(1, 30), d.integer(1, 20)
        kind = d.integer(0, 5)
        if kind == 0:
            out.append(f"{p.name} had {count_noun(x + y, noun)} and gave {number(y)} to {q.name}. Then {p.she} had {number(x)} left.")
        elif kind == 1:
            out.append(f"{p.name} has {x} {plural(noun)} and {q.name} has {y}. How many do they have together? {x} + {y} = {x + y}.")
        elif kind == 2:
            x, y = d.integer(2, 12), d.integer(2, 12)
            out.append(f"{cap(number(x))} {plural(d.pick('containers'))} with {count_noun(y, noun)} each make {count_noun(x * y, noun)}.")
        elif kind == 3:
            out.append(f"{x} + {y} = {x + y}; {x + y} - {x} = {y}.")
        elif kind == 4:
            x, y = d.integer(2, 12), d.integer(2, 12)
            out.append(f"{x} times {y} is {x * y}.")
        else:
            out.append(
                f"{cap(a(noun))} costs {number(x)} pence and {a(d.pick('objects'))} {number(y)}. {p.name} needs {number(x + y)} pence for both."
            )
    return d.even([" ", "\n"]).join(out)


def inventory(d, allow):
    title = d.even(
        [
            f"Things in the {d.pick('rooms')}",
            f"Lost and found, {d.pick('days')}",
            f"To buy in {some_entity(d, WORLD.towns)['name']}",
            f"What {Person(d, set()).name} packed",
            "Stock of the shop",
        ]
    )
    mark = d.even(["- ", "* ", ""])
    lines = []
    for _ in range(d.integer(4, 12)):
        thing = d.pick("objects")
        lines.append(
            mark
            + d.even(
                [
                    f"{count_noun(d.integer(1, 24), thing)}",
                    f"{a(d.pick('obj_adjs') + ' ' + thing)}",
                    f"{a(d.pick('materials') + ' ' + thing)} ({d.integer(1, 99)} pence)",
                    some_food(d.pick("foods")),
                    f"{plural(thing)}, {d.pick('obj_adjs')}",
                ]
            )
        )
    return f"{title}:\n" + "\n".join(lines)


def diary(d, allow):
    out, day, month = [], d.integer(1, 20), d.pick("months")
    friend = Person(d, set())
    for _ in range(d.integer(2, 6)):
        bits = [
            d.pick("weather_sentences") + ".",
            f"{friend.name} came and {d.pick('intransitive')}.",
            f"I had to {d.pick('chores')}.",
            f"we {d.pick('move_verbs')} to the {d.pick('places')}, but {d.pick('obstacles')}.",
            f"felt {d.pick('feelings')}.",
            f"saw {a(d.pick('animal_adjs') + ' ' + d.pick('animals'))} by the {d.pick('places')}.",
            f"read that {fact_sentence(d)}.",
            f"ate {some_food(d.pick('foods'))}; drank {d.pick('drinks')}.",
            f"the {d.pick('plants')} is in leaf.",
            f"{friend.name} is {d.pick('feelings')} since {d.pick('obstacles')}.",
            f"tried {d.pick('crafts')}: {d.pick('adjs_abstract')}!",
            f"temperature {d.integer(-12, 31)} degrees, {d.pick('weather')}.",
        ]
        d.random.shuffle(bits)
        out.append(f"{day} {month}. " + " ".join(cap(b) for b in bits[: d.integer(2, 6)]))
        day += d.integer(1, 2)
    return d.even(["\n", "\n\n"]).join(out)


def play(d, allow):
    taken = set()
    cast = [Person(d, taken) for _ in range(d.integer(2, 3))]
    place, lines = d.pick("places"), []
    goal = d.pick("adventure_goals")
    for i in range(d.integer(5, 14)):
        p = cast[i % len(cast)]
        q = cast[(i + 1) % len(cast)]
        line = d.even(
            [
                f"Why did you not {d.pick('chores')}?",
                f"Because {d.pick('obstacles')}.",
                f"We must {goal}, {q.name}.",
                f"{cap(fact_sentence(d))}.",
                f"Is that {a(d.pick('obj_adjs') + ' ' + d.pick('objects'))}?",
                f"You are {d.pick('person_adjs')}, {q.name}, and I am {d.pick('feelings')}.",
                f"My {d.pick('kin')} always said: {d.pick('morals')}.",
                "Never!",
                "Hm.",
                "If you say so...",
                f"I saw {a(d.pick('animals'))} in the {d.pick('places')}.",
                f"Bring me {some_food(d.pick('foods'))} and {d.pick('drinks')}!",
                f"It would be {d.pick('adjs_abstract')} to {goal}.",
                f"How many {plural(d.pick('objects'))} do you have?",
                f"{cap(number(d.integer(1, 60)))}.",
                f"Not on {d.pick('days')}.",
            ]
        )
        aside = f" ({d.pick('manner')})" if d.chance(0.15) else ""
        lines.append(f"{p.name.upper()}{aside}: {line}")
    return f"Scene: {a(d.pick('place_adjs') + ' ' + place)}. {cap(d.pick('times'))}.\n\n" + "\n".join(lines)


def questions(d, allow):
    """Questions about the invented world with short answers."""
    out = []
    for _ in range(d.integer(3, 8)):
        t, p, b, h = (some_entity(d, e) for e in (WORLD.towns, WORLD.people, WORLD.beasts, WORLD.herbs))
        out.append(
            "Q: "
            + d.even(
                [
                    f"On which river does {t['name']} lie?\nA: On the {t['river']}.",
                    f"When is the market in {t['name']}?\nA: On {t['day']}.",
                    f"In which region is {t['name']}?\nA: In {t['region']}.",
                    f"What is {t['name']} known for?\nA: For its {t['goods'][0]} and its {t['goods'][1]}.",
                    f"Who was {p['name']}?\nA: {cap(a(p['job']))} from {p['town']}.",
                    f"When was {p['name']} born?\nA: In {p['born']}.",
                    f"Where did {p['name']} die?\nA: In {p['death_town']}.",
                    f"What does the {b['name']} eat?\nA: {cap(some_food(b['food']))}.",
                    f"Where does the {b['name']} live?\nA: In {b['habitat']}.",
                    f"What is {h['name']} good for?\nA: Against {h['cures']}.",
                    f"What colour are the flowers of {h['name']}?\nA: {cap(h['colour'])}.",
                ]
            )
        )
    return "\n".join(out)


KINDS = ((story, 36), (encyclopedia, 22), (letter, 10), (recipe, 5), (sums, 3), (inventory, 5), (diary, 10), (play, 9), (questions, 4))


def document(split, index):
    """Document number `index` of a split; a pure function of its arguments."""
    d = Dice(SPLIT_SEEDS[split] + index)
    kind = d.random.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
    return kind(d, split == "heldout")


def documents(split, num_bytes, start=0):
    index, total = start, 0
    while total < num_bytes:
        text = document(split, index)
        total += len(text.encode()) + len(DOCUMENT_BREAK)
        index += 1
        yield text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=sorted(SPLIT_SEEDS), required=True)
    parser.add_argument("--megabytes", type=float, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    text = DOCUMENT_BREAK.join(documents(arguments.split, arguments.megabytes * 1e6)) + "\n"
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
