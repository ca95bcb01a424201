"""Copy the tables and figures that the documents show out of finished studies: `make docs`."""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.study import Results, read_study  # noqa: E402

# Study: the document that shows it, and the tables that stand there between two markers.
STUDIES = {
    "demo": ("README.md", ["answer", "degradation"]),
    "rater-errors": ("docs/rater-errors.md", ["answer", "degradation", "claims"]),
    "replication-liver": ("docs/replication.md", ["claims", "table1", "slopes", "thresholds"]),
    "nnunet": ("docs/trainers.md", ["answer", "degradation", "claims"]),
    "second-annotator": ("docs/second-annotator.md", ["answer", "degradation", "claims"]),
}
# Studies of a question of their own: the document, the tables that stand there by file and place in
# it, and the figures.
QUESTIONS = {
    "review": (
        "docs/review.md",
        {"review": [0, 4], "mended": [0]},
        ["review", "review-unseen"],
    ),
    "second-annotator-review": ("docs/review.md", {"review": []}, ["review", "review-unseen"]),
    "budget": ("docs/budget.md", {"budget": [0, 1, 2, 3]}, ["budget"]),
    "mitigation": (
        "docs/mitigation.md",
        {"answer": [0, 1], "mitigation": [0], "claims": []},
        ["mitigation"],
    ),
    "mitigation-liver": (
        "docs/mitigation-liver.md",
        {"answer": [0, 1], "mitigation": [0], "claims": []},
        ["mitigation"],
    ),
}
# Studies whose slices are not ours to ship, so that no picture of them is copied.
UNSHOWN = ("nnunet", "second-annotator", "rater-errors", "replication-liver")


def main():
    for study, (document, tables) in STUDIES.items():
        # The last figure that a study makes.
        results = finished(study, document, [], ["slopes"])
        if results is None:
            continue
        copy_figures(results, ROOT / "docs" / study, study in UNSHOWN)
        texts = [results.table(f"{table}.md").read_text() for table in tables]
        if "degradation" in tables:
            texts[1] = first_part(texts[1])
        insert(ROOT / document, "\n\n".join(map(str.strip, texts)))
        print(f"updated: {document}")
    for study, (document, tables, figures) in QUESTIONS.items():
        results = finished(study, document, tables, figures)
        if results is not None:
            answer(study, document, tables, figures, results)
            print(f"updated: {document}")


def finished(study, document, tables, figures):
    """Return the results of a study; None where some of its tables and figures are not there."""
    made = read_study(ROOT / "config.yaml", ROOT / "studies" / f"{study}.yaml").results.root
    results = Results(ROOT / made)
    paths = [results.table(f"{name}.md") for name in tables]
    paths += [results.figure(f"{name}.png") for name in figures]
    if all(path.exists() for path in paths):
        return results
    print(f"left as it is: {document}, since {made} is not finished")
    return None


def answer(study, document, tables, figures, results):
    """Copy tables and figures of a study of QUESTIONS, and put some tables into its document."""
    folder = ROOT / "docs" / study
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shown = []
    for name, places in tables.items():
        shutil.copy(results.table(f"{name}.md"), folder)
        parts = tables_of(results.table(f"{name}.md").read_text())
        shown += [parts[place] for place in places]
    for name in figures:
        shutil.copy(results.figure(f"{name}.png"), folder)
    if shown:
        insert(ROOT / document, "\n\n".join(shown))


def copy_figures(results, folder, unshown=False):
    """Copy the study's tables, its figures, and of the figures with a variant each the last.

    Pictures of slices are left out if they are to be `unshown`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("answer.md", "claims.md", "degradation.md", "thresholds.md"):
        if results.table(name).exists():
            shutil.copy(results.table(name), folder / name)
    for name in ("answer.png", "degradation.png", "runs.png", "slopes.png", "thresholds.png"):
        shutil.copy(results.figure(name), folder / name)
    for kind in ("roc",) if unshown else ("perturbations", "predictions", "roc"):
        last = sorted(results.figure(kind).rglob("*.png"))[-1]
        shutil.copy(last, folder / f"{kind}.png")


def first_part(text):
    """The short tables of a degradation.md, up to the end of their caption."""
    short, caption, _ = re.split(r"(^Mean test Dice .*$)", text, maxsplit=1, flags=re.MULTILINE)
    return short + caption


def tables_of(text):
    """Return the tables of a Markdown file, each with its caption behind it."""
    found, table = [], []
    for paragraph in text.strip().split("\n\n"):
        table.append(paragraph.strip())
        if not table[-1].startswith(("**", "|")):
            found.append("\n\n".join(table))
            table = []
    return found


def insert(document, text):
    """Put text between the document's two markers."""
    begin, end = "<!-- table: made by `make docs` -->", "<!-- end of table -->"
    old = document.read_text()
    if begin not in old:
        raise SystemExit(f"{document} lacks the marker {begin}")
    block = f"{begin}\n\n{text.strip()}\n\n{end}"
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    document.write_text(re.sub(pattern, lambda _: block, old, flags=re.DOTALL))


if __name__ == "__main__":
    main()
