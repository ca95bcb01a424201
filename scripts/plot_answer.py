"""Draw the study at a glance: what the largest error of each kind costs."""

from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.thresholds import draw_thresholds


def main(smk):
    with logged(smk.log[0]):
        table = read_table(smk.input.thresholds)
        shown = table[table["perturbation"].isin(smk.params.perturbations)]
        save_all(draw_thresholds(shown, ceilings=False), smk.output)


if __name__ == "__main__":
    main(snakemake)
