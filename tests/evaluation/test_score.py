"""What a test says of a run in one line."""

import json

import pandas as pd

from labelnoise.evaluation.score import describe_score
from labelnoise.study import RunFolder


def test_the_line_of_a_test_is_of_the_chosen_checkpoint_and_pooled(tmp_path):
    names = {"dataset": "lis", "model": "unet", "recipe": "plain", "perturbation": "control"}
    record = {**names, "repeat": 0, "chosen_rank": 2}
    (tmp_path / "run.json").write_text(json.dumps(record))
    rows = [(1, "liver", 9, 0, 0, 0), (2, "liver", 90, 10, 10, 0), (2, "liver", 1, 2, 0, 0)]
    rows += [(2, "tumour", 0, 0, 0, 9)]
    counted = pd.DataFrame(rows, columns=["rank", "structure", "tp", "fp", "fn", "tn"])
    # 2 x 91 / (182 + 22)
    expected = "tested lis/unet/plain/control/rep0: test Dice liver 0.8922, tumour nan"
    assert describe_score(counted, RunFolder(tmp_path)) == expected
