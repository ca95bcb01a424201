"""Estimate what an ideal predictor scores that knows how often each pixel is wrongly labelled."""

from pathlib import Path

from labelnoise.evaluation.ceiling import estimate_ceiling
from labelnoise.jobs.script import given_files, logged
from labelnoise.own_code import use_own_code
from labelnoise.study import Perturbation


def main(smk):
    with logged(smk.log[0]):
        use_own_code(smk.config["modules"])
        estimate_ceiling(
            Path(smk.input.dataset),
            Path(smk.input.calibration),
            Perturbation(**smk.params.perturbation),
            smk.params.losses,
            seed=smk.params.seed,
            path=Path(smk.output.ceiling),
            given=given_files(smk),
        )


if __name__ == "__main__":
    main(snakemake)
