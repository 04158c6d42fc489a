"""What is left out of training, and why."""

import json
from collections import Counter

import pytest

from services.dataset_builder.curate import curate
from services.dataset_builder.votes import NEWEST
from tests import factories
from tests.unit.dataset_builder.corpus import HOUR_US, labelled, messages, route, row

SPEC = factories.spec()
ASK = "My parcel was due on Monday and it is still not here, where can it be?"
OTHER = "I cannot log in any more, the reset link does not work."


def kept(*rows, spec=SPEC):
    """Return the ends of the ids that are trained on, and how many rows were left out and why."""
    curated = curate(rows, spec)
    assert sum(one.count for one in curated.training) + len(curated.audit) + len(
        curated.lost
    ) == len(rows)
    return [item.row.review_id[-1] for item in curated.training], dict(
        Counter(one.reason for one in curated.lost)
    )


# Each text has a label of its own, and no label may depend on what masking leaves of it.
DECIDING = [
    [("我的订单4711什么时候到", "delivery"), ("订单4712我要退款", "refund")],
    [("注文4711をキャンセルしたい", "cancel"), ("注文4712はいつ届きますか", "delivery")],
    [("내 주문 4711 언제 와요", "delivery"), ("주문 4711 환불해 주세요", "refund")],
    [("طلبي ٤٧١١ متى يصل", "delivery"), ("طلبي ٤٧١٢ أريد استرداد", "refund")],
    [("I get error 404", "not_found"), ("I get error 500", "server")],
    [("iPhone 12 case", "old"), ("iPhone 13 case", "new")],
    [("1/5 stars", "bad"), ("5/5 stars", "good")],
    [("1", "menu_one"), ("2", "menu_two")],
    [("E-17", "door"), ("E-22", "pump")],
    [("plan 10000000", "basic"), ("plan 20000000", "premium")],
    [("code A-123456", "ok"), ("code A-123457", "broken")],
    [("I did receive the parcel", "good"), ("I did not receive the parcel", "bad")],
    [
        (f"how can I {verb} the subscription I bought last week for my mother, thanks a lot", verb)
        for verb in ("cancel", "renew", "upgrade")
    ],
    [("Ich möchte das Abo kündigen", "cancel"), ("Ich möchte das Abo nicht kündigen", "keep")],
    [("size M", "m"), ("size L", "l")],
    [("room at 7pm?", "evening"), ("room at 7am?", "morning")],
]


@pytest.mark.parametrize("texts", DECIDING, ids=lambda texts: texts[0][0][:20])
def test_what_decides_is_kept_apart(texts) -> None:
    spec = labelled(sorted({label for _, label in texts}))
    rows = [row(n, text, label) for n, (text, label) in enumerate(texts)]
    assert kept(*rows, spec=spec) == ([str(n) for n in range(len(texts))], {})


def test_repeats_are_one_row_with_their_number() -> None:
    rows = [
        row(1, ASK, "delivery"),
        row(2, f"  {ASK.upper()} ", "delivery"),
        row(3, OTHER, "password"),
    ]
    curated = curate(rows, SPEC)
    assert [(one.row.review_id[-1], one.count) for one in curated.training] == [("2", 2), ("3", 1)]
    assert curated.lost == []


def test_what_is_only_alike_is_kept() -> None:
    rows = [
        row(n, f"{ASK} {word}", "delivery") for n, word in enumerate(("please", "now", "thanks"))
    ]
    assert kept(*rows) == (["0", "1", "2"], {})


def form(text: str, label: str) -> str:
    return f"Name: Ana Example / Topic: Support / Message: {text} / Sent from our site, {label[:0]}"


