"""Where the files of a study lie."""

from pathlib import Path


def results_folder(config):
    """Folder of all that the study of a config makes, as text, relative to where Snakemake runs."""
    return config.get("pathvars", {}).get("results", "results")


def run_name(names):
    """The part of every path that names a run.

    Args:
        names: mapping with dataset, model, recipe, perturbation and repeat.
    """
    tail = (names[name] for name in ("dataset", "model", "recipe", "perturbation"))
    return "/".join([*tail, f"rep{names['repeat']}"])


def run_folder(names, results):
    """Folder of a run, below `results`; for `names` see `run_name`."""
    return Path(results, "runs", run_name(names))
