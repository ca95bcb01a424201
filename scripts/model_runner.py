"""Train or test one network by hand, with the command line of the 2018 code."""

import argparse
import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path

from labelnoise import names as short_names
from labelnoise.config import load_config
from labelnoise.errors import InputError
from labelnoise.jobs.devices import installed_cards, lease_device, visible
from labelnoise.jobs.script import explain
from labelnoise.names import full_name
from labelnoise.study import results_folder

ROOT = Path(__file__).parents[1]
LABELS18 = ROOT / "studies" / "labels18.yaml"
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


def main(argv=None):
    arguments = parse(argv)
    try:
        run(arguments)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sys.exit(f"error: {explain(error)}")


def parse(argv):
    """Read the command line; the flags and their defaults are those of the 2018 code, and a few."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("-n", "--new", metavar="NAME", help="start a session of this name")
    add("-e", "--existing", metavar="NAME", help="continue this session where it stopped")
    add("-b", "--batch_size", type=positive, metavar="N", help="slices a step (the recipe's: 20)")
    add("-d", "--dataset", help="a dataset of the config (lis)")
    add(
        *("-p", "--perturbation", "--perturbations"),
        help="errors of the training labels: a name of the config, or schop ... lrnd (control)",
    )
    add("-g", "--gpu", metavar="INDEX", help="the GPU to use, or cpu (0)")
    add("-m", "--model", help="a network of the config; fcn is fcn32 (unet)")
    # Both took a value in 2018, which meant nothing.
    add("-t", "--testing", nargs="?", const=True, help="test a session on clean labels")
    add("-v", "--visualize", nargs="?", const=True, help="show predictions on viz/<dataset>/")
    add("--recipe", help="a recipe of the config (labels18)")
    add("--repeat", type=counted, metavar="R", help="index of the repeat, which sets its seeds (0)")
    add("--epochs", type=positive, metavar="N", help="instead of the recipe's")
    add(
        *("--config",),
        nargs="+",
        default=[],
        metavar="FILE",
        help="files that overlay config.yaml, such as studies/demo.yaml",
    )
    return parser.parse_args(argv)


def run(arguments):
    """Do what the arguments ask for."""
    if (arguments.new is None) == (arguments.existing is None):
        raise InputError("name either a new session, -n NAME, or an existing one, -e NAME.")
    if arguments.testing and arguments.existing is None:
        raise InputError("only an existing session can be tested; name it: -t -e NAME.")
    configs = read_configs(arguments.config)
    session = new_session(arguments, configs) if arguments.new else old_session(arguments, configs)
    (test if arguments.testing else train)(session, arguments)


def read_configs(files):
    """Read config.yaml and what overlays it, as `snakemake --configfile` does.

    Without files there are two: config.yaml alone, and under the study that ran the 2018 code's
    datasets, `lis` and `psd`, as it did.
    """
    for path in files:
        if not Path(path).is_file():
            raise InputError(f"there is no config file {path}; name one such as studies/demo.yaml.")
    own = Path("config.yaml") if Path("config.yaml").is_file() else ROOT / "config.yaml"
    if files:
        return [load_config(own, *files)]
    return [load_config(own), load_config(own, LABELS18)]


def choose_config(dataset, configs):
    """Give the first config that defines a dataset, and the dataset's name in it."""
    known = {name: config for config in reversed(configs) for name in config["datasets"]}
    name = full_name("dataset", dataset, known)
    return known[name], name


def named(arguments, config):
    """The parts of the study that the command line names, by the config's names."""
    given = {key: getattr(arguments, key) for key in DEFAULTS}
    short = {"model": short_names.MODELS, "perturbation": short_names.PERTURBATIONS}
    return {
        key: value if key == "repeat" else full_name(key, value, config[f"{key}s"], short.get(key))
        for key, value in given.items()
        if value is not None
    }


def new_session(arguments, configs):
    """Start a session."""
    from labelnoise.sessions import start_session

    for key, value in DEFAULTS.items():
        if getattr(arguments, key) is None:
            setattr(arguments, key, value)
    config, arguments.dataset = choose_config(arguments.dataset, configs)
    names = named(arguments, config)
    definitions = {key: config[f"{key}s"][names[key]] for key in names if key != "repeat"}
    changed = {"batch_size": arguments.batch_size, "epochs": arguments.epochs}
    definitions["recipe"] = {
        **definitions["recipe"],
        **{key: value for key, value in changed.items() if value is not None},
    }
    check_viz(arguments, names["dataset"], definitions["dataset"])
    return start_session(results_folder(config), arguments.new, names, definitions, config["seed"])


