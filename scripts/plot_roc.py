"""Draw ROC curves of one dataset, after training on the control and on the largest errors."""

from pathlib import Path

from labelnoise.evaluation.histograms import read_scores
from labelnoise.evaluation.tables import read_table
from labelnoise.jobs.script import logged
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.roc import draw_roc
from labelnoise.study import RunFolder


def main(smk):
    with logged(smk.log[0]):
        runs = read_table(smk.input.runs)
        shown = runs["perturbation"].isin(smk.params.perturbations)
        runs = runs[shown & (runs["dataset"] == smk.wildcards.dataset)]
        histograms = [
            read_scores(RunFolder(Path(run.folder)).scores).histogram(run.structure)
            for run in runs.itertuples()
        ]
        save_all(draw_roc(runs.assign(histogram=histograms)), smk.output)


if __name__ == "__main__":
    main(snakemake)
