"""What docs/generator.md shows runs as it stands."""

import re
import shlex
from pathlib import Path

import pytest

from labelnoise.__main__ import parse
from labelnoise.data.label_files import ENDINGS
from labelnoise.labels.generator import KINDS, MOST_SLICES

PAGE = (Path(__file__).parents[1] / "docs" / "generator.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_python_blocks_run_one_after_the_other():
    found = blocks("python")
    assert len(found) == 4
    names = {}
    for block in found:
        exec(block, names)
    assert (names["thick"] == 7).sum() > (names["labels"] == 7).sum()
    again = names["transform"]({"label": names["labels"].transpose(1, 2, 0)[None]})["label"]
    assert (again != names["sample"]["label"]).any()


@pytest.mark.parametrize("line", "".join(blocks("bash")).splitlines())
def test_commands_are_understood(line):
    program, *arguments = shlex.split(line)
    assert program == "labelnoise"
    assert parse(arguments).kind in KINDS


def test_the_page_names_every_kind_and_format():
    for word in (
        *KINDS,
        "NIfTI",
        "NRRD",
        "MetaImage",
        "PNG",
        "TIFF",
        "BMP",
        f"{MOST_SLICES} slices",
    ):
        assert word in PAGE
    assert {".nhdr", ".mhd"} <= set(ENDINGS)
