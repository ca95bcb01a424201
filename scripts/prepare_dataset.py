"""Turn a source of images and reference labels into one HDF5 file."""

from labelnoise.data.prepare import prepare_dataset
from labelnoise.jobs.script import logged


def main(smk):
    with logged(smk.log[0]):
        prepare_dataset(
            smk.wildcards.dataset,
            smk.params.settings,
            seed=smk.params.seed,
            path=smk.output.dataset,
            workers=smk.threads,
        )


if __name__ == "__main__":
    main(snakemake)
