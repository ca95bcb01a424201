"""Draw every kind and size of label error on a disc and on slices of one dataset."""

from labelnoise.data.storage import Dataset
from labelnoise.jobs.script import given_files, logged
from labelnoise.own_code import use_own_code
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.perturbations import draw_perturbations, perturbed_rows
from labelnoise.report.style import perturbations
from labelnoise.study import Study


def main(smk):
    with logged(smk.log[0]), Dataset(smk.input.dataset) as data:
        use_own_code(smk.config["modules"])
        names = perturbations(Study.of(smk.config).drawn)
        rows = perturbed_rows(
            data,
            smk.input.calibrations,
            names,
            smk.params.seed,
            given_files(smk),
            smk.params.raters,
        )
        save_all(draw_perturbations(*rows), smk.output)


if __name__ == "__main__":
    main(snakemake)
