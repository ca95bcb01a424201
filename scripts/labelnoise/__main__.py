"""The command `labelnoise`, also as `python -m labelnoise`."""

import argparse
import sys

from labelnoise.commands import fit_raters, perturb, predict
from labelnoise.jobs.script import explain

COMMANDS = (predict, perturb, fit_raters)


def main(argv: list[str] | None = None) -> None:
    """Run a command; an error ends it with exit code 1 and one sentence, Ctrl-C with 130."""
    arguments = parse(argv)
    try:
        arguments.command(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(f"error: {explain(error)}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; `command` is the function that does what it asks for."""
    parser = argparse.ArgumentParser(
        prog="labelnoise", description="Label errors, and networks trained on them."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
