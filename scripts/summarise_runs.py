"""Gather every run's counts into the tables of the study."""

from pathlib import Path

from labelnoise.evaluation.tables import degradation_table, runs_table, write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.table_layout import write_text
from labelnoise.report.table_text import (
    to_latex,
    to_markdown,
    wide_to_latex,
    wide_to_markdown,
)


def main(smk):
    with logged(smk.log[0]):
        results = Path(smk.output.runs).parents[1]
        runs = runs_table(smk.params.runs, results)
        degradation = degradation_table(runs)
        write_csv(runs, smk.output.runs)
        write_csv(degradation, smk.output.degradation)
        write_text(
            f"{wide_to_markdown(degradation)}\n{to_markdown(degradation)}", smk.output.markdown
        )
        write_text(f"{wide_to_latex(degradation)}\n{to_latex(degradation)}", smk.output.latex)


if __name__ == "__main__":
    main(snakemake)
