# SPDX-License-Identifier: Apache-2.0
"""The people of the stories and the things they hold."""

import zlib

from story_words import LISTS, MASS_FOODS

COUNTABLE = (tuple(f for f in LISTS["foods"] if f not in MASS_FOODS and f != "garlic"), LISTS["animals"], LISTS["objects"])


def reserved(name, noun):
    """Pairs that occur only in held-out text: a sixteenth of all (name, object) pairs."""
    return zlib.crc32(f"{name}/{noun}".encode()) % 16 == 0


class Person:
    def __init__(self, dice, taken):
        self.woman = dice.chance(0.5)
        names = "girl_names" if self.woman else "boy_names"
        self.name = dice.pick(names)
        while self.name in taken:
            self.name = dice.pick(names)
        taken.add(self.name)
        self.she, self.her, self.hers = ("she", "her", "her") if self.woman else ("he", "him", "his")
        self.adj = dice.pick("person_adjs")
        young = dice.chance(0.4)
        self.role = ("girl" if self.woman else "boy") if young else dice.pick("woman_jobs" if self.woman else "man_jobs")
        self.feeling = None
        self.place = None
        self.holding = []
        self.goal = None


class Thing:
    def __init__(self, dice, owner, allow_reserved):
        self.noun = dice.pick("objects")
        while reserved(owner.name, self.noun) and not allow_reserved:
            self.noun = dice.pick("objects")
        self.adj = dice.pick("obj_adjs")

    @property
    def full(self):
        return f"{self.adj} {self.noun}"
