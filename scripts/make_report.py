"""Make one HTML page with a study's tables, figures and captions: `make report`."""

import argparse
import re
import subprocess
import sys

from labelnoise.config import add_overlays, study_files
from labelnoise.errors import InputError
from labelnoise.study import read_study

MISSING = re.compile(r"File (.+) marked for report but does not exist")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_overlays(parser)
    overlays = parser.parse_args(argv).configfile
    study = ["--configfile", *overlays] if overlays else []
    try:
        page = read_study(*study_files(overlays)).results.root / "report.html"
    except InputError as error:
        sys.exit(f"error: {error}")
    command = [sys.executable, "-m", "snakemake", *study, "--report", page]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        print(f"Report   {page}")
        return
    missing = MISSING.search(done.stderr)
    if missing is None:
        sys.exit(done.stderr)
    run = " ".join(["snakemake --cores 2", *study])
    sys.exit(
        f"error: {missing[1]} does not exist, and a report shows a whole study; run this one "
        f"first: {run}"
    )


if __name__ == "__main__":
    main()
