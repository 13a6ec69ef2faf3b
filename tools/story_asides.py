# SPDX-License-Identifier: Apache-2.0
"""Things said in passing: phrases and sentences that no later sentence depends on."""

from story_words import a, cap, count_noun, past, plural, some_food


def decorated(d, text):
    """The sentence with a phrase added that leaves the state alone."""
    kind = d.integer(0, 9)
    if kind == 0:
        return f"{text[:-1]}, {d.pick('manner')}, like {a(d.pick('animal_adjs') + ' ' + d.pick('animals'))}."
    if kind == 1:
        return f"{text[:-1]}, while {count_noun(d.integer(2, 12), d.pick('animals'))} {d.pick('intransitive')}."
    if kind == 2:
        return (
            f"{text[:-1]}, as {d.pick('person_adjs')} as {a(d.pick('man_jobs'))} and as {d.pick('animal_adjs')} as {a(d.pick('animals'))}."
        )
    if kind == 3:
        return (
            f"on {d.pick('days')}, the {d.integer(1, 28)}th of {d.pick('months')}, {text}"
            if text[0].isupper()
            else f"that {d.pick('times')} {text}"
        )
    if kind == 4:
        return f"{text[:-1]}; the {d.pick('weather')} was {d.pick('adjs_abstract')}, the {d.pick('places')} {d.pick('place_adjs')}."
    if kind == 5:
        return f"{text[:-1]} (there were {plural(d.pick('plants'))} and {plural(d.pick('animals'))} everywhere)."
    if kind == 6:
        return f"{text[:-1]} - {d.pick('adjs_abstract')}, said the {d.pick('kin')} of {d.pick('boy_names')}."
    if kind == 7:
        return f"{text[:-1]}, and all thought of {some_food(d.pick('foods'))}, {some_food(d.pick('foods'))} and {d.pick('drinks')}."
    if kind == 8:
        return f"{text[:-1]}, for {d.pick('obstacles')}, and the {d.pick('kin')} must {d.pick('chores')}."
    return f"{text[:-1]}, not without {d.pick('feelings_nouns')} and {d.pick('feelings_nouns')}."


def anecdote(dice, title):
    """Something that happened once; unlike the facts, it is new each time."""
    job = a(f"{dice.pick('person_adjs')} {dice.pick('man_jobs')}")
    thing = f"{dice.pick('obj_adjs')} {dice.pick('objects')}"
    kind = dice.integer(0, 5)
    if kind == 0:
        return f"In the {dice.pick('seasons')} of {dice.integer(1500, 1890)} {job} brought {count_noun(dice.integer(2, 90), dice.pick('objects'))} and {a(thing)} from the {dice.pick('places')}."
    if kind == 1:
        return f"{cap(a(dice.pick('kin')))} of {dice.pick('girl_names')} {dice.pick('surnames')} once {past(dice.pick('regular_verbs'))} {a(thing)} there, although {dice.pick('obstacles')}."
    if kind == 2:
        return f"Old songs tell of {a(dice.pick('animal_adjs') + ' ' + dice.pick('animals'))}, {job} and {a(thing)}."
    if kind == 3:
        return f"Some say that {dice.pick('morals')}; others only speak of {dice.pick('plants')}, {dice.pick('goods')} and {dice.pick('feelings_nouns')}."
    if kind == 4:
        return f"One {dice.pick('days')} in {dice.pick('months')}, {dice.pick('boy_names')} the {dice.pick('man_jobs')} wrote about it to {dice.pick('girl_names')}: \"{cap(dice.pick('adjs_abstract'))}, {dice.pick('person_adjs')} and {dice.pick('place_adjs')}.\""
    return f"{cap(dice.pick('crafts'))} and {dice.pick('crafts')} are {dice.pick('adjs_abstract')} there, and the {dice.pick('animals')} is thought {dice.pick('animal_adjs')}."
