"""Draw every kind and size of label error on a disc and on slices of one dataset."""

from labelnoise.data.storage import Dataset
from labelnoise.jobs.script import logged
from labelnoise.report import style
from labelnoise.report.figures.panels import perturbed_panels
from labelnoise.report.figures.perturbations import gallery


def main(smk):
    with logged(smk.log[0]), Dataset(smk.input.dataset) as data:
        rows, titles = perturbed_panels(data, smk.input.calibrations, smk.params.seed)
        style.save_all(gallery(rows, titles), smk.output)


if __name__ == "__main__":
    main(snakemake)
