"""Draw the Dice lost per label Dice lost, beside the paper's."""

from labelnoise.evaluation.tables import read_runs
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.slopes import draw_slopes
from labelnoise.report.paper import slopes


def main(smk):
    with logged(smk.log[0]):
        save_all(draw_slopes(slopes(read_runs(smk.input.runs))), smk.output)


if __name__ == "__main__":
    main(snakemake)
