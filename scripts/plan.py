"""Print what a study can find of its claims, before anything is trained: `make plan`."""

import argparse
import sys

import pandas as pd

from labelnoise.config import PROJECT, add_overlays, study_files
from labelnoise.data.storage import Dataset
from labelnoise.errors import InputError
from labelnoise.evaluation.planning import plan
from labelnoise.jobs.script import explain
from labelnoise.report.render import markdown, plan_tables
from labelnoise.report.style import perturbations
from labelnoise.study import Study, read_study

COMPONENTS = PROJECT / "docs" / "components.csv"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_overlays(parser)
    add("--cases", type=int, metavar="N", help="test cases (those of the prepared dataset)")
    add("--effect", type=float, default=0.02, metavar="DICE", help="loss of Dice to find (0.02)")
    arguments = parser.parse_args(argv)
    try:
        study = read_study(*study_files(arguments.configfile))
        print(answer(study, arguments.cases, arguments.effect))
    except Exception as error:
        sys.exit(f"error: {explain(error)}")


def answer(study: Study, cases: int | None, effect: float) -> str:
    """Return the plan of a study as Markdown.

    Raises:
        InputError: a number is out of range, or the number of test cases is unknown.
    """
    if cases is not None and cases < 1:
        raise InputError(f"--cases is {cases}; expected at least 1 test case.")
    if not 0 < effect <= 1:
        raise InputError(f"--effect is {effect:g}; expected Dice above 0 and at most 1.")
    if not study.claims:
        raise InputError(
            "the study's matrix can answer no claim; define some in the config key 'claims'."
        )
    datasets = dict.fromkeys(claim.dataset for claim in study.claims)
    counted = {name: cases or count_test_cases(study, name) for name in datasets}
    found = plan(study, pd.read_csv(COMPONENTS), counted, effect)
    return markdown(plan_tables(found, effect, perturbations(study.drawn)))


def count_test_cases(study: Study, dataset: str) -> int:
    """Return how many test cases a prepared dataset has, in all its folds together.

    Raises:
        InputError: it is not prepared, or its file is wrong.
    """
    count = 0
    for name in study.folds_of(dataset):
        path = study.results.fill(study.results.dataset, {"dataset": name})
        if not path.exists():
            raise InputError(
                f"{path} is not there, so the test cases of {dataset} are unknown; name their "
                "number, make plan CASES=20, or make the file with snakemake."
            )
        with Dataset(path) as data:
            count += len(set(data.case[data.rows("test")]))
    return count


if __name__ == "__main__":
    main()
