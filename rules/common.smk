import re
import sys
from functools import cache

from snakemake.logging import logger

from labelnoise.config import complete
from labelnoise.errors import InputError
from labelnoise.files import check_writable
from labelnoise.jobs.locks import hold_study
from labelnoise.jobs.resources import megabytes_to_train, minutes_to_train
from labelnoise.jobs.workflow import near_targets, says_more
from labelnoise.manifest import source_state
from labelnoise.study import Run, Study
from labelnoise.training.definitions import try_definitions

logger.addFilter(says_more)

try:
    config = complete(config)
    study = Study.of(config)
    check_writable(study.results.root)
    if workflow.is_main_process:
        try_definitions(study)
except InputError as error:
    # Not WorkflowError, to which Snakemake adds frames of this file, and nothing at all if --quiet.
    sys.exit(f"error: {error}")

# Every path below comes from here.
results = study.results
runs = study.runs
examples = study.examples()


onstart:
    # Held until this process ends, however it ends.
    try:
        hold_study(results)
    except InputError as error:
        sys.exit(f"error: {error}")


def any_of(names):
    """Regular expression that matches exactly one of the names."""
    return "|".join(re.escape(name) for name in names)


wildcard_constraints:
    dataset=any_of(study.datasets),
    model=any_of(study.models),
    recipe=any_of(study.recipes),
    perturbation=any_of(study.perturbations),
    repeat=r"\d+",


def each(pattern, chosen=runs):
    """The files of that pattern of some runs, each once."""
    return list(dict.fromkeys(results.fill(pattern, run) for run in chosen))


def targets():
    """Every rule's name, and every file that the rules make for the study."""
    outputs = [output for rule in workflow.rules for output in rule.output]
    files = {output.apply_wildcards(vars(run)) for run in runs for output in outputs}
    return [*(rule.name for rule in workflow.rules), *sorted(files)]


logger.addFilter(near_targets(targets))


def first_examples(wildcards):
    """First repeat of each perturbation that pictures show, of one dataset, model and recipe."""
    return [Run(wildcards.dataset, wildcards.model, wildcards.recipe, name, 0) for name in examples]


@cache
def state_of_source(dataset):
    """What the job that prepares a dataset depends on besides the config; see `source_state`."""
    return source_state(study.datasets[dataset], results, dataset).word


def grows(amount):
    """Resource that is asked for, and once more at every further attempt."""
    return lambda wildcards, attempt: amount * attempt
