"""What holds for any verdicts in any order."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.dataset_builder.adapters.folder import write_folder
from services.dataset_builder.curate import curate
from services.dataset_builder.split import SHARES, split
from shared.storage.blobs import folder_digest
from tests.unit.dataset_builder.corpus import assembled, messages, route, row

BASE = messages()[:60]
LABELS = sorted({label for _, label in BASE})


@st.composite
def verdicts(draw):
    """Messages with repetitions, small edits, wrong labels and audit rows, as production would send
    them.
    """
    rows = []
    for number in range(draw(st.integers(8, 60))):
        text, label = BASE[draw(st.integers(0, len(BASE) - 1))]
        text += draw(
            st.sampled_from(
                ["", "", " please", " thank you so much", " it has been like this since last week"]
            )
        )
        answer = draw(st.sampled_from([label] * 8 + LABELS))
        rows.append(
            row(
                number,
                text,
                answer,
                audit=draw(st.integers(0, 9)) == 0,
                reviewed_us=draw(st.integers(1, 5)),
                label_source=draw(st.sampled_from(["approved", "corrected"])),
            )
        )
    return rows


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(verdicts())
def test_no_cluster_crosses_training_splits(rows) -> None:
    curated = curate(rows, route())
    parts = split(curated.training, curated.audit)
    homes: dict[int, set[str]] = {}
    for name in SHARES:
        for item in parts[name]:
            homes.setdefault(item.cluster, set()).add(name)
    assert all(len(names) == 1 for names in homes.values())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(verdicts())
def test_every_verdict_is_kept_once_or_counted_as_dropped_and_audit_is_never_trained_on(
    rows,
) -> None:
    curated = curate(rows, route())
    parts = split(curated.training, curated.audit)
    kept = [item.row.review_id for items in parts.values() for item in items]
    assert len(kept) == len(set(kept))
    repeats = sum(one.count - 1 for one in curated.training)
    assert len(kept) + repeats + len(curated.lost) == len(rows)
    audited = {row.review_id for row in rows if row.audit}
    assert {item.row.review_id for item in parts["audit"]} == audited
    assert not audited & {
        item.row.review_id for name in ("train", "validation", "test") for item in parts[name]
    }


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_change_one_byte(rng) -> None:
    rows = [
        row(n, text, label, audit=n % 7 == 0, reviewed_us=n // 3)
        for n, (text, label) in enumerate(messages()[:200])
    ]
    shuffled = rows[:]
    rng.shuffle(shuffled)
    spec = route(minimum_per_label=1)
    digests = []
    for order in (rows, shuffled):
        built = assembled(order, spec)
        with TemporaryDirectory() as folder:
            manifest = write_folder(Path(folder), built)
            assert json.loads((Path(folder) / "manifest.json").read_text()) == manifest
            digests.append(folder_digest(Path(folder)))
    assert digests[0] == digests[1]
