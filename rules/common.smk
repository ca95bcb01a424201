import re

from labelnoise.config import complete
from labelnoise.errors import InputError
from labelnoise.files import check_writable
from labelnoise.jobs.locks import hold_study
from labelnoise.jobs.resources import megabytes_to_train, minutes_to_train
from labelnoise.study import Run, Study
from labelnoise.training.definitions import try_definitions

try:
    config = complete(config)
    study = Study.of(config)
    check_writable(study.results.root)
    if workflow.is_main_process:
        try_definitions(study)
except InputError as error:
    raise WorkflowError(str(error)) from None

# Every path below comes from here.
results = study.results
runs = study.runs
examples = study.examples()


onstart:
    # Held until this process ends, however it ends.
    hold_study(results)


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


def grows(amount):
    """Resource that is asked for, and once more at every further attempt."""
    return lambda wildcards, attempt: amount * attempt
