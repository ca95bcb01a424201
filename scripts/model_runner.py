"""Train or test one network by hand, with the command line of the 2018 code."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labelnoise import names as short_names
from labelnoise.config import PROJECT, load_config, study_files
from labelnoise.config.channels import channel_names
from labelnoise.config.rules import AXES
from labelnoise.data.sources import check_folder
from labelnoise.errors import InputError
from labelnoise.jobs.devices import installed_cards, visible
from labelnoise.jobs.script import explain
from labelnoise.jobs.workflow import make_files
from labelnoise.names import full_name
from labelnoise.sessions import Session, find_session, new_session
from labelnoise.study import Run, results_of

LABELS18 = PROJECT / "studies" / "labels18.yaml"
DEFAULTS = {
    "dataset": "lis",
    "model": "unet",
    "recipe": "labels18",
    "perturbation": "control",
    "repeat": 0,
}
EXAMPLES = """\
examples:
  start a session: U-Net on the liver, clean labels, 100 epochs of 35 batches of 20
    python scripts/model_runner.py -n first
  choose batch size, dataset, perturbation, GPU and network
    python scripts/model_runner.py -n second -b 10 -d psd -p mchop -g 1 -m segnet
  the same by the names of the config, on the CPU
    python scripts/model_runner.py -n third -d phantom -p choppy-0.90 -m fcn32 -g cpu
  another recipe, another repeat, fewer epochs
    python scripts/model_runner.py -n fourth -d phantom --recipe plain --repeat 1 --epochs 20
  the definitions of a study
    python scripts/model_runner.py -n fifth -d phantom --config studies/demo.yaml
  go on with a session that was interrupted, or beyond its last epoch
    python scripts/model_runner.py -e first
    python scripts/model_runner.py -e first --epochs 150
  test a session on clean labels
    python scripts/model_runner.py -t -e first
  watch predictions on viz/phantom/x*.npy while it trains (made by scripts/make_viz.py)
    python scripts/model_runner.py -n sixth -d phantom -v
"""

Config = Mapping[str, Any]


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    try:
        run(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(f"error: {explain(error)}")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line: the flags and defaults of the 2018 code, and a few more."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-n", "--new", metavar="NAME", help="start a session of this name")
    add("-e", "--existing", metavar="NAME", help="continue this session where it stopped")
    add("-b", "--batch_size", type=positive, metavar="N", help="slices per step (the recipe's: 20)")
    add("-d", "--dataset", help="a dataset of the config (lis)")
    errors = "errors of the training labels: a name of the config, or schop ... lrnd (control)"
    add("-p", "--perturbation", "--perturbations", help=errors)
    add("-g", "--gpu", metavar="INDEX", help="the GPU to use, or cpu (0)")
    add("-m", "--model", help="a network of the config; fcn is fcn32 (unet)")
    # Both took a value in 2018, which had no effect.
    add("-t", "--testing", nargs="?", const=True, help="test a session on clean labels")
    add("-v", "--visualize", nargs="?", const=True, help="show predictions on viz/<dataset>/")
    add("--recipe", help="a recipe of the config (labels18)")
    add("--repeat", type=counted, metavar="R", help="index of the repeat, which sets its seeds (0)")
    add("--epochs", type=positive, metavar="N", help="instead of the recipe's")
    overlays = "files that overlay config.yaml, such as studies/demo.yaml"
    add("--config", nargs="+", default=[], metavar="FILE", help=overlays)
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Do what the arguments ask for.

    Raises:
        InputError: they do not fit each other, the config or the session.
    """
    if (arguments.new is None) == (arguments.existing is None):
        raise InputError("name either a new session, -n NAME, or an existing one, -e NAME.")
    if arguments.testing and arguments.existing is None:
        raise InputError("only an existing session can be tested; name it: -t -e NAME.")
    configs = read_configs(arguments.config)
    if arguments.new:
        train(start(arguments, configs), arguments)
    elif arguments.testing:
        test(find(arguments, configs), arguments)
    else:
        session = find(arguments, configs)
        train(session.lengthened(arguments.epochs or session.recipe.epochs), arguments)


def read_configs(overlays: list[str]) -> list[Config]:
    """Return the configs in which names of the command line are looked up, in this order.

    Without overlays there are two: config.yaml alone, and with the overlay of the study that
    repeats the 2018 code's runs on its datasets, `lis` and `psd`.
    """
    own = study_files(overlays)
    return [load_config(*own), *([] if overlays else [load_config(*own, LABELS18)])]


