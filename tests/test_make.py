"""What `make` answers when a study is not there, or not run yet."""

import subprocess
import sys
from dataclasses import replace

import yaml

from labelnoise.folds import with_folds
from labelnoise.study import Results, read_study
from plan import count_test_cases
from tiny import write_discs
from workflow_runs import ROOT, TINY


def test_a_study_that_does_not_exist_ends_in_a_sentence():
    for target in ("status", "plan", "answer", "verify", "report"):
        # `known-study` is what comes first; the rest would set up .venv.
        plan = run("make", "--dry-run", "--always-make", target, "STUDY=studies/absent.yaml")
        assert plan.stdout.index("STUDY=") < plan.stdout.index("pip install")
    done = run("make", "known-study", "STUDY=studies/demo.yaml studies/absent.yaml")
    assert done.returncode != 0
    assert done.stderr.startswith("error: STUDY=studies/absent.yaml is not a file here")
    assert run("make", "known-study", "STUDY=studies/demo.yaml").returncode == 0
    assert run("make", "known-study").returncode == 0


def test_a_report_of_a_study_that_has_not_run_ends_in_a_sentence(tmp_path):
    results = tmp_path / "results"
    study = tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY, "pathvars": {"results": str(results)}}))
    done = run(sys.executable, "scripts/make_report.py", "--configfile", study)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {results}/tables/runs.csv does not exist, and a report shows a whole study; run "
        f"this one first: snakemake --cores 2 --configfile {study}\n"
    )


def test_an_answer_is_printed_or_the_command_that_makes_it(tmp_path):
    results, study = tmp_path / "results", tmp_path / "study.yaml"
    study.write_text(yaml.safe_dump({**TINY, "pathvars": {"results": str(results)}}))
    answer = (sys.executable, "scripts/print_answer.py", "--configfile", study)
    path = Results(results).table("answer.md")
    done = run(*answer)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {path} does not exist; make it first: snakemake {path} --cores 2 --configfile "
        f"{study}\n"
    )
    path.parent.mkdir(parents=True)
    path.write_text("**1 claim: 1 supported.** ±\n", encoding="utf-8")
    done = run(*answer)
    assert (done.returncode, done.stdout) == (0, "**1 claim: 1 supported.** ±\n")


def test_a_plan_says_before_any_training_what_a_study_can_find(tmp_path):
    study = tmp_path / "study.yaml"
    asked = {"x": {"kind": "slope", "dataset": "tiny", "error": "choppy", "below": 3}}
    results = {"results": str(tmp_path / "results")}
    study.write_text(yaml.safe_dump({**TINY, "claims": asked, "pathvars": results}))
    plan = (sys.executable, "scripts/plan.py", "--configfile", study)
    done = run(*plan, "--cases", "20", "--effect", "0.05")
    assert done.returncode == 0, done.stderr
    assert "small loses Dice under choppy 0.85" in done.stdout
    assert "small loses less than 3 Dice" in done.stdout and "repeats for 0.05" in done.stdout
    assert not (tmp_path / "results").exists()
    done = run(*plan)
    assert done.returncode == 1 and "datasets/tiny.h5 is not there" in done.stderr
    for wrong in (("--cases", "0"), ("--effect", "2")):
        done = run(*plan, *wrong)
        assert done.returncode == 1 and done.stderr.startswith(f"error: {wrong[0]} is {wrong[1]};")


def test_a_plan_counts_the_test_cases_of_a_prepared_dataset(tmp_path):
    study = read_study(ROOT / "config.yaml")
    results = Results(tmp_path)
    path = results.fill(results.dataset, {"dataset": "phantom"})
    path.parent.mkdir(parents=True)
    write_discs(path)
    assert count_test_cases(replace(study, results=results), "phantom") == 2
    # Each case is tested in one of the folds.
    folded = {"discs": {"source": "phantom", "split": {"folds": 3, "fold": None}}}
    study = replace(study, results=results, datasets=with_folds(folded))
    for name in study.folds_of("discs"):
        write_discs(results.fill(results.dataset, {"dataset": name}))
    assert count_test_cases(study, "discs") == 3 * 2


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
