"""Draw test Dice against the Dice of the training labels."""

from labelnoise import style
from labelnoise.figures.degradation import degradation
from labelnoise.scripting import logged
from labelnoise.tables import read_runs


def main(smk):
    with logged(smk.log[0]):
        style.save_all(degradation(read_runs(smk.input.runs)), smk.output)


if __name__ == "__main__":
    main(snakemake)
