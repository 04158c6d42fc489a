"""Messages of tenants to a house's management, for one of two teams: caretaker or office.

Things of both teams are named in both: a heating that is cold is the caretaker's, its bill the
office's. So no single word tells the team.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from benchmarks.own_data.drawing import distinct, filled

SLOTS = {
    "thing": (
        (
            "heating",
            "lift",
            "front door",
            "laundry room",
            "garage gate",
            "intercom",
            "boiler",
            "bicycle cellar",
            "balcony",
            "letter box",
            "bathroom fan",
            "stairway light",
            "roof",
        )
    ),
    "place": (
        (
            "in the cellar",
            "on the third floor",
            "in our kitchen",
            "next to flat 12",
            "at the back",
            "by the bins",
            "in the hall",
            "in the bathroom",
            "under the stairs",
            "in the courtyard",
        )
    ),
    "time": (
        (
            "since Monday",
            "since this morning",
            "for a week now",
            "again",
            "after the storm",
            "since the weekend",
            "every evening",
            "since the workmen left",
            "for days",
            "tonight",
        )
    ),
    "paper": (
        (
            "the bill for the {x}",
            "the contract for the {x}",
            "my deposit",
            "the yearly statement",
            "the rent for May",
            "a receipt for the {x}",
            "the lease",
            "the reminder you sent me",
            "the costs of the {x}",
            "the form for a second key",
            "proof that I live here",
        )
    ),
    "month": ("March", "last year", "this quarter", "May and June", "the winter", "2025"),
    "person": ("my husband", "the lady below us", "my neighbour", "our guest", "a courier"),
}
CARETAKER = (
    "the {thing} makes a grinding noise {time}",
    "the {thing} does not open any more {time}",
    "water is dripping {place} {time}",
    "it smells of gas {place}, could somebody look at once",
    "{person} is stuck because the {thing} stopped",
    "the {thing} is cold {time} and we have a baby",
    "somebody broke the glass {place}",
    "there are mice {place}, I saw two {time}",
    "the screws of the {thing} are loose and it hangs down",
    "the light goes on and off {place} {time}",
    "the {thing} is blocked with leaves and it floods",
    "the handle of the {thing} came off in my hand",
    "mould is growing {place}, it was dry before",
    "the notice you put up fell down {place} and the glue ruined the paint of the {thing}",
    "snow was not cleared {place} and {person} fell",
    "the {thing} was mended {time} and broke the same evening",
    "sparks come out of the socket {place}",
    "please bring a ladder, the bulb {place} is dead {time}",
    "the drain gurgles {place} {time}",
    "the new lock of the {thing} jams, the key does not turn",
)
OFFICE = (
    "I cannot find {paper} and need it for the tax office",
    "why is {paper} higher than for {month}",
    "please send {paper} to my new address",
    "I paid {paper} twice for {month}, when is it given back",
    "{person} wants to be added to {paper}",
    "whom do I ask about {paper}",
    "may I sublet two rooms while I work abroad for {month}",
    "I would like to move out in {month}, how much notice do I give",
    "is the repair of the {thing} charged to us or to the owner",
    "we want to rent a place {place} for our car, what does it cost",
    "there is an error in {paper}: it says 84 square metres and we have 71",
    "can the rent be lowered for {month}, the {thing} was out of use",
    "my bank account changed, from which month on do you take {paper} from the new one",
    "could you confirm in writing that the {thing} will be replaced in {month}",
    "the caretaker said that you decide about a dog, may we keep one",
    "I do not agree with {paper} and would like to see how you worked it out",
    "please take {person} off {paper}",
    "we had no warm water for {month}, what do we get back for it",
    "when do we get {paper} for {month}",
    "is a subscription for the {thing} part of {paper}",
)
OPENINGS = (
    "",
    "",
    "Hello, ",
    "Good morning, ",
    "Dear team, ",
    "Hi, ",
    "Flat 7 here: ",
    "Urgent? No idea: ",
    "Sorry to bother you again, ",
    "Me again: ",
    "As I said on the phone, ",
    "Just so you know, ",
)
CLOSINGS = (
    "",
    "",
    ".",
    ", thank you.",
    ". Greetings, Frau Jäger",
    ", thanks a lot!",
    ". Please call me.",
    ". I am at home after five.",
    ". Could you answer by Friday?",
    ", we wait for your answer.",
    ". Tell me what you need from me.",
    ". Kind regards, flat 31",
)
TEAMS = {"caretaker": CARETAKER, "office": OFFICE}


def caretaker_rows(rows: int, seed: int = 7) -> Iterator[tuple[str, str]]:
    draw = random.Random(seed)

    def make(number: int) -> tuple[str, str]:
        team = ("caretaker", "office")[number % 2]
        slots = SLOTS | {
            "paper": tuple(
                each.replace("{x}", draw.choice(SLOTS["thing"])) for each in SLOTS["paper"]
            )
        }
        said = filled(draw, draw.choice(TEAMS[team]), slots)
        opening = draw.choice(OPENINGS)
        first = said if opening else said[0].upper() + said[1:]
        return opening + first + draw.choice(CLOSINGS), team

    return distinct(rows, make)
