"""Set test Dice beside that of networks trained again on labels that were mended."""

from labelnoise.evaluation.mended import mended_table
from labelnoise.files import write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.render import write_tables
from labelnoise.report.review import mended_tables
from labelnoise.study import Run, results_of


def main(smk):
    with logged(smk.log[0]):
        runs = map(Run.parse, smk.params.runs)
        table = mended_table(runs, results_of(smk.config), smk.params.orders)
        write_csv(smk.output.mended, table)
        write_tables(mended_tables(table, smk.params.share), smk.output.markdown, smk.output.latex)


if __name__ == "__main__":
    main(snakemake)
