"""A lineage as a tree to read; Rich's markup means nothing in what users and models said."""

from __future__ import annotations

import json

from rich.text import Text
from rich.tree import Tree

from schemas.base import JsonObject

# Characters of a message.
MAX_SHOWN = 100


def lineage_tree(facts: JsonObject) -> Tree:
    inference = facts["inference"]
    tree = Tree(
        line("answer ", (repr(inference["answer"]), "bold green"), f" to {inference['route']}")
    )
    tree.add(
        line(
            "inference ",
            inference["inference_id"],
            f", route version {inference.get('route_version')}, {inference.get('outcome')}",
        )
    )
    attempts = tree.add("asked, in this order")
    for attempt in inference.get("attempts") or [inference]:
        attempts.add(attempt_line(attempt))
    if facts["adapter_id"] is None:
        tree.add(
            "no adapter was involved: the base model answered with the route's detailed prompt"
        )
    else:
        add_adapter(tree, facts)
    return tree


def attempt_line(attempt: JsonObject) -> Text:
    confidence = attempt.get("confidence") or {}
    sure = [f"score {confidence['score']:.3f}"] if "score" in confidence else []
    if confidence.get("p_correct") is not None:
        sure.append(
            f"P(correct) {confidence['p_correct']:.2f} against threshold"
            f" {confidence.get('threshold') or 0:.2f}"
        )
    return line(
        (attempt.get("arm", ""), "bold"),
        f" {attempt.get('adapter_id') or 'base model'}: ",
        repr(attempt["answer"]),
        f" ({', '.join(sure)})" if sure else "",
    )


def add_adapter(tree: Tree, facts: JsonObject) -> None:
    branch = tree.add(line("adapter ", (facts["adapter_id"], "bold cyan")))
    if trained := facts["adapter"]:
        branch.add(line("digest sha256 ", trained["adapter"]["blob"]["sha256"]))
        branch.add(line("base model ", trained["base_model"]))
        branch.add(line(f"recipe {trained['recipe']}, sha256 ", trained["recipe_sha256"]))
        branch.add(
            line(
                f"trained in {trained['seconds']:.0f} s, loss {trained['train_loss']:.3f}",
                f", MLflow run {trained['run_id']}" if trained.get("run_id") else "",
            )
        )
    else:
        branch.add(Text("the trainer does not know it", style="yellow"))
    add_gate(branch, facts["evaluation"])
    if facts["dataset_id"]:
        add_dataset(branch, facts)


def add_gate(branch: Tree, evaluation: JsonObject | None) -> None:
    if evaluation is None:
        branch.add(Text("no evaluation is known", style="yellow"))
        return
    gate = branch.add(line("gate said ", (evaluation["verdict"], "bold")))
    for arm in evaluation["arms"]:
        chrf = arm.get("chrf")
        measured = f"accuracy {arm['accuracy']:.1%}" if chrf is None else f"chrF {chrf:.3f}"
        gate.add(f"{arm['arm']}: {measured} on {arm['n']} held-out rows")
    for test in evaluation["tests"]:
        if test.get("ties") is not None:
            # Said in the reasons.
            continue
        gate.add(
            f"McNemar against {test['against']}: {test['wins']} wins, {test['losses']} losses,"
            f" mid-p {test['p_value']:.2g} (level {test['alpha']}):"
            f" {'passed' if test['passed'] else 'not passed'}"
        )
    for reason in evaluation["reasons"]:
        gate.add(Text(reason, style="dim"))


def add_dataset(branch: Tree, facts: JsonObject) -> None:
    dataset = branch.add(line("dataset ", (facts["dataset_id"], "bold magenta")))
    if facts["adapter"]:
        dataset.add(line("digest sha256 ", facts["adapter"]["dataset"]["sha256"]))
    if manifest := (facts["dataset"] or {}).get("manifest"):
        dataset.add(
            "rows: " + ", ".join(f"{split} {count}" for split, count in manifest["counts"].items())
        )
        if manifest["dropped"]:
            dataset.add(
                "left out: "
                + ", ".join(f"{reason} {count}" for reason, count in manifest["dropped"].items())
            )
    rows = dataset.add(f"training rows ({len(facts['rows'])} of {facts.get('training_rows', 0)})")
    for row in facts["rows"]:
        rows.add(
            line(
                (row["row_id"], "dim"),
                f" {asked(row)!r} -> ",
                (repr(row["answer"]), "green"),
                f", {row['label_source']} by {row['reviewer']}",
            )
        )
    reviewers = dataset.add(f"reviewers ({len(facts['reviewers'])})")
    for reviewer, count in facts["reviewers"].items():
        reviewers.add(line((reviewer, "bold"), f" gave {count} of them"))


def asked(row: JsonObject) -> str:
    messages = json.loads(row["messages"]) if isinstance(row["messages"], str) else row["messages"]
    text = messages[-1]["content"] if messages else ""
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts)
