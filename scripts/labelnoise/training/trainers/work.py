"""The folder that a trainer works in, which survives a kill, and the program that works there."""

import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labelnoise.errors import InputError
from labelnoise.files import read_json, write_json, write_record
from labelnoise.jobs import leash
from labelnoise.jobs.study_status import Progress
from labelnoise.study import RunFolder
from labelnoise.training.provenance import begin_sitting
from labelnoise.training.state import leave_if_abandoned
from labelnoise.training.trainers.raw_dataset import NAME

log = logging.getLogger(__name__)

# Seconds between looks at a program.
PAUSE = 1.0


class Work:
    """The folder of one run's trainer, whose lock the caller holds.

    Attributes:
        folder: where the trainer may keep what it needs to go on.
        raw: the raw dataset's parent, as nnU-Net's `nnUNet_raw`.
        output: where the trainer writes.
        sittings: what `begin_sitting` returned each time that the training started.
        seconds: that all sittings took, up to the last look.
    """

    def __init__(self, run_folder: RunFolder, identity: Mapping[str, str], epochs: int):
        """Take the folder as it was left, or empty if it is another training's.

        Args:
            run_folder: the run's.
            identity: see `state.make_identity`.
            epochs: of the training.
        """
        self._state, self._progress = run_folder.state, run_folder.progress
        self.folder, self.epochs = run_folder.trainer.absolute(), epochs
        self.raw, self.output = self.folder / "raw", self.folder / "output"
        self._log, begun = self.folder / "output.txt", self.folder / "begun.json"
        sittings = self._earlier(begun, identity)
        done = Progress.read(self._progress) if sittings else None
        self.done, self._before = (done.epoch, done.seconds) if done else (0, 0.0)
        self._started = time.monotonic()
        self.sittings = [*sittings, begin_sitting(self.done)]
        self.output.mkdir(parents=True, exist_ok=True)
        write_record(begun, {"identity": dict(identity), "sittings": self.sittings})
        self.report(self.done)

    @property
    def dataset(self) -> Path:
        """The raw dataset."""
        return self.raw / NAME

    @property
    def seconds(self) -> float:
        """Seconds that the training has taken, in all sittings."""
        return self._before + time.monotonic() - self._started

    def _earlier(self, begun: Path, identity: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the sittings so far; remove the folder if it is of another training."""
        if not self.folder.exists():
            return []
        try:
            record = read_json(begun, ("identity", "sittings"))
            if record["identity"] == dict(identity):
                return record["sittings"]
            why = "is of another training"
        except InputError as error:
            why = f"cannot be used ({error})"
        log.warning("%s %s; the training starts anew", self.folder, why)
        shutil.rmtree(self.folder)
        return []

    def report(self, epoch: int) -> None:
        """Write how far the training has come, for the status page."""
        self.done = epoch
        progress = {"epoch": epoch, "epochs": self.epochs, "seconds": round(self.seconds, 3)}
        write_json(self._progress, progress)

    def run(
        self,
        words: Sequence[str | Path],
        what: str,
        environment: Mapping[str, str],
        epoch: Callable[[], int] = lambda: 0,
    ) -> None:
        """Run a program to its end; what it prints goes to the log.

        It ends with this process, however that ends, and before the next one starts.

        Args:
            words: the program and its arguments.
            what: what it is, as the subject of a sentence.
            environment: of the program.
            epoch: says how many epochs are done.

        Raises:
            InputError: it ends in an error.
            SystemExit: see `leave_if_abandoned`.
        """
        command = [sys.executable, "-P", leash.__file__, self.folder / "lock", *words]
        with open(self._log, "ab") as out:
            tail = _Tail(self._log, out.tell())
            process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                process_group=0,
            )
            try:
                while _is_running(process):
                    tail.copy()
                    self.report(epoch())
                    leave_if_abandoned()
            finally:
                # Ends the program if it still runs.
                assert process.stdin is not None
                process.stdin.close()
                code = process.wait()
                tail.copy()
        if code:
            said = f": {tail.last}" if tail.last else ""
            raise InputError(
                f"{what} ended with code {code}{said} (all that it printed is in {self._log})."
            )

    def remove(self) -> None:
        """Delete the state, once the run is complete."""
        shutil.rmtree(self._state, ignore_errors=True)


def _is_running(process: subprocess.Popen) -> bool:
    """Wait a little for a process, and return whether it has not ended."""
    try:
        process.wait(PAUSE)
    except subprocess.TimeoutExpired:
        return True
    return False


class _Tail:
    """Copies to the log what a file gets, line by line.

    Attributes:
        last: the last line.
    """

    def __init__(self, path: Path, start: int):
        self._path, self._place, self._rest, self.last = path, start, "", ""

    def copy(self) -> None:
        """Copy the lines that are whole since the last time."""
        with open(self._path, "rb") as file:
            file.seek(self._place)
            content = file.read()
        self._place += len(content)
        # A progress bar returns to the start of its line.
        text = self._rest + content.decode("utf-8", errors="replace").replace("\r", "\n")
        *lines, self._rest = text.split("\n")
        for line in filter(str.strip, lines):
            self.last = line.strip()
            log.info("%s", line.rstrip())
