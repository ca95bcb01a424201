"""Fill the tables of docs/speed.md from what benchmarks wrote to docs/speed/: `make docs`.

A table stands between `<!-- rows: NAME -->` and `<!-- end of rows -->` and is that of
docs/speed/NAME.csv; for a file that is not there the page says that it was never measured. A
benchmark writes one with `--output docs/speed/NAME.csv`.
"""

import csv
import re
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Last: tests have modules of the same names.
sys.path.append(str(ROOT / "benchmarks"))

from rows import number, ratio  # noqa: E402

PAGE = ROOT / "docs" / "speed.md"
PLACE = re.compile(r"(<!-- rows: ([\w-]+) -->\n).*?(<!-- end of rows -->)", re.DOTALL)


def main():
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), ROOT / "docs/speed"), encoding="utf-8")


def filled(text, folder):
    """Return a page whose tables are those of the files in a folder."""
    return PLACE.sub(lambda found: f"{found[1]}\n{table(folder, found[2])}\n\n{found[3]}", text)


def table(folder, name):
    """Return the Markdown of a file: a table for each machine and command."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return "**Never measured.**"
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    parts = groupby(rows, lambda row: (row["machine"], row["command"]))
    return "\n\n".join(part(*where, list(found)) for where, found in parts)


def part(machine, command, rows):
    """Return a table of rows that one command measured."""
    lines = ["| what | before | after | after / before | unit |", "|---|---|---|---|---|"]
    for row in rows:
        before, after = (float(row[key]) if row[key] else None for key in ("before", "after"))
        cells = [row["name"], number(before), number(after), ratio(before, after), row["unit"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Measured on {machine}: `{command}`"])


if __name__ == "__main__":
    main()
