"""Put Table 1 of the paper, and the slopes that follow from it, beside the study's own."""

from labelnoise.evaluation.tables import degradation_table, read_runs, write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.paper import compare_with_paper, slopes
from labelnoise.report.paper_text import (
    slopes_to_latex,
    slopes_to_markdown,
    table1_to_latex,
    table1_to_markdown,
)
from labelnoise.report.table_layout import write_text


def main(smk):
    with logged(smk.log[0]):
        runs = read_runs(smk.input.runs)
        comparison, slope = compare_with_paper(degradation_table(runs)), slopes(runs)
        write_csv(comparison, smk.output.table1)
        write_text(table1_to_markdown(comparison), smk.output.table1_markdown)
        write_text(table1_to_latex(comparison), smk.output.table1_latex)
        write_csv(slope, smk.output.slopes)
        write_text(slopes_to_markdown(slope), smk.output.slopes_markdown)
        write_text(slopes_to_latex(slope), smk.output.slopes_latex)


if __name__ == "__main__":
    main(snakemake)
