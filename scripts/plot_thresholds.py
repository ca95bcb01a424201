"""Draw the drop of each error, taken apart by threshold, beside the ceiling's."""

from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.thresholds import draw_thresholds


def main(smk):
    with logged(smk.log[0]):
        save_all(draw_thresholds(read_table(smk.input.thresholds)), smk.output)


if __name__ == "__main__":
    main(snakemake)
