"""Put Table 1 of the paper, and the slopes that follow from it, beside the study's own."""

from labelnoise.evaluation.tables import degradation_table, read_runs, write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.paper import compare_with_paper, slopes
from labelnoise.report.render import latex, markdown, slopes_tables, table1_tables, write_text


def main(smk):
    with logged(smk.log[0]):
        runs = read_runs(smk.input.runs)
        comparison, slope = compare_with_paper(degradation_table(runs)), slopes(runs)
        write_csv(comparison, smk.output.table1)
        write_text(markdown(table1_tables(comparison)), smk.output.table1_markdown)
        write_text(latex(table1_tables(comparison)), smk.output.table1_latex)
        write_csv(slope, smk.output.slopes)
        write_text(markdown(slopes_tables(slope)), smk.output.slopes_markdown)
        write_text(latex(slopes_tables(slope)), smk.output.slopes_latex)


if __name__ == "__main__":
    main(snakemake)
