"""Gather every run's counts into the tables of the study."""

from pathlib import Path

from labelnoise.evaluation.tables import degradation_table, runs_table
from labelnoise.files import write_csv, write_text
from labelnoise.jobs.script import logged
from labelnoise.report.table_text import (
    to_latex,
    to_markdown,
    wide_to_latex,
    wide_to_markdown,
)
from labelnoise.study import Results, Run


def main(smk):
    with logged(smk.log[0]):
        runs = runs_table(map(Run.parse, smk.params.runs), Results(Path(smk.params.results)))
        degradation = degradation_table(runs)
        write_csv(smk.output.runs, runs)
        write_csv(smk.output.degradation, degradation)
        write_text(
            smk.output.markdown, f"{wide_to_markdown(degradation)}\n{to_markdown(degradation)}"
        )
        write_text(smk.output.latex, f"{wide_to_latex(degradation)}\n{to_latex(degradation)}")


if __name__ == "__main__":
    main(snakemake)