def choose_config(dataset: str, configs: list[Config]) -> tuple[Config, str]:
    """Return the first config that defines a dataset, and the dataset's name in it."""
    known = {name: config for config in reversed(configs) for name in config["datasets"]}
    name = full_name("dataset", dataset, known)
    return known[name], name


def named(arguments: argparse.Namespace, config: Config) -> dict[str, Any]:
    """Return the parts of the study that the command line names, by the config's names."""
    given = {key: getattr(arguments, key) for key in DEFAULTS}
    short = {"model": short_names.MODELS, "perturbation": short_names.PERTURBATIONS}
    return {
        key: full_name(key, value, config[AXES[key]], short.get(key)) if key in AXES else value
        for key, value in given.items()
        if value is not None
    }


def start(arguments: argparse.Namespace, configs: list[Config]) -> Session:
    """Return the new session that the arguments describe."""
    for key, value in DEFAULTS.items():
        if getattr(arguments, key) is None:
            setattr(arguments, key, value)
    config, arguments.dataset = choose_config(arguments.dataset, configs)
    run = Run.of(named(arguments, config))
    given = {"batch_size": arguments.batch_size, "epochs": arguments.epochs}
    changes = {key: value for key, value in given.items() if value is not None}
    return new_session(config, arguments.new, run, changes, study_files(arguments.config))


def find(arguments: argparse.Namespace, configs: list[Config]) -> Session:
    """Return the existing session that the arguments name."""
    name = arguments.existing
    homes = [each for each in configs if results_of(each).session(name).root.is_dir()]
    config = (homes or configs)[0]
    session = find_session(results_of(config), name, named(arguments, config))
    if arguments.batch_size not in (None, session.recipe.batch_size):
        raise InputError(
            f"session '{name}' is trained with batches of {session.recipe.batch_size}; start a "
            f"new one for -b {arguments.batch_size}."
        )
    return session


def train(session: Session, arguments: argparse.Namespace) -> None:
    """Train a session from where it is."""
    dataset = session.run.dataset
    settings = session.config["datasets"][dataset]
    check_folder(dataset, settings)
    if arguments.visualize:
        from labelnoise.training.viewers import read_pair

        overlay = f" --config {' '.join(arguments.config)}" if arguments.config else ""
        make = f"python scripts/make_viz.py {dataset}{overlay}"
        channels = channel_names(settings)
        read_pair(Path("viz", dataset), make, None if channels is None else len(channels))
    config = session.showing(bool(arguments.visualize)).save()
    try:
        make_files([session.folder.record], [config], choose_gpu(arguments.gpu))
    except SystemExit:
        if session.has_begun():
            print(f"continue it with: -e {session.name}", file=sys.stderr)
        raise
    print(f"session {session.name}: {session.folder.path}\ntest it with: -t -e {session.name}")


def test(session: Session, arguments: argparse.Namespace) -> None:
    """Test a session's kept checkpoints on clean labels; print the scores of the chosen one."""
    from labelnoise.evaluation.tables import runs_table

    if not session.is_finished():
        raise InputError(
            f"session '{session.name}' is not trained to its end; continue it: -e {session.name}."
        )
    counts = session.folder.counts
    make_files([counts], [session.folder.session], choose_gpu(arguments.gpu))
    for _, row in runs_table([session.run], session.results).iterrows():
        print(
            f"{row['structure']}: Dice {row['dice']:.4f}, precision {row['precision']:.4f}, "
            f"recall {row['recall']:.4f} (epoch {row['checkpoint_epoch']}, test slices of "
            f"{row['cases']} cases)"
        )
    print(f"counts per slice: {counts}")


def choose_gpu(gpu: str | None) -> int:
    """Make the GPU of -g the only one that jobs see; without -g the first one.

    Returns:
        The number of GPUs to use: 1, or 0 for the CPU.

    Raises:
        InputError: this host has GPUs, but not that one.
    """
    if gpu in ("cpu", "-1"):
        return 0
    cards = installed_cards()
    if gpu is not None or "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu or "0"
    if gpu is not None and cards and not visible(cards):
        known = ", ".join(str(card.index) for card in cards)
        raise InputError(f"there is no GPU '{gpu}' here; there are: {known}, or cpu.")
    return 1


def positive(text: str) -> int:
    """Return a whole number of at least 1, as an argument type."""
    return counted(text, 1)


def counted(text: str, least: int = 0) -> int:
    """Return a whole number of at least `least`, as an argument type."""
    if not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least {least}")
    return int(text)


if __name__ == "__main__":
    main()
