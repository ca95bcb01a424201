"""Rows of benchmarks: from the measurement to the page that shows them."""

import csv
import runpy
import sys

import pytest

from rows import Rows, command
from workflow_runs import ROOT

DOCS = runpy.run_path(str(ROOT / "docs" / "speed.py"))


@pytest.fixture
def written(tmp_path, monkeypatch):
    script = str(ROOT / "benchmarks" / "training.py")
    monkeypatch.setattr(sys, "argv", [script, "--size", "64", "--output", "x.csv"])
    rows = Rows("H100")
    rows.add("steps", before=1234.4, after=617.2, unit="images/s")
    rows.add("reading", after=0.01234, unit="ms a slice")
    rows.write(tmp_path / "training.csv")
    rows.write(None)
    return tmp_path / "training.csv"


def test_a_file_holds_what_was_measured_where_and_how(written):
    with open(written, newline="") as file:
        first, second = csv.DictReader(file)
    assert [*first] == ["name", "before", "after", "unit", "machine", "command"]
    assert float(first["before"]) == 1234.4 and second["before"] == ""
    assert first["machine"].startswith("GPU H100, ") and first["machine"].endswith(" cores")
    assert first["command"] == "python benchmarks/training.py --size 64"


def test_the_output_is_no_part_of_the_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "docs/speed.py"), "--output=y", "--output", "x"])
    assert command() == "python docs/speed.py"


def test_the_command_can_be_given_to_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "docs/speed.py"), "--settings", "fused: true"])
    assert command() == "python docs/speed.py --settings 'fused: true'"


def test_a_page_shows_the_rows_and_says_what_was_never_measured(written):
    page = "a\n<!-- rows: training -->\nold\n<!-- end of rows -->\nb\n<!-- rows: gpu -->\n"
    filled = DOCS["filled"](page + "<!-- end of rows -->\n", written.parent)
    assert "| steps | 1234 | 617 | 0.50 | images/s |" in filled
    assert "| reading |  | 0.0123 |  | ms a slice |" in filled
    assert "old" not in filled and filled.count("Measured on GPU H100, ") == 1
    assert filled.endswith("<!-- rows: gpu -->\n\n**Never measured.**\n\n<!-- end of rows -->\n")
    assert DOCS["filled"](filled, written.parent) == filled


def test_the_page_is_what_the_files_say():
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert DOCS["filled"](page, ROOT / "docs" / "speed") == page, "run `make docs`"
    places = {name for _, name, _ in DOCS["PLACE"].findall(page)}
    assert {path.stem for path in (ROOT / "docs" / "speed").glob("*.csv")} <= places
