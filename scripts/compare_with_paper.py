"""Put Table 1 of the paper, and the slopes that follow from it, beside the study's own."""

import pandas as pd

from labelnoise.evaluation.tables import degradation_table, read_runs
from labelnoise.files import write_csv, write_text
from labelnoise.jobs.script import logged
from labelnoise.report.paper import compare_with_paper, slopes
from labelnoise.report.render import latex, markdown, slopes_tables, table1_tables


def main(smk):
    with logged(smk.log[0]):
        runs = read_runs(smk.input.runs)
        mixed = len(pd.read_csv(smk.input.mixed))
        comparison, slope = compare_with_paper(degradation_table(runs)), slopes(runs)
        write_csv(smk.output.table1, comparison)
        write_text(smk.output.table1_markdown, markdown(table1_tables(comparison, mixed)))
        write_text(smk.output.table1_latex, latex(table1_tables(comparison, mixed)))
        write_csv(smk.output.slopes, slope)
        write_text(smk.output.slopes_markdown, markdown(slopes_tables(slope, mixed)))
        write_text(smk.output.slopes_latex, latex(slopes_tables(slope, mixed)))


if __name__ == "__main__":
    main(snakemake)
