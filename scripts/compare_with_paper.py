"""Put Table 1 of the paper, and the slopes that follow from it, beside the study's own."""

from labelnoise.evaluation.tables import degradation_table, read_runs
from labelnoise.files import write_csv, write_text
from labelnoise.jobs.script import logged
from labelnoise.report.paper import compare_with_paper, slopes
from labelnoise.report.paper_text import (
    slopes_to_latex,
    slopes_to_markdown,
    table1_to_latex,
    table1_to_markdown,
)


def main(smk):
    with logged(smk.log[0]):
        runs = read_runs(smk.input.runs)
        comparison, slope = compare_with_paper(degradation_table(runs)), slopes(runs)
        write_csv(smk.output.table1, comparison)
        write_text(smk.output.table1_markdown, table1_to_markdown(comparison))
        write_text(smk.output.table1_latex, table1_to_latex(comparison))
        write_csv(smk.output.slopes, slope)
        write_text(smk.output.slopes_markdown, slopes_to_markdown(slope))
        write_text(smk.output.slopes_latex, slopes_to_latex(slope))


if __name__ == "__main__":
    main(snakemake)
