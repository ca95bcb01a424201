"""Draw ROC curves of one dataset, after training on the control and on the largest errors."""

from pathlib import Path

from labelnoise import style
from labelnoise.figures.roc import roc
from labelnoise.roc import read_scores
from labelnoise.scripting import logged
from labelnoise.tables import read_runs


def main(smk):
    with logged(smk.log[0]):
        runs = read_runs(smk.input.runs)
        shown = runs["perturbation"].isin(smk.params.perturbations)
        runs = runs[shown & (runs["dataset"] == smk.wildcards.dataset)]
        histograms = [
            read_scores(Path(run.folder, "scores.h5"))[run.checkpoint_rank][run.structure]
            for run in runs.itertuples()
        ]
        style.save_all(roc(runs.assign(histogram=histograms)), smk.output)


if __name__ == "__main__":
    main(snakemake)