WRAPPED = {
    "a web form": form,
    "a greeting": lambda text, _: f"Dear support team, I hope this finds you well. {text}",
    "a signature": lambda text, _: f"{text}\n--\nAna Example\nExample Inc., 12 Main Street",
    "a quoted reply": lambda text, _: (
        f"{text}\n> On Monday Example Support wrote:\n> Thank you for"
        " contacting us, your request was received and will be answered within two days."
    ),
    "a template in Chinese": lambda text, _: (
        f"您好，我是贵公司的老客户，请尽快处理我的问题。{text} 谢谢！"
    ),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
def test_shared_text_is_no_duplicate(wrap) -> None:
    """At least nine tenths of what the bare messages give; here all of it."""
    bare = messages()
    rows = [row(n, text, label) for n, (text, label) in enumerate(bare)]
    wrapped = [row(n, wrap(text, label), label) for n, (text, label) in enumerate(bare)]
    one, other = (curate(some, route()) for some in (rows, wrapped))
    assert len(other.training) == len(one.training)
    largest = Counter(item.cluster for item in other.training).most_common(1)[0][1]
    assert largest < len(bare) / 10, "shared text makes no cluster"


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        (["delivery", "delivery", "refund"], "delivery"),
        (["delivery"] * 6 + ["refund"] * 3, "delivery"),
        # a change of policy
        (["refund"] * 20 + ["password"] * 9, "password"),
        (["refund"] * 200 + ["password"] * NEWEST, "password"),
        # a slip
        (["refund"] * 8 + ["password"], "refund"),
    ],
)
def test_two_thirds_of_the_newest_verdicts_settle_it(answers, right: str) -> None:
    rows = [row(n, ASK, answer, label_source="approved") for n, answer in enumerate(answers)]
    curated = curate(rows, SPEC)
    assert {one.label for one in curated.training} == {right}
    assert {one.reason for one in curated.lost} == {"contradicted"}
    newest = max(n for n, answer in enumerate(answers) if answer == right)
    assert {one.twin for one in curated.lost} == {f"review-{newest:07}"}


def test_the_newest_guideline_is_heard_alone() -> None:
    old = [row(n, ASK, "refund", guideline="2025") for n in range(9)]
    new = [row(9, ASK, "password", guideline="2026")]
    assert kept(*old, *new)[0] == ["9"]
    assert kept(*old, row(9, ASK, "password", guideline="2025", label_source="approved"))[0] == [
        "8"
    ]


def test_an_unsettled_contradiction_leaves_nothing_and_names_the_other() -> None:
    rows = [row(1, ASK, "delivery"), row(2, ASK, "refund")]
    assert kept(*rows) == ([], {"ambiguous": 2})
    assert [one.twin for one in curate(rows, SPEC).lost] == ["review-0000002", "review-0000001"]


def test_contradictions_do_not_chain() -> None:
    """Each is like the next, the first and the last are not; none is the same question."""
    words = ASK.split()
    chain = [" ".join(words[n : n + 9]) for n in range(5)]
    rows = [row(n, text, ("delivery", "refund")[n % 2]) for n, text in enumerate(chain)]
    assert kept(*rows) == (["0", "1", "2", "3", "4"], {})


def test_a_correction_overrules_earlier_approvals() -> None:
    assert kept(row(1, ASK, "refund", label_source="approved"), row(2, ASK, "delivery")) == (
        ["2"],
        {"contradicted": 1},
    )


def test_an_approval_does_not_overrule_a_correction() -> None:
    assert kept(row(1, ASK, "refund"), row(2, ASK, "delivery", label_source="approved")) == (
        [],
        {"ambiguous": 2},
    )


@pytest.mark.parametrize("task", ["conversation", "summarisation"])
def test_good_answers_in_free_text_contradict_nothing(task: str) -> None:
    spec = factories.spec(task=task, labels=(), minimum_per_label=None)
    rows = [row(n, "Hi", f"Hello, how can I help you, number {n}?") for n in range(30)]
    curated = curate(rows, spec)
    assert (len(curated.training), curated.lost) == (30, [])


def turns(*contents: str) -> str:
    roles = ("system", "user", "assistant", "user")
    return json.dumps(
        [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]
    )


def test_what_hangs_on_the_apps_system_turn_is_reported_and_not_trained() -> None:
    """The route serves a system turn of its own, so an adapter could not tell them apart."""
    spec = labelled(["No.", "Yes."])
    rows = [
        row(1, "", "No.", messages=turns("plan: basic", "Can I get a refund?")),
        row(2, "", "Yes.", messages=turns("plan: premium", "Can I get a refund?")),
        row(3, "", "No.", messages=turns("plan: basic", "Is it out of stock?")),
        row(4, "", "No.", messages=turns("plan: premium", "Is it out of stock?")),
    ]
    curated = curate(rows, spec)
    assert {one.reason for one in curated.lost} == {"hangs_on_system_turn"}
    assert [(one.row.review_id[-1], one.count) for one in curated.training] == [("4", 2)]
    assert "plan" not in curated.training[0].question.asked


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({"plan: basic": 6, "plan: premium": 3}, "hangs_on_system_turn"),
        ({"plan: basic": 1, "plan: premium": 3}, "hangs_on_system_turn"),
        # a turn that holds the time says nothing of the answer
        ({f"it is {n} o'clock": 1 for n in range(9)} | {"plan: premium": 1}, "contradicted"),
    ],
)
def test_a_system_turn_that_never_repeats_leaves_it_to_the_majority(counts, reason: str) -> None:
    rows = [
        row(
            n,
            "",
            "Yes." if system == "plan: premium" else "No.",
            label_source="approved",
            messages=turns(system, "Can I get a refund?"),
        )
        for n, system in enumerate(Counter(counts).elements())
    ]
    assert {one.reason for one in curate(rows, labelled(["No.", "Yes."])).lost} == {reason}