def old_session(arguments, configs):
    """Find a session, to continue or to test it."""
    from labelnoise.sessions import find_session, session_folder

    name = arguments.existing
    homes = [config for config in configs if session_folder(results_folder(config), name).is_dir()]
    config = (homes or configs)[0]
    session = find_session(results_folder(config), name, named(arguments, config))
    batch_size = session.definitions["recipe"]["batch_size"]
    if arguments.batch_size not in (None, batch_size):
        raise InputError(
            f"session '{name}' is trained with batches of {batch_size}; start a new one for "
            f"-b {arguments.batch_size}."
        )
    if arguments.testing:
        return session
    check_viz(arguments, session.names["dataset"], session.definitions["dataset"])
    return session.lengthened(arguments.epochs or session.epochs)


def viz_folder(dataset):
    """Where the arrays lie that predictions are shown on."""
    return Path("viz", dataset)


def check_viz(arguments, dataset, settings):
    """Refuse -v without a good pair of arrays before anything is trained."""
    from labelnoise.training.viewers import read_pair

    if arguments.visualize:
        read_pair(viz_folder(dataset), settings["window"])


def train(session, arguments):
    """Train a session from where it stands."""
    inputs = session.inputs(workers=os.cpu_count())
    # Not before its files are there, so that -n can be said again after a mistake in them.
    session.save()
    viz = viz_folder(session.names["dataset"])
    with chosen_device(arguments.gpu) as device, told_how_to_go_on(session):
        from labelnoise.training.run import describe_run, train_run

        train_run(
            session.folder,
            names=session.names,
            model=session.definitions["model"],
            recipe=session.definitions["recipe"],
            seed=session.seed,
            dataset=inputs.dataset,
            labels=inputs.labels,
            device=device,
            workers=min(4, os.cpu_count() - 1),
            viz=viz if arguments.visualize or any(viz.glob("*.npy")) else None,
            window=bool(arguments.visualize),
            keep_state=True,
        )
        print(describe_run(session.folder))
    print(f"session {session.name}: {session.folder}\ntest it with: -t -e {session.name}")


def test(session, arguments):
    """Test a session's kept checkpoints on clean labels; print how the chosen one does."""
    from labelnoise.evaluation.tables import runs_table

    if not session.is_finished():
        raise InputError(
            f"session '{session.name}' is not trained to its end; continue it: -e {session.name}."
        )
    inputs = session.inputs(workers=os.cpu_count())
    with chosen_device(arguments.gpu) as device:
        from labelnoise.evaluation.score import score_run

        counts = session.folder / "test.csv"
        score_run(inputs.dataset, session.folder / "checkpoints", device, counts)
    for _, row in runs_table([session.names], session.root).iterrows():
        print(
            f"{row['structure']}: Dice {row['dice']:.4f}, precision {row['precision']:.4f}, "
            f"recall {row['recall']:.4f} (epoch {row['checkpoint_epoch']}, test slices of "
            f"{row['cases']} cases)"
        )
    print(f"counts a slice: {counts}")


@contextmanager
def told_how_to_go_on(session):
    """Tell the user of a training that was stopped by Ctrl-C or SIGTERM how to continue it."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        print(f"continue it with: -e {session.name}", file=sys.stderr)
        raise


@contextmanager
def chosen_device(gpu):
    """Hold the GPU of -g, or the CPU; without -g the first GPU that may be used."""
    if gpu in ("cpu", "-1"):
        with lease_device(0) as device:
            yield device
        return
    cards = installed_cards()
    if gpu is not None or "CUDA_VISIBLE_DEVICES" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu or "0"
    if gpu is not None and cards and not visible(cards):
        known = ", ".join(str(card.index) for card in cards)
        raise InputError(f"there is no GPU '{gpu}' here; there are: {known}, or cpu.")
    with lease_device(1, cards) as device:
        yield device


def positive(text):
    """Read a whole number of at least 1."""
    return counted(text, 1)


def counted(text, least=0):
    """Read a whole number of at least 0."""
    if not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number of at least {least}")
    return int(text)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.captureWarnings(True)
    main()
