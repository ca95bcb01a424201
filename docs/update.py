"""Copy the tables and figures that the documents show out of finished studies: `make docs`."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Study: the document that shows its table between two markers.
STUDIES = {"demo": "README.md", "liver-slices": "docs/liver-slices.md"}


def main():
    for study, document in STUDIES.items():
        results = ROOT / "results" / study
        if not (results / "tables/degradation.md").exists():
            print(f"left as it is: {document}, since {results.relative_to(ROOT)} is not finished")
            continue
        copy_figures(results, ROOT / "docs" / study)
        insert_table(ROOT / document, (results / "tables/degradation.md").read_text())
        print(f"updated: {document}")


def copy_figures(results, folder):
    """Copy the study's degradation figure, and of the picture figures one each."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(results / "figures/degradation.png", folder / "degradation.png")
    for kind in ("perturbations", "predictions", "roc"):
        first = sorted((results / "figures" / kind).rglob("*.png"))[-1]
        shutil.copy(first, folder / f"{kind}.png")


def insert_table(document, table):
    """Put the table between the document's two markers."""
    begin, end = "<!-- table: made by `make docs` -->", "<!-- end of table -->"
    text = document.read_text()
    if begin not in text:
        raise SystemExit(f"{document} lacks the marker {begin}")
    block = f"{begin}\n\n{table.strip()}\n\n{end}"
    pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
    document.write_text(re.sub(pattern, lambda _: block, text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
