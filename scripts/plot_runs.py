"""Draw the test Dice of every single run."""

from labelnoise.evaluation.tables import read_runs
from labelnoise.jobs.script import logged
from labelnoise.report import style
from labelnoise.report.figures.runs import scatter


def main(smk):
    with logged(smk.log[0]):
        style.save_all(scatter(read_runs(smk.input.runs)), smk.output)


if __name__ == "__main__":
    main(snakemake)
