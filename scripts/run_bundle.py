"""Train and test the runs of a bundle, each in a job of its own, on what this job was given."""

from pathlib import Path

from labelnoise.files import write_text
from labelnoise.jobs.bundles import gpu_slots
from labelnoise.jobs.script import logged
from labelnoise.jobs.workflow import make_files
from labelnoise.study import Run, results_of


def main(smk):
    results = results_of(smk.config)
    runs = [Run.parse(name) for name in smk.params.runs]
    with logged(smk.log[0]):
        make_files(
            [results.run_folder(run).counts for run in runs],
            list(map(Path, smk.params.files)),
            gpu_slots(smk.resources, smk.config["runs_per_gpu"]),
            cores=smk.threads,
            threads=smk.params.threads,
            settings=smk.params.settings,
            rules=("train_model", "test_model"),
        )
        write_text(smk.output.done, "".join(f"{run.name}\n" for run in runs))


if __name__ == "__main__":
    main(snakemake)
