"""Draw what networks predict that were trained on the control and on the largest errors."""

from pathlib import Path

from labelnoise import style
from labelnoise.checkpoints import load_run
from labelnoise.figures.examples import examples
from labelnoise.figures.panels import predicted_panels
from labelnoise.scripting import logged
from labelnoise.storage import Dataset


def main(smk):
    with logged(smk.log[0]), Dataset(smk.input.dataset) as data:
        folders = [Path(record).parent for record in smk.input.records]
        networks = {
            name: load_run(folder)
            for name, folder in zip(smk.params.perturbations, folders, strict=True)
        }
        style.save_all(examples(*predicted_panels(data, networks)), smk.output)


if __name__ == "__main__":
    main(snakemake)
