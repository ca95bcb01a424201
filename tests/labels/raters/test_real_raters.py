"""People's masks that may lie beside the repository: `../shared/data/raters`."""

from pathlib import Path

import pytest

from labelnoise.labels.raters.reading import read_folder
from labelnoise.labels.raters.simulation import Subject, hand_of, simulate
from labelnoise.labels.raters.statistics import STATISTICS, summarise

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "raters" / "lidc-nodule"
# As fitted, docs/raters.md.
SETTINGS = {
    "severity": 0.511,
    "bias_share": 0.296,
    "mean": 0.0044,
    "length": 2.69,
    "length_z": 1.48,
    "gamma": 0.664,
    "smoothness": 1.19,
    "across": 1.48,
    "spread": 0.351,
}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="no ../shared/data/raters/lidc-nodule here")
def test_simulated_nodules_differ_as_radiologists_do():
    subjects = [Subject(each) for each in read_folder(FOLDER)]
    assert len(subjects) == 60 and all(each.people == 4 for each in subjects)
    real_K = summarise([each.real for each in subjects])
    simulated_K = summarise(simulate(subjects, hand_of(SETTINGS), 4, seed=8))
    for (name, statistic), real, simulated in zip(
        STATISTICS.items(), real_K, simulated_K, strict=True
    ):
        if statistic.goal is not None:
            assert abs(real - simulated) <= statistic.goal, name
