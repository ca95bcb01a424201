"""Turn a source of images and reference labels into one HDF5 file."""

from labelnoise.data.prepare import prepare_dataset
from labelnoise.jobs.script import logged
from labelnoise.manifest import Manifest, known_files
from labelnoise.study import results_of


def main(smk):
    with logged(smk.log[0]):
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
