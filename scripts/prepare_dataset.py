"""Turn a source of images and reference labels into one HDF5 file."""

from pathlib import Path

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.storage import write_fold
from labelnoise.jobs.script import logged
from labelnoise.manifest import Manifest, known_files
from labelnoise.study import results_of


def main(smk):
    with logged(smk.log[0]):
        if smk.input.slices:
            # Its manifest is the first fold's.
            write_fold(smk.output.dataset, Path(smk.input.slices), smk.wildcards.dataset)
            return
        dataset, settings, seed = smk.wildcards.dataset, smk.params.settings, smk.params.seed
        results = results_of(smk.config)
        source = prepare_dataset(
            dataset,
            settings,
            seed=seed,
            path=smk.output.dataset,
            workers=smk.threads,
            known=known_files(results, dataset),
        )
        # No output of the rule, since Snakemake deletes those before the job, which reads it.
        path = results.fill(results.manifest, smk.wildcards)
        Manifest(settings, seed, source, smk.params.source).write(path)


if __name__ == "__main__":
    main(snakemake)
