"""Put Table 1 of the paper, and the slopes that follow from it, beside the study's own."""

import pandas as pd

from labelnoise.evaluation.tables import read_table
from labelnoise.files import write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.paper import compare_with_paper, slopes_beside_paper
from labelnoise.report.render import note_folds, slopes_tables, table1_tables, write_tables


def main(smk):
    with logged(smk.log[0]):
        runs, degradation, cases = map(
            read_table, (smk.input.runs, smk.input.degradation, smk.input.cases)
        )
        mixed = len(pd.read_csv(smk.input.mixed))
        comparison = compare_with_paper(degradation)
        slope = slopes_beside_paper(runs, cases)
        write_csv(smk.output.table1, comparison)
        tables = note_folds(table1_tables(comparison, mixed), runs)
        write_tables(tables, smk.output.table1_markdown, smk.output.table1_latex)
        write_csv(smk.output.slopes, slope)
        tables = note_folds(slopes_tables(slope, mixed), runs)
        write_tables(tables, smk.output.slopes_markdown, smk.output.slopes_latex)


if __name__ == "__main__":
    main(snakemake)
