"""Gather every run's counts into the tables of the study."""

from pathlib import Path

from labelnoise.evaluation.tables import degradation_table, runs_table
from labelnoise.files import write_csv, write_text
from labelnoise.jobs.script import logged
from labelnoise.report.render import degradation_tables, latex, markdown
from labelnoise.study import Results, Run


def main(smk):
    with logged(smk.log[0]):
        runs = runs_table(map(Run.parse, smk.params.runs), Results(Path(smk.params.results)))
        degradation = degradation_table(runs)
        tables = degradation_tables(degradation)
        write_csv(smk.output.runs, runs)
        write_csv(smk.output.degradation, degradation)
        write_text(smk.output.markdown, markdown(tables))
        write_text(smk.output.latex, latex(tables))


if __name__ == "__main__":
    main(snakemake)
