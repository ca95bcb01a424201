"""Logs of jobs, and the errors that they end in."""

import errno
import logging
import subprocess
import sys
import warnings

import pytest

from labelnoise.errors import InputError
from labelnoise.jobs.script import TAIL, explain, last_error, logged
from workflow_runs import ROOT


@pytest.fixture(autouse=True)
def loggers():
    """Put the root logger back, which `logged` sends to a file."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_a_mistake_ends_in_one_sentence_which_the_log_ends_in(tmp_path, capsys):
    path = tmp_path / "logs" / "rule.log"
    with pytest.raises(SystemExit) as ended, logged(str(path)):
        logging.info("at work")
        raise InputError("no labels;\n  make some.")
    assert str(ended.value) == "error: no labels;\n  make some."
    assert last_error(path) == "no labels; make some."
    assert "INFO at work" in path.read_text() and "Traceback" in path.read_text()
    # The next attempt starts a log of its own.
    with logged(str(path)):
        warnings.warn("a warning", stacklevel=1)
    assert last_error(path) is None
    assert "a warning" in path.read_text() and "at work" not in path.read_text()


def test_an_unexpected_error_names_the_log_with_the_traceback(tmp_path):
    path = tmp_path / "rule.log"
    with pytest.raises(SystemExit) as ended, logged(str(path)):
        raise KeyError("wheel")
    assert str(ended.value).startswith("error: KeyError: 'wheel' (")
    assert str(path) in str(ended.value)
    assert "Traceback" in path.read_text()


def test_an_error_counts_where_a_log_ends_in_it(tmp_path):
    path = tmp_path / "rule.log"
    with logged(str(path)):
        logging.error("of a library")
        logging.info("and on it went")
    assert last_error(path) is None
    with logged(str(path)):
        logging.info("x" * 2 * TAIL)
        logging.error("it broke")
    assert last_error(path) == "it broke"
    with logged(str(path)):
        pass
    assert last_error(path) is None
    assert last_error(tmp_path / "none.log") is None
    assert last_error(path / "none.log") is None


def test_a_job_that_was_left_behind_spoils_no_log(tmp_path):
    """Two processes write to one log: the later one empties it, the earlier one goes on."""
    path = tmp_path / "rule.log"
    program = (
        "import logging, sys\n"
        "from labelnoise.jobs.script import logged\n"
        "with logged(sys.argv[1]):\n"
        "    logging.info('x' * 1000)\n"
        "    print(flush=True)\n"
        "    sys.stdin.read()\n"
        "    logging.info('left')\n"
    )
    command = [sys.executable, "-c", program, path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        command, env={"PYTHONPATH": str(ROOT / "scripts")}, **pipes
    ) as left_behind:
        left_behind.stdout.readline()
        with logged(str(path)):
            logging.info("new")
            left_behind.communicate()
    assert [line.split()[-1] for line in path.read_text().splitlines()] == ["new", "left"]


def test_what_cannot_be_written_is_said_with_the_mend():
    error = OSError(errno.ENOSPC, "No space left on device", "results/x.h5")
    assert explain(error).startswith("cannot write results/x.h5: no space is left on the disk;")
    assert "quota" in explain(RuntimeError(f"h5py: errno = {errno.EDQUOT}, error message"))
    assert explain(KeyError("x")) == "KeyError: 'x'"
