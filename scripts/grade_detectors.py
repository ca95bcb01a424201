"""Grade detectors of label errors, and draw up what looking again at the first suspects mends."""

from labelnoise.evaluation.detectors import USUAL
from labelnoise.evaluation.review import grade_detectors, read_suspects
from labelnoise.files import write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.render import write_tables
from labelnoise.report.review import review_tables
from labelnoise.study import Run, results_of


def main(smk):
    with logged(smk.log[0]):
        detectors = list(smk.params.detectors or USUAL)
        runs = map(Run.parse, smk.params.runs)
        table, curves = grade_detectors(
            read_suspects(runs, results_of(smk.config), detectors), detectors
        )
        write_csv(smk.output.review, table)
        write_csv(smk.output.mending, curves)
        write_tables(review_tables(table), smk.output.markdown, smk.output.latex)


if __name__ == "__main__":
    main(snakemake)
