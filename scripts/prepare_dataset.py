"""Turn a source of images and reference labels into one HDF5 file."""

from pathlib import Path

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.storage import write_fold
from labelnoise.jobs.script import logged


def main(smk):
    with logged(smk.log[0]):
        if smk.input.slices:
            write_fold(smk.output.dataset, Path(smk.input.slices), smk.wildcards.dataset)
            return
        prepare_dataset(
            smk.wildcards.dataset,
            smk.params.settings,
            seed=smk.params.seed,
            path=smk.output.dataset,
            workers=smk.threads,
        )


if __name__ == "__main__":
    main(snakemake)
