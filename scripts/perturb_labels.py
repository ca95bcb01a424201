"""Draw the wrong labels of one repeat and measure them."""

from labelnoise.jobs.script import logged
from labelnoise.labels.dataset import perturb_dataset


def main(smk):
    with logged(smk.log[0]):
        perturb_dataset(
            smk.input.dataset,
            smk.input.calibration,
            smk.wildcards.perturbation,
            smk.params.perturbation,
            repeat=int(smk.wildcards.repeat),
            seed=smk.params.seed,
            labels=smk.output.labels,
            measured=smk.output.measured,
        )


if __name__ == "__main__":
    main(snakemake)
