"""The study's configuration: read, completed, checked key by key."""

from argparse import ArgumentParser
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

from labelnoise.config.channels import is_by_channel
from labelnoise.config.reading import read_file
from labelnoise.config.rules import apply_rules
from labelnoise.config.schema import canonical, check_schema
from labelnoise.errors import InputError

PROJECT = Path(__file__).parents[3]


def add_overlays(parser: ArgumentParser, example: str = "studies/demo.yaml") -> None:
    """Let a command take `--configfile` as snakemake does: files for `study_files`."""
    parser.add_argument(
        "--configfile",
        "--configfiles",
        nargs="+",
        default=[],
        metavar="FILE",
        help=f"files that overlay config.yaml, as for snakemake, such as {example}",
    )


def study_files(overlays: Iterable[str | Path]) -> list[Path]:
    """Return config.yaml, of this folder or else the project's, and the files that overlay it.

    Raises:
        InputError: one does not exist.
    """
    here = Path("config.yaml")
    files = [here if here.is_file() else PROJECT / here, *map(Path, overlays)]
    for path in files:
        if not path.is_file():
            raise InputError(f"there is no config file {path}; name one such as studies/demo.yaml.")
    return files


def load_config(*paths: str | Path) -> dict:
    """Return the configuration of files, each laid over those before it as Snakemake does.

    Mappings merge, all else is replaced; then see `complete`.

    Raises:
        InputError: a file cannot be read, see `read_file`, or the configuration is wrong.
    """
    config = {}
    for path in paths:
        merge(config, read_file(path))
    return complete(config)


def check_files(paths: Iterable[str | Path]) -> None:
    """Refuse mistakes in configuration files that Snakemake accepts silently.

    Raises:
        InputError: see `read_file`; most of all, a key given twice in one file.
    """
    for path in paths:
        read_file(path)


def merge(base: dict, overlay: dict) -> None:
    """Merge `overlay` into `base` in place."""
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = deepcopy(value)


def complete(config: dict) -> dict:
    """Check a configuration and bring it into its one canonical form.

    Args:
        config: a mapping, as YAML gives it. It is not changed.

    Returns:
        A new mapping with every default filled in. Configurations that differ in the order of
        keys, in defaults or short forms spelled out or in 32.0 for 32 give results of equal
        `repr`, which is what Snakemake compares to decide what runs again.

    Raises:
        InputError: a key is unknown, missing or out of range, or a name is not defined; the
            message names the key.
    """
    config = _spelt_out(config)
    check_schema(config)
    form = canonical(config)
    apply_rules(form)
    return form


def _spelt_out(config):
    """Return a configuration in which `normalise: zscore` is {method: zscore}, also by channel."""
    datasets = config.get("datasets") if isinstance(config, dict) else None
    if not isinstance(datasets, dict):
        return config
    spelt = dict(datasets)
    for name, dataset in datasets.items():
        if isinstance(dataset, dict) and "normalise" in dataset:
            chosen = _as_mapping(dataset["normalise"])
            if is_by_channel("normalise", chosen):
                chosen = {channel: _as_mapping(each) for channel, each in chosen.items()}
            spelt[name] = {**dataset, "normalise": chosen}
    return {**config, "datasets": spelt}


def _as_mapping(normalise):
    return {"method": normalise} if isinstance(normalise, str) else normalise
