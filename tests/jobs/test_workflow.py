"""Snakemake's looks for ready jobs, and what it says of a failed job and of an unknown target."""

import inspect
import logging
import subprocess
import threading
from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from labelnoise.jobs.workflow import let_signals_end, look_less_often, near_targets, says_more


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


def test_one_look_at_ready_jobs_is_due_at_a_time():
    scheduler = SimpleNamespace(_open_jobs=threading.Semaphore(0))
    look_less_often(scheduler)
    for _ in range(2):
        for _ in range(50):
            scheduler._schedule_reevalutation(0.2)
        assert scheduler._open_jobs.acquire(timeout=60)
    assert not scheduler._open_jobs.acquire(timeout=0.5)


def test_a_signal_that_comes_while_the_lock_is_held_ends_snakemake():
    scheduler = SimpleNamespace(_lock=threading.Lock(), _open_jobs=threading.Semaphore(0))
    let_signals_end(scheduler)

    def interrupted():
        with scheduler._lock:
            JobScheduler.exit_gracefully(scheduler)

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive() and scheduler._user_kill == "graceful"
    # Its own lock is another, and is not taken elsewhere under another name.
    assert "self._lock = threading.Lock()" in inspect.getsource(JobScheduler)


def test_snakemake_schedules_its_looks_by_what_is_replaced():
    source = inspect.getsource(JobScheduler)
    assert "self._schedule_reevalutation(self.job_rate_limiter.timespan)" in source
    assert "self._open_jobs.release()" in source
