"""`python -m infra.contracts schemas|flow`: write schemas/json, or docs/flow.md."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.contracts.flow import write_flow
from infra.contracts.json_schemas import write_schemas

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.contracts", description="Generate what is derived from schemas/*.py.")
    parser.add_argument("what", choices=["schemas", "flow"], help="schemas: schemas/json/*.json; flow: docs/flow.md")
    if parser.parse_args().what == "schemas":
        written = write_schemas(ROOT / "schemas" / "json")
    else:
        written = write_flow(ROOT / "docs" / "flow.md")
    print("\n".join(f"wrote {path.relative_to(ROOT)}" for path in written) or "everything is current")


if __name__ == "__main__":
    main()
