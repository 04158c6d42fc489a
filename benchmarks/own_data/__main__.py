"""Writes the files:

    .venv/bin/python -m benchmarks.own_data FOLDER

The same seed gives the same files. What is in each, and what the demo measured: README.md.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from benchmarks.own_data.arabic_clinic import arabic_rows
from benchmarks.own_data.caretaker import caretaker_rows
from benchmarks.own_data.chinese_shop import chinese_rows
from benchmarks.own_data.orders import order_rows

ROWS = 700


def write(folder: Path, rows: int = ROWS) -> list[Path]:
    """Write the files and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    two, chinese, arabic, orders = (
        folder / "two_labels.csv",
        folder / "chinese.csv",
        folder / "arabic.csv",
        folder / "orders.jsonl",
    )
    # As a German spreadsheet writes it.
    table(two, ("message", "team"), caretaker_rows(rows), ";", "cp1252")
    table(chinese, ("文本", "标签"), chinese_rows(rows), ",", "utf-8-sig")
    table(arabic, ("الرسالة", "التصنيف"), arabic_rows(rows), ";", "cp1256")
    orders.write_text(
        "".join(
            json.dumps({"text": text, "answer": answer}, ensure_ascii=False) + "\n"
            for text, answer in order_rows(rows)
        ),
        encoding="utf-8",
    )
    return [two, chinese, orders, arabic]


def table(
    path: Path,
    header: tuple[str, str],
    rows: Iterable[tuple[str, str]],
    separator: str,
    encoding: str,
) -> None:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=ROWS)
    given = parser.parse_args()
    for path in write(given.folder, given.rows):
        Console().print(str(path))


if __name__ == "__main__":
    main()
