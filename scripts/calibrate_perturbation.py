"""Solve for the severity of a label error on one dataset."""

from labelnoise.jobs.script import logged
from labelnoise.labels.dataset import calibrate_dataset


def main(smk):
    with logged(smk.log[0]):
        calibrate_dataset(
            smk.input.dataset,
            smk.wildcards.perturbation,
            smk.params.perturbation,
            seed=smk.params.seed,
            path=smk.output.calibration,
        )


if __name__ == "__main__":
    main(snakemake)
