"""Draw test Dice over cases and label errors, lines of equal Dice, and prices."""

from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.budget import draw_budget
from labelnoise.report.figures.canvas import save_all


def main(smk):
    with logged(smk.log[0]):
        tables = map(read_table, (smk.input.budget, smk.input.plans, smk.input.curves))
        save_all(draw_budget(*tables), smk.output)


if __name__ == "__main__":
    main(snakemake)
