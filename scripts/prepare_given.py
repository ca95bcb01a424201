"""Turn a folder of the user's own wrong labels into the labels of a dataset's slices."""

from pathlib import Path

from labelnoise.data.given import prepare_given
from labelnoise.jobs.script import logged
from labelnoise.manifest import Manifest, known_files
from labelnoise.study import results_of


def main(smk):
    with logged(smk.log[0]):
        dataset, perturbation = smk.wildcards.dataset, smk.wildcards.perturbation
        settings, results = smk.params.settings, results_of(smk.config)
        source = prepare_given(
            Path(smk.input.dataset),
            perturbation,
            settings,
            Path(smk.output.given),
            workers=smk.threads,
            known=known_files(results, dataset, perturbation),
        )
        # No output of the rule, since Snakemake deletes those before the job, which reads it.
        path = results.fill(results.given_manifest, smk.wildcards)
        Manifest(settings, smk.params.seed, source, smk.params.source).write(path)


if __name__ == "__main__":
    main(snakemake)
