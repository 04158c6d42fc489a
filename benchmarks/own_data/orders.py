"""Orders in words, and what they ask for: product, quantity and city as JSON.

Other numbers and places stand beside the right ones, so that it takes reading.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from benchmarks.own_data.drawing import distinct, filled
from schemas.base import JsonObject

PRODUCTS = (
    "green tea",
    "coffee beans",
    "olive oil",
    "garden chairs",
    "printer paper",
    "desk lamps",
    "wool blankets",
    "candles",
    "wine glasses",
    "bath towels",
    "notebooks",
    "paint brushes",
    "bicycle tubes",
    "batteries",
    "hand soap",
    "flower pots",
    "picture frames",
    "tablecloths",
    "dog leads",
    "water filters",
    "work gloves",
    "door mats",
    "soup bowls",
    "cushions",
)
CITIES = (
    "Riga",
    "Lisbon",
    "Graz",
    "Bergen",
    "Porto",
    "Gdansk",
    "Bologna",
    "Ghent",
    "Aarhus",
    "Leipzig",
    "Turku",
    "Split",
    "Toulouse",
    "Galway",
    "Basel",
    "Malaga",
    "Brno",
    "Utrecht",
    "Leeds",
    "Pisa",
)
NUMBERS = {
    2: "two",
    3: "three",
    4: "four",
    5: "five",
    6: "half a dozen",
    7: "seven",
    8: "eight",
    9: "nine",
    10: "ten",
    12: "a dozen",
    15: "fifteen",
    20: "twenty",
    24: "two dozen",
    30: "thirty",
    40: "forty",
    50: "fifty",
}
UNITS = ("boxes of", "packs of", "units of", "cartons of", "pieces of", "")
ASKED = (
    "please send {n} {p} to our branch in {c}{end}",
    "we need {n} {p} in {c}{end}",
    "can you deliver {n} {p}? The address is in {c}{end}",
    "order for {c}: {n} {p}{end}",
    "{c} is out of {p0}. Ship {n} there{end}",
    "I'd like to order {n} {p}, delivered to {c}{end}",
    "put me down for {n} {p}, they go to {c}{end}",
    "our shop in {c} sold its last {p0}, so {n} more{end}",
    "last time it was for {other}, this time make it {n} {p} for {c}{end}",
    "not {o} this time: {n} {p}, same as always to {c}{end}",
    "{n} {p}. To {c}, not to {other}{end}",
    "the invoice goes to {other}, but the goods, {n} {p}, to {c}{end}",
    "how soon could {n} {p} be in {c}? If by Friday, send them{end}",
    "my colleague in {other} said you have {p0}; we take {n}, for {c}{end}",
    "to {c} please: {p0}, {n} of them{end}",
    "add {n} {p} to what you send to {c} anyway{end}",
)
OPENINGS = (
    "",
    "",
    "Hello, ",
    "Good morning! ",
    "Hi there, ",
    "Order 4471: ",
    "Dear all, ",
    "As agreed, ",
    "Quick one: ",
    "It's Anna from purchasing, ",
    "Following up on the phone call: ",
)
ENDS = (
    "",
    ".",
    ", thanks.",
    ". No hurry.",
    ", before the 14th if you can.",
    ". Call 555-0142 first.",
    ". Leave it at door 3.",
    ", as soon as you can.",
    ". Kind regards, Tom",
    ", account 88120.",
)


def order_rows(rows: int, seed: int = 7) -> Iterator[tuple[str, JsonObject]]:
    draw = random.Random(seed)

    def make(_: int) -> tuple[str, JsonObject]:
        product, city = draw.choice(PRODUCTS), draw.choice(CITIES)
        quantity = draw.choice(list(NUMBERS)) if draw.random() < 0.6 else draw.randint(2, 180)
        amount = NUMBERS.get(quantity, "") if draw.random() < 0.5 else ""
        unit = draw.choice(UNITS)
        text = filled(
            draw,
            draw.choice(OPENINGS) + draw.choice(ASKED),
            {
                "n": (amount or str(quantity),),
                "p": (f"{unit} {product}".strip(),),
                "p0": (product,),
                "c": (city,),
                "other": tuple(each for each in CITIES if each != city),
                "o": tuple(each for each in PRODUCTS if each != product),
                "end": ENDS,
            },
        )
        return text, {"product": product, "quantity": quantity, "city": city}

    return distinct(rows, make)
