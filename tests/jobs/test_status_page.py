"""What `make status` shows, and the command itself."""

import json
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import yaml

from labelnoise.jobs.status_page import cell_text, duration, render, render_failures, table
from labelnoise.jobs.study_status import RunStatus
from labelnoise.study import read_study
from study_tree import HOLDER, NOW, SENTENCE, Tree
from workflow_runs import ROOT, changed


def test_no_line_is_wider_than_100_columns(tmp_path, holding):
    """But for what cannot be broken: the name of a log."""
    tree = Tree(tmp_path, perturbation=["control", "choppy-0.85"], repeats=40)
    first, second, third, *others = tree.runs
    holding(tree.folder(first).lock, json.dumps(HOLDER))
    tree.fail("train_model", second.name, "it broke in a way that takes many words to tell, " * 5)
    tree.begin(third, 1)
    for run in others:
        tree.train(run, epochs=9, keep=7, batch_size=30, learning_rate=0.012345)
    text = render(tree.status(), NOW).replace(str(tree.results.root), "results")
    assert "it broke" in text and "outdated" in text and "node7" in text and "Stopped" in text
    assert max(map(len, text.splitlines())) <= 100


def test_an_empty_study_waits(tmp_path):
    tree = Tree(tmp_path)
    text = render(tree.status(), NOW)
    assert "4 runs in" in text and "4 waiting" in text and "ETA: unknown" in text
    assert render_failures(tree.status()) == "Nothing has failed."


def test_a_finished_study_has_no_eta(tmp_path):
    tree = Tree(tmp_path)
    for run in tree.runs:
        tree.train(run)
        tree.test(run)
    text = render(tree.status(), NOW)
    assert "no run is left" in text and "Mixed" not in text and "snakemake" not in text


def test_many_failures_are_cut_unless_asked_for(tmp_path):
    tree = Tree(tmp_path, repeats=12)
    for run in tree.runs[:12]:
        tree.fail("train_model", run.name)
    for run in tree.runs[12:]:
        tree.begin(run, 1)
    text, failures = render(tree.status(), NOW), render_failures(tree.status())
    assert text.count(SENTENCE) == text.count(": after epoch 1 of 2") == 10
    assert "and 2 more, which --failed shows" in text
    assert failures.count(SENTENCE) == failures.count(": after epoch 1 of 2") == 12


def test_the_default_matrix_fits_100_columns_and_a_wide_one_is_parted():
    study = read_study(ROOT / "config.yaml")
    runs = [RunStatus(run, "finished", 1) for run in study.runs]
    lines = table(runs).splitlines()
    assert max(map(len, lines)) <= 100
    # Two lines of titles, a row for each of 2 x 3 x 2, and the totals.
    assert len(lines) == 2 + 12 + 1
    assert lines[-1].split() == ["all", *["36"] * 10, "360/360"]
    parted = table(runs, width=60)
    assert max(map(len, parted.splitlines())) <= 60
    # No number is lost or shown twice.
    totals = [line.split()[1:] for line in parted.splitlines() if line.startswith("all")]
    assert [text for total in totals for text in total] == lines[-1].split()[1:]


def test_texts_by_hand():
    assert cell_text(Counter(finished=2, running=1, failed=3, waiting=1)) == "2>!3"
    assert cell_text(Counter(finished=2, waiting=5), whole=True) == "2/7"
    seconds = [4, 61, 3600 + 5 * 60, timedelta(days=2, hours=4).total_seconds()]
    assert list(map(duration, seconds)) == ["4 s", "1 min", "1 h 05 min", "2 days 4 h"]


def status_command(folder, *arguments):
    command = [sys.executable, ROOT / "scripts" / "status.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_mistakes_end_in_one_sentence(tmp_path):
    unknown = status_command(tmp_path, "--configfile", "studies/nowhere.yaml")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("error: there is no config file studies/nowhere.yaml")
    (tmp_path / "wrong.yaml").write_text("matrix: {dataset: [nowhere]}")
    wrong = status_command(tmp_path, "--configfile", "wrong.yaml")
    assert wrong.returncode == 1
    assert "matrix.dataset" in wrong.stderr
    assert unknown.stderr.count("\n") == wrong.stderr.count("\n") == 1
    assert unknown.stdout == wrong.stdout == ""


def test_the_command_loads_no_heavy_package():
    """It must answer at once, so torch, pandas and snakemake stay out."""
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import status; status.main([])\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'snakemake'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"


def test_a_real_study_in_a_folder_of_its_own(study_copy):
    """As Snakemake made it, of 3 repeats of the control, in the folder that its config names."""
    (study_copy / "results").rename(study_copy / "elsewhere")
    study = changed(matrix={"perturbation": ["control"], "repeats": 3})
    study["pathvars"] = {"results": "elsewhere"}
    (study_copy / "study.yaml").write_text(yaml.safe_dump(study))
    answer = status_command(study_copy, "--configfile", "study.yaml")
    assert answer.returncode == 0, answer.stderr
    assert "3 runs in elsewhere: 2 finished, 1 waiting" in answer.stdout
    assert "one at a time; none is being trained now" in answer.stdout
    assert "No snakemake is making them now." in answer.stdout
    assert not list((study_copy / "elsewhere").glob("**/.state"))
