"""Compiles LaTeX tables with the engines of this machine."""

import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

ENGINES = ("pdflatex", "xelatex", "lualatex")
# Of the log: an error; a glyph that the font lacks; what is wider or taller than the page.
WRONG = re.compile(r"^(?:!|\S+:\d+:|Missing character|Overfull|.*Float too large).*", re.MULTILINE)


def compile_tables(folder, engine, tables):
    """Compile files of tables in one article, with the packages that their first lines name.

    Args:
        folder: where the article goes.
        engine: one of ENGINES; the test is skipped where it is not installed.
        tables: paths of the .tex files.

    Returns:
        What is wrong, by the engine's log; empty if nothing is.
    """
    if not _works(engine):
        pytest.skip(f"{engine} is not installed, or not whole")
    packages = {
        package
        for path in tables
        for package in re.findall(r"\\usepackage\{\w+\}", path.read_text().splitlines()[0])
    }
    inputs = (rf"\input{{{path.absolute()}}}" for path in tables)
    code, log = _compile(folder, engine, "\n".join(sorted(packages)), "\n".join(inputs))
    wrong = WRONG.findall(log)
    assert wrong or code == 0, log
    return wrong


@cache
def _works(engine):
    """Return whether an engine is here with what an article without tables needs."""
    if shutil.which(engine) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        return _compile(Path(folder), engine, "", "")[0] == 0


def _compile(folder, engine, preamble, body):
    """Return an engine's exit status and log."""
    parts = [r"\documentclass{article}", preamble, r"\begin{document}", "Text.", body]
    (folder / "article.tex").write_text("\n".join([*parts, r"\end{document}", ""]))
    options = ("-interaction=nonstopmode", "-file-line-error", "-no-shell-escape")
    done = subprocess.run(
        [engine, *options, "article.tex"],
        cwd=folder,
        # A log's lines are broken at 79 characters otherwise, in the middle of words.
        env={**os.environ, "max_print_line": "10000"},
        capture_output=True,
        check=False,
    )
    log = folder / "article.log"
    said = done.stdout if not log.exists() else log.read_bytes()
    return done.returncode, said.decode("utf-8", errors="replace")
