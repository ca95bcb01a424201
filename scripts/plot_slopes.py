"""Draw the Dice lost for each label Dice lost, beside the paper's."""

from labelnoise import style
from labelnoise.figures.slopes import draw_slopes
from labelnoise.paper import slopes
from labelnoise.scripting import logged
from labelnoise.tables import read_runs


def main(smk):
    with logged(smk.log[0]):
        style.save_all(draw_slopes(slopes(read_runs(smk.input.runs))), smk.output)


if __name__ == "__main__":
    main(snakemake)
