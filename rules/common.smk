import re
import sys
from functools import cache

from snakemake.benchmark import BenchmarkTimer
from snakemake.logging import logger
from snakemake.script import PythonScript

from labelnoise.config import complete
from labelnoise.config.rules import recipe_groups
from labelnoise.errors import InputError
from labelnoise.extras import require
from labelnoise.files import check_writable
from labelnoise.folds import base_of, fold_of
from labelnoise.jobs.bundles import cut, minutes_to_run, runs_of
from labelnoise.jobs.forked import can_fork, fork_scripts
from labelnoise.jobs.locks import hold_study
from labelnoise.jobs.resources import megabytes_to_train, minutes_to_train
from labelnoise.jobs.study_status import look_at
from labelnoise.jobs.workflow import (
    let_signals_end,
    look_less_often,
    near_targets,
    says_more,
)
from labelnoise.manifest import source_state
from labelnoise.study import Run, Study, find_modules
from labelnoise.training.definitions import try_definitions

logger.addFilter(says_more)

try:
    config = complete(config)
    modules = find_modules(config, ["config.yaml", *workflow.overwrite_configfiles])
    study = Study.of(config, modules)
    check_writable(study.results.root)
    if workflow.is_main_process:
        try_definitions(study)
        if any(name.startswith("cleanlab") for name in config["review"]["detectors"]):
            require("cleanlab", "review.detectors")
        for name in study.matrix["perturbation"]:
            if study.perturbations[name].settings.get("by") == "staple":
                require("SimpleITK", f"perturbations.{name}.by")
except InputError as error:
    # Not WorkflowError, to which Snakemake adds frames of this file, and nothing at all if --quiet.
    sys.exit(f"error: {error}")

# Not params of rules, which hold the digest of own code: where its file lies must make nothing stale.
config["modules"] = {name: str(path) for name, path in study.modules.items()}

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
    let_signals_end(workflow.scheduler)
    look_less_often(workflow.scheduler)
    if config["fork_jobs"] and can_fork():
        fork_scripts(PythonScript, BenchmarkTimer)


def any_of(names):
    """Regular expression that matches exactly one of the names."""
    return "|".join(re.escape(name) for name in names)


wildcard_constraints:
    dataset=any_of(study.datasets),
    model=any_of(study.models),
    recipe=any_of(study.recipes),
    perturbation=any_of(study.perturbations),
    repeat=r"\d+",
    order="[a-z_]+",
    bundle=r"\d+-\d+",


def each(pattern, chosen=runs):
    """The files of that pattern of some runs, each once."""
    return list(dict.fromkeys(results.fill(pattern, run) for run in chosen))


def targets():
    """Every rule's name, and every file that the rules make for the study."""
    # Bundles are no targets by name: each is cut for one call.
    unnamed = ("run_bundle", "mend_labels", "train_mended", "test_mended")
    named = [rule for rule in workflow.rules if rule.name not in unnamed]
    outputs = [output for rule in named for output in rule.output]
    names = [vars(run) for run in runs]
    # Figures are of a dataset, all else is of its folds.
    names += [vars(run) | {"dataset": base_of(run.dataset)} for run in runs]
    files = {output.apply_wildcards(each) for each in names for output in outputs}
    # Of errors that are not given there are no given labels.
    files -= {results.fill(results.given, run).as_posix() for run in runs} - {
        path.as_posix() for name in study.matrix["dataset"] for path in given_of(name, study.errors)
    }
    return [*(rule.name for rule in workflow.rules), *sorted(files)]


logger.addFilter(near_targets(targets))


def first_examples(wildcards):
    """First repeat of each perturbation that pictures show, of one dataset, model and recipe."""
    dataset = first_fold(wildcards.dataset)
    return [Run(dataset, wildcards.model, wildcards.recipe, name, 0) for name in examples]


def first_fold(dataset):
    """The fold of a dataset that pictures show; the dataset itself if it has none."""
    return study.folds_of(base_of(dataset))[0]


def first_fold_file(wildcards):
    """The dataset file of that fold."""
    return results.fill(results.dataset, {"dataset": first_fold(wildcards.dataset)})


@cache
def state_of_source(dataset):
    """What the job that prepares a dataset depends on besides the config; see `source_state`."""
    return source_state(study.datasets[dataset], results, dataset).word


@cache
def state_of_given(dataset, perturbation):
    """What the job that prepares given labels depends on besides the config."""
    settings = study.given_settings(dataset, perturbation)
    return source_state(settings, results, dataset, perturbation).word


def given_of(dataset, perturbations):
    """The files of given labels that some perturbations take, of a dataset or its fold."""
    names = dict.fromkeys(name for each in perturbations for name in study.given_in(each))
    return [
        results.fill(results.given, {"dataset": base_of(dataset), "perturbation": name})
        for name in names
    ]


def given_labels(wildcards):
    """The files of given labels that the job's perturbation takes."""
    return given_of(wildcards.dataset, [wildcards.perturbation])


def grows(amount):
    """Resource that is asked for, and once more at every further attempt."""
    return lambda wildcards, attempt: amount * attempt


@cache
def unfinished():
    """Runs that are still to be trained or tested."""
    return {run.run for run in look_at(study).runs if run.state != "finished"}


def runs_to_do(wildcards):
    """The unfinished runs of a bundle, where they are known; in its own job all of its runs."""
    runs = runs_of(study, wildcards)
    return [run for run in runs if not workflow.is_main_process or run in unfinished()]


def requested(rule, resource):
    """A resource of a rule, as the command line sets it."""
    return int(getattr(rules, rule).rule.resources[resource].value)


def lanes():
    """Runs that a bundle trains at once."""
    by_threads = requested("run_bundle", "_cores") // requested("train_model", "_cores")
    by_gpu = config["runs_per_gpu"] if requested("run_bundle", "gpu") else by_threads
    return max(1, min(by_threads, by_gpu))


def bundles_to_do(wildcards):
    """Files of the bundles that the unfinished runs are cut into."""
    found = cut(study, unfinished(), config["bundle_minutes"], lanes())
    for path in found:
        # One of an earlier call with the same runs, which were deleted or are outdated since.
        path.unlink(missing_ok=True)
    return list(map(str, found))
