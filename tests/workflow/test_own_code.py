"""The page on code of one's own, followed as it is written, and what an edit makes again."""

import json
import re
import subprocess

import pytest

from labelnoise.study import Run, read_study
from labelnoise.training.checkpoints import load_run
from workflow_runs import ROOT, command, job_counts

BLOCK = re.compile(r"```\w+\n# (studies/\S+)\n(.*?)```", re.DOTALL)
RUN = Run("small", "mine", "short", "shaved-0.85", 0)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's files, in a folder of their own, and its study's run with the label error."""
    folder = tmp_path_factory.mktemp("own")
    blocks = dict(BLOCK.findall((ROOT / "docs/own-code.md").read_text(encoding="utf-8")))
    assert {*blocks} == {"studies/mykinds.py", "studies/mynets.py", "studies/own.yaml"}
    for name, text in blocks.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    done = make(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def make(folder, *arguments):
    """Make the run's test by the page's own config."""
    target = f"results/own/runs/{RUN.name}/test.csv"
    return subprocess.run(
        [*command(folder, {}, target, *arguments), folder / "studies/own.yaml"],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )


def test_the_page_ends_in_a_tested_run_that_says_whose_code_it_is(page, no_own_code):
    study = read_study(ROOT / "config.yaml", page / "studies/own.yaml")
    run = page / f"results/own/runs/{RUN.name}"
    record = json.loads((run / "run.json").read_text())
    code = study.perturbations["shaved-0.85"].code
    assert record["label_kind"] == {"kind": "mykinds.shave", "code": code}
    assert record["definitions"]["model"] == study.models["mine"].as_dict()
    calibrated = json.loads((page / "results/own/calibration/small/shaved-0.85.json").read_text())
    assert calibrated["code"] == code
    assert calibrated["structures"]["liver"]["label_dice"] == pytest.approx(0.85, abs=0.002)
    assert load_run(run, modules=page / "studies").network.stride == 2


def test_an_edit_makes_again_what_depends_on_the_file_and_no_more(page):
    nets, kinds = page / "studies/mynets.py", page / "studies/mykinds.py"
    texts = nets.read_text(), kinds.read_text()
    nets.write_text(texts[0] + "\n# edited")
    counts = job_counts(make(page, "--dry-run"))
    assert counts == {"train_model": 1, "test_model": 1, "total": 2}
    # With its bytes back, wherever it lies, it makes nothing again.
    nets.unlink()
    (page / "mynets.py").write_text(texts[0])
    kinds.write_text(texts[1] + "\n# edited")
    again = dict.fromkeys(
        ("calibrate_perturbation", "perturb_labels", "train_model", "test_model"), 1
    )
    assert job_counts(make(page, "--dry-run")) == {**again, "total": 4}
