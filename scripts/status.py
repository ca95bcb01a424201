"""Print how far a study has come: what is finished, running, failed and waiting, and its ETA."""

import argparse
import os
import sys
from datetime import UTC, datetime

from labelnoise.config import add_overlays, study_files
from labelnoise.jobs.script import explain
from labelnoise.jobs.status_page import render, render_failures
from labelnoise.jobs.study_status import look_at
from labelnoise.study import read_study


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_overlays(parser)
    failed = "show only what failed or stopped, all of it"
    add("--failed", action="store_true", help=failed)
    arguments = parser.parse_args(argv)
    try:
        status = look_at(read_study(*study_files(arguments.configfile)))
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(f"error: {explain(error)}")
    try:
        print(render_failures(status) if arguments.failed else render(status, datetime.now(UTC)))
        sys.stdout.flush()
    except BrokenPipeError:
        # `make status | head` ends it so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
