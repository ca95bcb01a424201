# For a cluster: `snakemake bundles` trains and tests many short runs in a job, then `snakemake` makes
# the rest. Each bundle is a Snakemake of its own inside its job, see jobs/bundles.py.


@cache
def unfinished():
    """Runs that are still to be trained or tested."""
    return {run.run for run in look_at(study).runs if run.state != "finished"}


def runs_to_do(wildcards):
    """The unfinished runs of a bundle, where they are known; in its own job all of its runs."""
    runs = runs_of(study, wildcards)
    return [run for run in runs if not workflow.is_main_process or run in unfinished()]


def number(rule, resource):
    """A resource of a rule, as the command line sets it."""
    return int(getattr(rules, rule).rule.resources[resource].value)


def lanes():
    """Runs that a bundle trains at once."""
    by_threads = number("run_bundle", "_cores") // number("train_model", "_cores")
    by_gpu = config["runs_per_gpu"] if number("run_bundle", "gpu") else by_threads
    return max(1, min(by_threads, by_gpu))


def bundles_to_do(wildcards):
    """Files of the bundles that the unfinished runs are cut into."""
    found = cut(study, unfinished(), config["bundle_minutes"], lanes())
    for path in found:
        # One of an earlier call with the same runs, which were deleted or are outdated since.
        path.unlink(missing_ok=True)
    return list(map(str, found))


rule run_bundle:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=lambda wildcards: each(results.labels, runs_of(study, wildcards)),
    output:
        done=results.bundle,
    log:
        results.log("run_bundle"),
    conda:
        "../envs/study.yaml"
    threads: 2 * config["runs_per_gpu"]
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: lanes() * megabytes_to_train(study, wildcards, attempt),
        runtime=lambda wildcards, attempt: minutes_to_run(
            study, runs_to_do(wildcards), lanes(), attempt
        ),
    params:
        runs=lambda wildcards: [run.name for run in runs_of(study, wildcards)],
        files=[str(path) for path in workflow.overwrite_configfiles],
        settings=list(workflow.config_settings.config_args or []),
        threads=lambda wildcards: {
            rule: number(rule, "_cores") for rule in ("train_model", "test_model")
        },
    script:
        "../scripts/run_bundle.py"


# All runs, but no tables and figures.
rule bundles:
    input:
        bundles_to_do,
    localrule: True
