"""What `make` answers when a study is not there, or not run yet."""

import subprocess
import sys

import yaml

from workflow_runs import ROOT, TINY


def test_a_study_that_does_not_exist_ends_in_a_sentence():
    for target in ("status", "report"):
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


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
