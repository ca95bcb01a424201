"""Draw what looking again at the most suspicious slices mends, by detector."""

from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.review import draw_review


def main(smk):
    with logged(smk.log[0]):
        curves = read_table(smk.input.mending)
        for split, paths in (
            ("train", (smk.output.pdf, smk.output.png)),
            ("test", (smk.output.unseen_pdf, smk.output.unseen_png)),
        ):
            save_all(draw_review(curves, split), paths)


if __name__ == "__main__":
    main(snakemake)
