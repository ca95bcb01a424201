"""Draw the test Dice of every single run."""

from labelnoise import style
from labelnoise.figures.scatter import scatter
from labelnoise.scripting import logged
from labelnoise.tables import read_runs


def main(smk):
    with logged(smk.log[0]):
        style.save_all(scatter(read_runs(smk.input.runs)), smk.output)


if __name__ == "__main__":
    main(snakemake)
