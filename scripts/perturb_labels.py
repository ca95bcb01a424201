"""Draw the perturbed labels of one repeat and measure them."""

from pathlib import Path

from labelnoise.jobs.script import given_files, logged
from labelnoise.labels.dataset import perturb_dataset
from labelnoise.own_code import use_own_code
from labelnoise.study import Perturbation


def main(smk):
    with logged(smk.log[0]):
        use_own_code(smk.config["modules"])
        perturb_dataset(
            Path(smk.input.dataset),
            Path(smk.input.calibration),
            Perturbation(**smk.params.perturbation),
            repeat=int(smk.wildcards.repeat),
            seed=smk.params.seed,
            labels=Path(smk.output.labels),
            measured=Path(smk.output.measured),
            given=given_files(smk),
        )


if __name__ == "__main__":
    main(snakemake)