def test_labels_the_route_no_longer_knows_are_lost_and_known_ones_take_its_spelling() -> None:
    curated = curate([row(1, ASK, "shipping"), row(2, OTHER, ' "Password". ')], SPEC)
    assert [item.answer for item in curated.training] == ["password"]
    assert [one.reason for one in curated.lost] == ["unknown_label"]


def test_personal_data_that_slipped_through_is_redacted() -> None:
    rows = [row(1, f"{ASK}\nmail eve@example.com", "delivery"), row(2, OTHER, "password")]
    first = curate(rows, SPEC).training[0].question
    assert first.was_redacted
    assert "[EMAIL]" in json.loads(first.asked)[0]["content"]


def test_empty_input_is_lost() -> None:
    assert kept(row(1, " \n ", "delivery")) == ([], {"empty": 1})


def test_only_approved_reviewers_are_trained_on() -> None:
    spec = factories.spec(approved_reviewers=("ana", "bo"))
    rows = [
        row(n, f"{ASK} {n}", "delivery", reviewer=who) for n, who in enumerate(("ana", "eve", "bo"))
    ]
    assert kept(*rows, spec=spec) == (["0", "2"], {"reviewer_not_approved": 1})


def test_json_answers_that_do_not_parse_are_lost() -> None:
    spec = factories.spec(
        task="extraction", labels=(), minimum_per_label=None, output_schema={"type": "object"}
    )
    assert kept(row(1, ASK, "{oops"), row(2, OTHER, '{"a": 1}'), spec=spec) == (
        ["2"],
        {"malformed": 1},
    )


AUDITED = row(0, ASK, "delivery", audit=True, asked_us=10 * HOUR_US, session="a")


@pytest.mark.parametrize(
    ("changes", "is_lost"),
    [
        ({"inference_id": AUDITED.inference_id, "asked_us": 99 * HOUR_US}, True),
        ({"asked_us": 10 * HOUR_US + 60_000_000, "session": None}, True),
        ({"asked_us": 9 * HOUR_US + 60_000_000, "session": None}, True),
        ({"asked_us": 10 * HOUR_US + 1, "session": "a"}, True),
        ({"asked_us": 50 * HOUR_US, "session": "a"}, True),
        ({"asked_us": 10 * HOUR_US + 1, "session": "b"}, False),
        ({"asked_us": 12 * HOUR_US, "session": None}, False),
    ],
)
def test_the_audited_verdict_itself_is_never_trained_on(changes, is_lost: bool) -> None:
    same = row(1, ASK.upper(), "delivery", **changes)
    spec = labelled(["delivery", "password"])
    ids, lost = kept(AUDITED, same, row(2, OTHER, "password", asked_us=0), spec=spec)
    assert lost == ({"audited": 1} if is_lost else {})
    assert ids == (["2"] if is_lost else ["1", "2"])


def test_a_conversation_that_goes_on_from_an_audited_one_is_not_trained_on() -> None:
    longer = turns("", ASK, "It is delivery.", "And now?")
    spec = labelled(["delivery", "password"])
    rows = [AUDITED, row(1, "", "password", messages=longer, asked_us=10 * HOUR_US + 1)]
    assert kept(*rows, spec=spec) == ([], {"audited": 1})


def test_balancing_is_the_owners_wish() -> None:
    texts = messages()
    rows = [
        row(n, text, "delivery" if n < 80 else "refund") for n, (text, _) in enumerate(texts[:100])
    ]

    def counts(**balance) -> dict[str, int]:
        spec = factories.spec(retrain={"balance": balance})
        return dict(Counter(one.label for one in curate(rows, spec).training))

    assert counts() == {"delivery": 80, "refund": 20}
    assert counts(cap=30) == {"delivery": 30, "refund": 20}
    assert counts(temperature=2) == {"delivery": 40, "refund": 20}
    assert counts(temperature=100)["delivery"] < 22
