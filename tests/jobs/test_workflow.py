"""What Snakemake says in the terminal of a job that failed, and of an unknown target."""

import logging
import subprocess

import pytest

from labelnoise.jobs.workflow import near_targets, says_more


@pytest.mark.parametrize(("code", "stays"), [(1, False), (130, False), (-9, True), (137, True)])
def test_what_ended_a_job_is_left_out_only_where_the_job_has_said_it(code, stays):
    said = f"RuleException:\n{subprocess.CalledProcessError(code, 'python x.py')}"
    record = logging.makeLogRecord({"msg": said, "exception": "RuleException"})
    assert says_more(record) is stays


@pytest.mark.parametrize(
    ("target", "near"),
    [
        ("figuers", "\nNear names: figures"),
        ("results/figures/degradatoin.pdf", "\nNear names: results/figures/degradation.pdf"),
        ("elsewhere", ""),
    ],
)
def test_near_names_follow_what_is_said_of_an_unknown_target(target, near):
    targets = ["figures", "all", "results/figures/degradation.pdf", "results/tables/runs.csv"]
    said = f"MissingRuleException:\nNo rule to produce {target} (if you use input functions ...)"
    record = logging.makeLogRecord({"msg": said, "exception": "MissingRuleException"})
    assert near_targets(lambda: targets)(record)
    assert record.getMessage() == said + near
