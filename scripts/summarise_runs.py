"""Gather every run's counts into the tables of the study."""

from pathlib import Path

from labelnoise.evaluation.tables import degradation_table, runs_table, write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.render import degradation_tables, latex, markdown, write_text


def main(smk):
    with logged(smk.log[0]):
        results = Path(smk.output.runs).parents[1]
        runs = runs_table(smk.params.runs, results)
        degradation = degradation_table(runs)
        tables = degradation_tables(degradation)
        write_csv(runs, smk.output.runs)
        write_csv(degradation, smk.output.degradation)
        write_text(markdown(tables), smk.output.markdown)
        write_text(latex(tables), smk.output.latex)


if __name__ == "__main__":
    main(snakemake)
