# SPDX-License-Identifier: Apache-2.0
"""Stories: people, beasts and things in a small simulated place. Every sentence follows from the state, so who holds what, who is where and
how a thing looks stay true to the end."""

from story_asides import decorated
from story_people import COUNTABLE, Person, Thing, reserved
from story_words import a, cap, count_noun, past, plural, some_food
from story_world import WORLD, fact_sentence, some_entity


class Story:
    """Builds one story; `allow_reserved` is true for held-out text only."""

    def __init__(self, dice, allow_reserved):
        self.dice, self.allow = dice, allow_reserved
        taken = set()
        self.people = [Person(dice, taken) for _ in range(dice.random.choices((1, 2, 3, 4), (2, 6, 4, 1))[0])]
        self.places = dice.several("places", dice.integer(2, 4))
        self.hidden = {}  # thing -> (container, place)
        self.sentences, self.last = [], None
        self.animal = (dice.pick("animal_adjs"), dice.pick("animals")) if dice.chance(0.5) else None
        self.animal_name = None
        for person in self.people:
            person.place = self.places[0]

    # Small tools

    def say(self, text):
        if '"' not in text and text.endswith(".") and self.dice.chance(0.4):
            text = decorated(self.dice, text)
        self.sentences.append(cap(text))

    def look(self, p):
        d, s = self.dice, self.subject(p)
        seen = [
            a(f"{d.pick('obj_adjs')} {d.pick('materials')} {d.pick('objects')}"),
            a(f"{d.pick('animal_adjs')} {d.pick('animals')}"),
            count_noun(d.integer(2, 20), d.pick("objects")),
            f"the {d.pick('feelings')} {d.pick('woman_jobs')}",
            a(f"{d.pick('colours')} {d.pick('plants')}"),
            f"a {d.pick('containers')} of {plural(d.pick(COUNTABLE[0]))}",
        ]
        d.random.shuffle(seen)
        where = d.even(["behind", "beside", "above", "under", "in front of", "not far from"])
        verb = d.even(["saw", "noticed", "drew", "passed", "counted", "looked at", "dreamt of"])
        self.say(f"{s} {verb} {', '.join(seen[:d.integer(1, 3)])} and {seen[4]} {where} the {d.pick('places')}.")
        return True

    def subject(self, person):
        """The name, or a pronoun when the sentence before had the same subject."""
        pronoun = self.last is person and self.dice.chance(0.65)
        self.last = person
        return person.she if pronoun else person.name

    def others(self, person):
        return [p for p in self.people if p is not person and p.place == person.place]

    def may_hold(self, person, thing):
        return self.allow or not reserved(person.name, thing.noun)

    # Beginnings

    def introduce(self):
        d, p = self.dice, self.people[0]
        town = some_entity(d, WORLD.towns)["name"]
        self.say(
            d.even(
                [
                    f"once there was {a(p.adj)} {p.role} called {p.name}.",
                    f"{p.name} was {a(p.adj)} {p.role} who lived in {town}.",
                    f"in {town} there lived {a(p.adj)} {p.role} named {p.name}.",
                    f"one {d.pick('days')} {d.pick('times')} in {d.pick('months')}, {p.name} the {p.role} was at the {p.place}.",
                    f"everybody in {town} knew {p.name}, the {p.adj} {p.role}.",
                    f"{p.name}, {a(p.adj)} {p.role}, had come to {town} in the {d.pick('seasons')}.",
                ]
            )
        )
        self.last = p
        for other in self.people[1:]:
            self.say(
                d.even(
                    [
                        f"{p.hers} best friend was {other.name}, {a(other.adj)} {other.role}.",
                        f"next door lived {other.name}, who was {a(other.role)} and rather {other.adj}.",
                        f"{other.name}, the {other.role}, was {other.adj}.",
                        f"there was also {a(other.role)} called {other.name}.",
                    ]
                )
            )
            self.last = None
        if self.animal:
            adj, noun = self.animal
            owner = d.even(self.people)
            if d.chance(0.6):
                self.animal_name = d.pick(
                    (
                        "Biscuit",
                        "Button",
                        "Moss",
                        "Pepper",
                        "Captain",
                        "Duchess",
                        "Smoke",
                        "Turnip",
                        "Bramble",
                        "Old Ned",
                        "Pudding",
                        "Thunder",
                        "Snowball",
                        "Socks",
                    )
                )
                self.say(f"{owner.name} had {a(adj)} {noun} called {self.animal_name}.")
            else:
                self.say(f"{owner.name} had {a(adj)} {noun}.")
            self.last = None
        if d.chance(0.6):
            self.say(
                d.pick("weather_sentences") + d.even([".", f", and the {p.place} was {d.pick('place_adjs')}.", f" that {d.pick('times')}."])
            )
            self.last = None
        for person in self.people:
            if d.chance(0.6):
                self.gain(person)
        if d.chance(0.7):
            p.goal = d.pick("adventure_goals")
            s = self.subject(p)
            self.say(d.even([f"{s} wanted to {p.goal}.", f"{s} had promised to {p.goal}.", f"all {s} wished for was to {p.goal}."]))

    def gain(self, person):
        d = self.dice
        thing = Thing(d, person, self.allow)
        if any(thing.noun == t.noun for p in self.people for t in p.holding) or any(thing.noun == t.noun for t in self.hidden):
            return
        person.holding.append(thing)
        s = self.subject(person)
        self.say(
            d.even(
                [
                    f"{s} had {a(thing.full)}.",
                    f"{s} carried {a(thing.full)}.",
                    f"{s} found {a(thing.full)} in the {person.place}.",
                    f"{s} bought {a(thing.full)} for {d.integer(2, 40)} pence.",
                    f"{s} was very proud of {person.hers} {thing.full}.",
                    f"under {a(d.pick('plants'))} {s} found {a(thing.full)}.",
                    f"{person.hers} {d.pick('kin')} had given {person.her} {a(thing.full)}.",
                ]
            )
        )

    # Events: each returns True when it applied

    def move(self, p):
        d = self.dice
        target = d.even([x for x in self.places if x != p.place])
        company = self.others(p)
        verb, s = d.pick("move_verbs"), None
        if company and d.chance(0.5):
            friend = d.even(company)
            friend.place = p.place = target
            self.say(f"{p.name} and {friend.name} {verb} to the {target}.")
            self.last = None
        else:
            s = self.subject(p)
            p.place = target
            manner = f" {d.pick('manner')}" if d.chance(0.3) else ""
            self.say(
                d.even(
                    [
                        f"{s} {verb}{manner} to the {target}.",
                        f"then {s} {verb} to the {d.pick('place_adjs')} {target}.",
                        f"in the {d.pick(('morning', 'afternoon', 'evening'))} {s} {verb} to the {target}.",
                    ]
                )
            )
        return True

    def give(self, p):
        friends = [q for q in self.others(p)]
        if not p.holding or not friends:
            return False
        d, q = self.dice, self.dice.even(friends)
        thing = d.even(p.holding)
        if not self.may_hold(q, thing):
            return False
        p.holding.remove(thing)
        q.holding.append(thing)
        s = self.subject(p)
        self.say(
            d.even(
                [
                    f"{s} gave the {thing.noun} to {q.name}.",
                    f"{s} gave {q.name} the {thing.full}.",
                    f"{s} lent the {thing.noun} to {q.name}.",
                    f'"Take my {thing.noun}," {s} {d.pick(("said", "offered", "whispered", "insisted"))}, and {q.name} took it.',
                    f"{q.name} asked for the {thing.noun}, and {s} {d.pick('manner')} handed it over.",
                ]
            )
        )
        if d.chance(0.5):
            q.feeling = d.pick(("happy", "grateful", "surprised", "delighted", "glad", "speechless", "proud"))
            self.say(
                d.even([f"now {q.name} had the {thing.noun}.", f"{q.name} was {q.feeling}.", f'"Thank you, {p.name}," said {q.name}.'])
            )
            self.last = q
        return True

    def hide(self, p):
        if not p.holding:
            return False
        d, thing, box = self.dice, self.dice.even(p.holding), self.dice.pick("containers")
        if box == thing.noun:
            return False
        p.holding.remove(thing)
        self.hidden[thing] = (box, p.place)
        s = self.subject(p)
        self.say(
            d.even(
                [
                    f"{s} {d.pick(('put', 'hid', 'left', 'laid', 'placed', 'forgot'))} the {thing.noun} in {a(box)} in the {p.place}.",
                    f"{s} locked the {thing.full} in {a(box)} in the {p.place}.",
                    f"so that nobody would see it, {s} hid the {thing.noun} in {a(box)}.",
                ]
            )
        )
        return True

    def fetch(self, p):
        here = [t for t, (_, place) in self.hidden.items() if place == p.place and self.may_hold(p, t)]
        if not here:
            return False
        d, thing = self.dice, self.dice.even(here)
        box, _ = self.hidden.pop(thing)
        p.holding.append(thing)
        s = self.subject(p)
        self.say(
            d.even(
                [
                    f"{s} took the {thing.noun} out of the {box}.",
                    f"{s} opened the {box} and found the {thing.full}.",
                    f"{d.pick('manner')} {s} looked into the {box}, and there was the {thing.noun}.",
                ]
            )
        )
        return True

    def use(self, p):
        if not p.holding:
            return False
        d, thing = self.dice, self.dice.even(p.holding)
        verb = past(d.pick("regular_verbs"))
        s = self.subject(p)
        self.say(
            d.even(
                [
                    f"{s} {verb} the {thing.noun}.",
                    f"{d.pick('manner')} {s} {verb} the {thing.noun}.",
                    f"{s} {verb} the {thing.full} {d.pick('manner')}.",
                    f"in the {p.place}, {s} {verb} {p.hers} {thing.noun} and {d.pick('intransitive')}.",
                    f"{s} took the {d.pick(('left', 'right', 'clean', 'broken'))} side of the {thing.noun} and {verb} it.",
                ]
            )
        )
        return True

    def feel(self, p):
        d = self.dice
        p.feeling = d.pick("feelings")
        s = self.subject(p)
        cause = d.even(
            [
                f"because {d.pick('obstacles')}",
                "because nobody had come",
                f"when {p.she} saw the {p.place}",
                f"since {p.she} had no {d.pick('foods')} left",
                f"although it was {d.pick('days')}",
            ]
        )
        self.say(
            d.even(
                [
                    f"{s} was {p.feeling}.",
                    f"{s} felt {p.feeling} {cause}.",
                    f"{s} {d.pick('intransitive')}.",
                    f"{s} {d.pick('intransitive')} and felt {p.feeling}.",
                    f"{p.name} was full of {d.pick('feelings_nouns')}.",
                    f"{s} scratched {p.hers} {d.pick('bodyparts')} and {d.pick('intransitive')}.",
                ]
            )
        )
        return True

    def talk(self, p):
        friends = self.others(p)
        d = self.dice
        if not friends:
            self.say(f'"{cap(fact_sentence(d))}," {p.name} {d.even(["said", "whispered", "muttered", "murmured"])} to {p.her}self.')
            self.last = p
            return True
        q, verb, kind = d.even(friends), d.pick("said"), d.integer(0, 6)
        how = f" {d.pick('manner')}" if d.chance(0.25) else ""
        if kind == 0:
            self.say(
                f'"Did you know that {fact_sentence(d)}?" {verb if verb != "said" else "asked"} {p.name}{how}. "{d.even(["No", "Yes", "Of course", "I had no idea", "Everybody knows that"])}," {d.pick("said")} {q.name}.'
            )
        elif kind == 1 and (p.holding or q.holding):
            owner = p if p.holding else q
            thing = d.even(owner.holding)
            mine = "I have" if owner is q else "You have"
            self.say(f'"Who has the {thing.noun}?" asked {p.name}{how}. "{mine} it," {d.pick("said")} {q.name}.')
        elif kind == 2:
            place = d.even(self.places)
            reply = d.even(
                [f"I am too {d.pick('feelings')}", "Not today", "With pleasure", "Only if you carry me", f"Not before {d.pick('days')}"]
            )
            self.say(f'"Shall we go to the {place}?" {p.name} asked {q.name}. "{reply}!"')
        elif kind == 3:
            self.say(
                f'"{d.even(["Look", "Listen", "Help", "Stop", "Wait", "Hurry", "Careful", "Nonsense", "Well, well", "Goodness"])}!" {verb} {p.name}{how}. "{cap(d.pick("obstacles"))}."'
            )
        elif kind == 4:
            n, m = d.integer(1, 12), d.integer(1, 12)
            noun = d.pick(d.even(COUNTABLE))
            self.say(
                f'"I have {count_noun(n, noun)}," {verb} {p.name}. "And I have {count_noun(m, noun)}," {d.pick("said")} {q.name}. Together they had {count_noun(n + m, noun)}.'
            )
        elif kind == 5:
            self.say(f'"It is {d.pick("adjs_abstract")} to {d.pick(d.even(("adventure_goals", "chores")))}," {verb} {p.name}{how}.')
        else:
            self.say(f'"Remember, {q.name}," {verb} {p.name}{how}, "{d.pick("morals")}."')
        self.last = None
        return True

    def chore(self, p):
        d, s = self.dice, self.subject(p)
        self.say(
            d.even(
                [
                    f"{s} had to {d.pick('chores')} before {d.pick('times')}.",
                    f"{s} forgot to {d.pick('chores')}.",
                    f"first {s} had to {d.pick('chores')} and then to {d.pick('chores')}.",
                ]
            )
        )
        return True

    def eat(self, p):
        d, company = self.dice, self.others(p)
        food, drink = some_food(d.pick("foods")), d.pick("drinks")
        if company and d.chance(0.5):
            self.say(f"{p.name} and {company[0].name} ate {food} and drank {drink}.")
            self.last = None
        else:
            s = self.subject(p)
            self.say(
                d.even(
                    [
                        f"{s} ate {food} with {some_food(d.pick('foods'))}.",
                        f"{s} drank {d.pick(('a cup', 'a mug', 'a little', 'a jug'))} of {drink}.".replace("a little of", "a little"),
                        f"for supper there was {food}, but {s} only wanted {drink}.",
                    ]
                )
            )
        return True

    def beast(self, p):
        if not self.animal:
            return False
        d, (adj, noun) = self.dice, self.animal
        who = self.animal_name if self.animal_name and d.chance(0.6) else f"the {noun}"
        self.say(
            d.even(
                [
                    f"{who} {d.pick('move_verbs')} after {p.name}.",
                    f"{who} lay in the {d.pick(('sun', 'shade', 'corner', 'straw'))} and {d.pick(('slept', 'waited', 'yawned', 'listened'))}.",
                    f"{p.name} gave {who} some {d.pick(('bread', 'milk', 'water', 'cheese', 'fish', 'porridge'))}.",
                    f"{who} was {d.pick('feelings')}.",
                    f"the {adj} {noun} looked at {p.name} {d.pick('manner')}.",
                    f"suddenly {who} ran into the {p.place}.",
                ]
            )
        )
        self.last = None
        return True

    def where(self, p):
        """Names the state once more: who holds what, who is where, where a hidden thing lies."""
        d = self.dice
        kind = d.integer(0, 2)
        if kind == 0 and self.hidden:
            thing = d.even(list(self.hidden))
            box, place = self.hidden[thing]
            self.say(f"the {thing.noun} was still in the {box} in the {place}.")
        elif kind == 1 and p.holding:
            self.say(f"{p.name} still had the {d.even(p.holding).full}.")
        else:
            self.say(
                f"{p.name} was at the {p.place} now{', but ' + self.people[-1].name + ' was at the ' + self.people[-1].place if self.people[-1].place != p.place else ''}."
            )
        self.last = None
        return True

    def trouble(self, p):
        d = self.dice
        self.say(
            d.even(
                [
                    f"but {d.pick('obstacles')}.",
                    f"unfortunately, {d.pick('obstacles')}.",
                    f"then {d.pick('obstacles')}, and {p.name} {d.pick('intransitive')}.",
                    f"that {d.pick('times')} there was {d.pick('weather')}.",
                ]
            )
        )
        self.last = None
        return True

    def finish(self):
        d, p = self.dice, self.people[0]
        if p.goal:
            self.say(
                d.even(
                    [
                        f"in the end {p.name} managed to {p.goal}.",
                        f"that is how {p.name} came to {p.goal}.",
                        f"{p.name} never managed to {p.goal}, but {p.she} was {d.pick('feelings')} all the same.",
                        f"after {d.integer(2, 30)} days {p.name} was able to {p.goal}.",
                    ]
                )
            )
        for q in self.people:
            if q.holding and d.chance(0.5):
                self.say(
                    d.even(
                        [f"{q.name} kept the {d.even(q.holding).noun} for ever.", f"and {q.name} still has the {d.even(q.holding).full}."]
                    )
                )
        if d.chance(0.4):
            self.say(
                d.even(
                    [
                        f"so it is true that {d.pick('morals')}.",
                        "They all went home.",
                        f"everyone {d.pick('intransitive')}.",
                        "And that was the end of it.",
                    ]
                )
            )

    def text(self):
        d = self.dice
        self.introduce()
        events = (
            self.move,
            self.give,
            self.hide,
            self.fetch,
            self.use,
            self.feel,
            self.talk,
            self.chore,
            self.eat,
            self.beast,
            self.where,
            self.trouble,
            self.look,
            lambda p: self.gain(p) or True,
        )
        weights = (10, 9, 5, 9, 9, 8, 14, 3, 4, 5, 4, 4, 9, 5)
        breaks = [len(self.sentences)]
        focus = self.people[0]
        for _ in range(d.integer(5, 26)):
            if d.chance(0.35):
                focus = d.even(self.people)
            event = d.random.choices(events, weights)[0]
            event(focus)
            if len(self.sentences) - breaks[-1] > d.integer(3, 9):
                breaks.append(len(self.sentences))
                self.last = None
        self.finish()
        edges = [0] + breaks + [len(self.sentences)]
        paragraphs = [" ".join(self.sentences[i:j]) for i, j in zip(edges, edges[1:]) if j > i]
        return "\n\n".join(paragraphs)
