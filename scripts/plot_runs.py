"""Draw the test Dice of every single run."""

from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.runs import draw_runs


def main(smk):
    with logged(smk.log[0]):
        save_all(draw_runs(read_table(smk.input.runs)), smk.output)


if __name__ == "__main__":
    main(snakemake)
