"""Draw what networks predict that were trained on the control and on the largest errors."""

from pathlib import Path

from labelnoise.data.storage import Dataset
from labelnoise.jobs.script import logged
from labelnoise.own_code import use_own_code
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.predictions import draw_predictions, predicted_rows
from labelnoise.report.style import perturbations
from labelnoise.study import RunFolder, Study
from labelnoise.training.checkpoints import load_run
from labelnoise.training.trainers.predictions import Predictions


def main(smk):
    with logged(smk.log[0]), Dataset(smk.input.dataset) as data:
        use_own_code(smk.config["modules"])
        folders = [Path(record).parent for record in smk.input.records]
        networks = {
            name: _predictor(RunFolder(folder))
            for name, folder in zip(smk.params.perturbations, folders, strict=True)
        }
        names = perturbations(Study.of(smk.config).drawn)
        save_all(draw_predictions(*predicted_rows(data, networks, names)), smk.output)


def _predictor(folder):
    if folder.predictions.exists():
        return Predictions(folder.predictions)
    return load_run(folder.path)


if __name__ == "__main__":
    main(snakemake)
