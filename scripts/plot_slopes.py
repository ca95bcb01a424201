"""Draw the Dice lost per label Dice lost, beside the paper's."""

from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.slopes import draw_slopes


def main(smk):
    with logged(smk.log[0]):
        save_all(draw_slopes(read_table(smk.input.slopes)), smk.output)


if __name__ == "__main__":
    main(snakemake)
