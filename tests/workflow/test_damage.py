"""The files that numbers of a study are read from: damage in them is a sentence, or no change."""

import pytest

from damage import damage
from labelnoise.evaluation.tables import study_tables
from labelnoise.files import read_json
from labelnoise.study import Results, Run

RUN = Run("tiny", "small", "short", "choppy-0.85", 0)


@pytest.mark.parametrize("name", ["record", "counts", "surfaces", "scores", "measured"])
def test_no_table_is_made_of_damaged_files(study_copy, monkeypatch, name):
    monkeypatch.chdir(study_copy)
    results = Results(study_copy / "results")
    folder = results.run_folder(RUN)
    path = results.fill(results.measured, RUN) if name == "measured" else getattr(folder, name)

    def read(_):
        return [table.to_csv() for table in study_tables([RUN], results)]

    found = damage(path, read, 40)
    assert not found["other"] and found["sentence"] > 8


def test_a_damaged_calibration_is_a_sentence(study_copy):
    results = Results(study_copy / "results")
    found = damage(results.fill(results.calibration, RUN), read_json)
    assert not found["other"] and found["sentence"] > 100
