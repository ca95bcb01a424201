"""What benchmarks measured, in rows that a terminal shows and docs/speed.md is made from.

    rows = Rows()
    rows.add("choppy, one object", before=loops, after=ours, unit="ms a slice")
    rows.write(arguments.output)

A row compares two things that one run measured in turns: what there was before, or another program,
and what there is now. `before` is None where nothing is compared.
"""

import argparse
import os
import platform
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.files import write_rows  # noqa: E402


@dataclass(frozen=True)
class Row:
    """A measurement.

    Attributes:
        name: what was measured.
        before: what it is compared with, in the unit, or None.
        after: what there is now, in the unit.
        unit: such as "ms a slice" or "images/s".
        machine: see `machine`.
        command: what measured it.
    """

    name: str
    before: float | None
    after: float
    unit: str
    machine: str
    command: str


class Rows(list):
    """The rows of one run of a benchmark, printed as they come."""

    def __init__(self, gpu: str = ""):
        """Begin.

        Args:
            gpu: name of the card that is measured; empty for none.
        """
        super().__init__()
        self.machine, self.command = machine(gpu), command()
        print(f"{self.machine}\n{'':48} {'before':>9} {'after':>9} {'ratio':>6}", flush=True)

    def add(self, name: str, *, after: float, unit: str, before: float | None = None) -> None:
        """Add a row, see `Row`, and print it."""
        self.append(Row(name, before, after, unit, self.machine, self.command))
        numbers = f"{number(before):>9} {number(after):>9} {ratio(before, after):>6}"
        print(f"{name:48} {numbers}  {unit}", flush=True)

    def write(self, path: Path | None) -> None:
        """Write all rows as CSV, whole or not at all; nothing if `path` is None."""
        if path is not None:
            write_rows(path, [asdict(row) for row in self])


def add_output(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark take `--output FILE`."""
    parser.add_argument("--output", type=Path, help="write the rows there, as CSV")


def number(value: float | None) -> str:
    """Return three digits of a number; nothing of None."""
    if value is None:
        return ""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(before: float | None, after: float) -> str:
    """Return after / before to two places; nothing where there is no before."""
    return f"{after / before:.2f}" if before else ""


def machine(gpu: str = "") -> str:
    """Return where this runs: the GPU if one is measured, the model of the CPU, its cores."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = models[0].partition(":")[2].strip() if models else model
    return f"{f'GPU {gpu}, ' if gpu else ''}{model}, {os.cpu_count()} cores"


def command() -> str:
    """Return the command that runs, from the repository's root, without its output."""
    script, *arguments = sys.argv
    path = Path(script).resolve()
    name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name
    kept = []
    for argument in arguments:
        if kept and kept[-1] == "--output":
            kept.pop()
        elif not argument.startswith("--output="):
            kept.append(argument)
    return shlex.join(["python", str(name), *kept])
