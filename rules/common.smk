import re
import sys
from pathlib import Path

import pandas as pd
from snakemake.logging import logger

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from labelnoise.config import complete, expand_runs
from labelnoise.definitions import try_definitions
from labelnoise.errors import InputError
from labelnoise.files import check_writable
from labelnoise.layout import results_folder
from labelnoise.locks import hold_study
from labelnoise.resources import measured_seconds, training_megabytes, training_minutes
from labelnoise.scripting import near_targets, says_more

logger.addFilter(says_more)

try:
    config = complete(config)
    # One row per training run; every rule that gathers reads this table.
    runs = pd.DataFrame(expand_runs(config))
    RESULTS = results_folder(config)
    check_writable(RESULTS)
    if workflow.is_main_process:
        try_definitions(config)
except InputError as error:
    # Not WorkflowError, to which Snakemake adds frames of this file, and nothing at all if --quiet.
    sys.exit(f"error: {error}")


onstart:
    # Held until this process ends, however it ends.
    try:
        hold_study(RESULTS)
    except InputError as error:
        sys.exit(f"error: {error}")


EACH_RUN = (
    "<results>/runs/{run.dataset}/{run.model}/{run.recipe}/{run.perturbation}/rep{run.repeat}"
)


def any_of(names):
    """Regular expression that matches exactly one of the names."""
    return "|".join(re.escape(name) for name in names)


wildcard_constraints:
    dataset=any_of(config["datasets"]),
    model=any_of(config["models"]),
    recipe=any_of(config["recipes"]),
    perturbation=any_of(config["perturbations"]),
    repeat=r"\d+",


def targets():
    """Every rule's name, and every file that the rules make for the study."""
    outputs = [output for rule in workflow.rules for output in rule.output]
    files = {output.apply_wildcards(run) for run in runs.to_dict("records") for output in outputs}
    return [*(rule.name for rule in workflow.rules), *sorted(files)]


logger.addFilter(near_targets(targets))


def is_error(perturbation):
    """Whether a perturbation is an error, not the control."""
    return config["perturbations"][perturbation]["kind"] != "control"


def shown_perturbations():
    """The controls of the matrix, then the largest error of each kind, for example predictions."""
    largest = {}
    for name in filter(is_error, config["matrix"]["perturbation"]):
        definition = config["perturbations"][name]
        # A severity grows with the error, a label Dice falls with it.
        size = definition.get("severity", -definition.get("target_dice", 1))
        largest[definition["kind"]] = max(
            largest.get(definition["kind"], (size, name)), (size, name)
        )
    controls = [name for name in config["matrix"]["perturbation"] if not is_error(name)]
    return controls + [name for _, name in largest.values()]


def grows(amount):
    """Resource that is asked for, and once more at every further attempt."""
    return lambda wildcards, attempt: amount * attempt


def definitions(wildcards):
    """Model and recipe of a run, and the size of its slices in pixels, None where not given."""
    return (
        config["models"][wildcards.model],
        config["recipes"][wildcards.recipe],
        config["datasets"][wildcards.dataset].get("size"),
    )


def minutes_to_train(wildcards, attempt):
    """Time limit of a training."""
    measured = measured_seconds(RESULTS, wildcards.dataset, wildcards.model, wildcards.recipe)
    _, recipe, size = definitions(wildcards)
    return training_minutes(measured, recipe, size, attempt)


def megabytes_to_train(wildcards, attempt):
    """Main memory of a training."""
    return training_megabytes(*definitions(wildcards), attempt)
