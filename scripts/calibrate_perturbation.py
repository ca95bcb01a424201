"""Solve for the severity of a label error on one dataset."""

from pathlib import Path

from labelnoise.jobs.script import given_files, logged
from labelnoise.labels.dataset import calibrate_dataset
from labelnoise.own_code import use_own_code
from labelnoise.study import Perturbation


def main(smk):
    with logged(smk.log[0]):
        use_own_code(smk.config["modules"])
        calibrate_dataset(
            Path(smk.input.dataset),
            smk.wildcards.perturbation,
            Perturbation(**smk.params.perturbation),
            seed=smk.params.seed,
            path=Path(smk.output.calibration),
            given=given_files(smk),
        )


if __name__ == "__main__":
    main(snakemake)
