"""Draw what each mitigation changes of the baseline's test Dice."""

from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.mitigation import draw_mitigation


def main(smk):
    with logged(smk.log[0]):
        figure = draw_mitigation(read_table(smk.input.mitigation), smk.params.baseline)
        save_all(figure, smk.output)


if __name__ == "__main__":
    main(snakemake)
