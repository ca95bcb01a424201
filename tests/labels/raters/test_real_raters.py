"""People's masks that may lie beside the repository: `../shared/data/raters`."""

from pathlib import Path

import pytest

from labelnoise.labels.raters.reading import read_folder
from labelnoise.labels.raters.simulation import Subject, hand_of, simulate
from labelnoise.labels.raters.statistics import STATISTICS, summarise

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "raters" / "lidc-nodule"
# As fitted, docs/raters.md.
SETTINGS = {
    "severity": 0.4833,
    "bias_share": 0.2884,
    "mean": 0.0205,
    "length": 2.5086,
    "length_z": 1.3717,
    "gamma": 0.587,
    "smoothness": 1.173,
    "across": 1.9079,
    "spread": 0.1541,
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
