"""Print what a finished study says: `make answer`."""

import argparse
import sys

from labelnoise.config import add_overlays, study_files
from labelnoise.errors import InputError
from labelnoise.study import read_study


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_overlays(parser, "studies/budget.yaml")
    overlays = parser.parse_args(argv).configfile
    try:
        path = read_study(*study_files(overlays)).results.table("answer.md")
    except InputError as error:
        sys.exit(f"error: {error}")
    if path.exists():
        print(path.read_text(encoding="utf-8"), end="")
        return
    study = f" --configfile {' '.join(overlays)}" if overlays else ""
    sys.exit(f"error: {path} does not exist; make it first: snakemake {path} --cores 2{study}")


if __name__ == "__main__":
    main()
