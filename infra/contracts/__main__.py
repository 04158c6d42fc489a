"""Writes schemas/json, docs/flow.md, or what this release ships.

python -m infra.contracts schemas|flow|release
"""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.contracts.flow import write_flow
from infra.contracts.json_schemas import write_schemas
from infra.contracts.releases import version_of_this_code, write_release

ROOT = Path(__file__).parents[2]
JSON = ROOT / "schemas" / "json"
WRITE = {
    "schemas": lambda: write_schemas(JSON),
    "flow": lambda: write_flow(ROOT / "docs" / "flow.md"),
    "release": lambda: write_release(JSON, version_of_this_code(ROOT)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m infra.contracts", description="Generate what is derived from schemas/*.py."
    )
    parser.add_argument(
        "what",
        choices=list(WRITE),
        help=(
            "schemas: schemas/json/*.json; flow: docs/flow.md; release:"
            " schemas/json/released/<version>.json"
        ),
    )
    written = WRITE[parser.parse_args().what]()
    print(
        "\n".join(f"wrote {path.relative_to(ROOT)}" for path in written) or "everything is current"
    )


if __name__ == "__main__":
    main()
