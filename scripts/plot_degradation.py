"""Draw test Dice against the Dice of the training labels."""

from labelnoise.evaluation.tables import read_runs
from labelnoise.jobs.script import logged
from labelnoise.report import style
from labelnoise.report.figures.degradation import degradation


def main(smk):
    with logged(smk.log[0]):
        style.save_all(degradation(read_runs(smk.input.runs)), smk.output)


if __name__ == "__main__":
    main(snakemake)
