"""Ask whether a recipe's settings for speed change scores beyond noise, by paired repeats.

    python benchmarks/settings.py

Trains the demo's U-Net on the demo's phantom without label errors, with each of its recipes as it
is and with each setting, from the same initial weights and in the same order of slices, and prints
pooled test Dice. Of each setting the difference to the recipe as it is has a mean and a standard
deviation over the repeats; beside it stands the standard deviation of the repeats themselves, which
is the noise that every result of a study has.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.counts import dice  # noqa: E402
from labelnoise.data.storage import Dataset  # noqa: E402
from labelnoise.evaluation.score import count_slices  # noqa: E402
from labelnoise.jobs.devices import Device  # noqa: E402
from labelnoise.study import Run, RunFolder, read_study  # noqa: E402
from labelnoise.training.batches import Slices  # noqa: E402
from labelnoise.training.checkpoints import load_run  # noqa: E402
from labelnoise.training.run import train_run  # noqa: E402
from rows import Rows, add_output  # noqa: E402
from training import SETTINGS, make_task  # noqa: E402

STUDY = read_study(ROOT / "config.yaml", ROOT / "studies" / "demo.yaml")
DATASET, MODEL, CONTROL = "phantom", "unet", "control"
REPEATS = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=[*SETTINGS][:2])
    add_output(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows()
    with tempfile.TemporaryDirectory() as folder:
        study = replace(STUDY, results=replace(STUDY.results, root=Path(folder)))
        for recipe in STUDY.matrix["recipe"]:
            found = {
                name: np.array(
                    [
                        score(study, recipe, repeat, SETTINGS.get(name, {}))
                        for repeat in range(arguments.repeats)
                    ]
                )
                for name in ("", *arguments.settings)
            }
            plain = found.pop("")
            for name, scores in found.items():
                what, difference = f"{recipe}, {name}", 1000 * (scores - plain)
                means = {"before": 1000 * plain.mean(), "after": 1000 * scores.mean()}
                rows.add(f"{what}: mean", **means, unit="Dice / 1000")
                rows.add(f"{what}: mean difference", after=difference.mean(), unit="Dice / 1000")
                spread = {"before": 1000 * plain.std(ddof=1), "after": difference.std(ddof=1)}
                rows.add(f"{what}: sd of repeats, of differences", **spread, unit="Dice / 1000")
    rows.write(arguments.output)


def score(study, name, repeat, setting):
    """Return the pooled test Dice of a training with a setting."""
    task = make_task(study, Run(DATASET, MODEL, name, CONTROL, repeat))
    task = replace(task, recipe=replace(task.recipe, **setting))
    with tempfile.TemporaryDirectory() as folder:
        train_run(task, RunFolder(Path(folder)), Device("cpu", "CPU"))
        network = load_run(folder).network
    data = Dataset(task.dataset)
    slices = Slices(data, data.rows("test"))
    counts_NC4 = count_slices(network, slices, "cpu", task.recipe.batch_size)
    return float(dice(counts_NC4.sum(0)[1].numpy()))


if __name__ == "__main__":
    main()
