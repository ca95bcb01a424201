"""Draw test Dice against the Dice of the training labels."""

from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.degradation import draw_degradation


def main(smk):
    with logged(smk.log[0]):
        save_all(
            draw_degradation(*map(read_table, (smk.input.degradation, smk.input.runs))), smk.output
        )


if __name__ == "__main__":
    main(snakemake)
