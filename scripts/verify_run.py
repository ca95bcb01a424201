"""Train a finished run again elsewhere and compare the two byte by byte: `make verify`."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from labelnoise.config import add_overlays, load_config, study_files
from labelnoise.files import read_json, scratch_folder
from labelnoise.jobs.devices import lease_recorded_device, use_threads
from labelnoise.jobs.script import explain
from labelnoise.jobs.signals import ended_by
from labelnoise.jobs.study_status import choose_finished, look_at
from labelnoise.own_code import use_own_code
from labelnoise.study import RunFolder, Study, find_modules

KEYS = ("seconds", "gpu", "device", "threads", "host", "interruptions")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add_overlays(parser)
    add("--run", help="the run, such as phantom/unet/plain/control/rep0 (a random one)")
    arguments = parser.parse_args(argv)
    # A training that is stopped says that it can go on, and this one cannot.
    logging.disable(logging.WARNING)
    try:
        with ended_by(signal.SIGTERM, signal.SIGHUP):
            files = study_files(arguments.configfile)
            are_equal = verify(load_config(*files), arguments.run, files)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        # 1 means that the two were compared and differ.
        sys.exit(2)
    sys.exit(0 if are_equal else 1)


def verify(config: dict, name: str | None, files: Sequence[Path] = ()) -> bool:
    """Make a run again, print how it compares, and return whether it is equal.

    Args:
        config: the study's, as `load_config` returns it.
        name: the run; None takes a finished one at random.
        files: the study's configuration files, beside which the user's own code is.

    Raises:
        InputError: there is no such run, or the two need not be equal here.
    """
    study = Study.of(config, find_modules(config, files))
    use_own_code(study.modules)
    run = choose_finished(look_at(study), name)
    folder = study.results.run_folder(run)
    record = read_json(folder.record, KEYS)
    threads = record["threads"]
    print(
        f"{run.name} of {study.results.root}: its training took {record['seconds']:.1f} s on "
        f"{record['device']}, threads: {threads}; another takes about as long.",
        flush=True,
    )
    use_threads(threads)
    # torch may only start once it is said how many threads it has.
    from labelnoise.evaluation.verify import (
        check_inputs,
        check_surroundings,
        compare_runs,
        describe_comparisons,
        make_again,
    )

    task = study.task(run)
    check_surroundings(run, record)
    check_inputs(task, record)
    slots, patience = config["runs_per_gpu"], 60 * config["gpu_wait"]
    with (
        lease_recorded_device(record, slots, patience, f"verifying {run.name}") as device,
        scratch_folder("verify") as path,
    ):
        again = RunFolder(path / "run")
        trained, tested = make_again(task, again, device, study.tolerances)
        compared = compare_runs(folder, again)
    print(describe_comparisons(compared, record))
    are_equal = not any(each.difference for each in compared)
    verdict = "equal" if are_equal else "not equal"
    print(f"{run.name}: {verdict}, trained again in {trained:.1f} s, tested in {tested:.1f} s")
    return are_equal


if __name__ == "__main__":
    main()
