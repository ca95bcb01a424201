# For a cluster: `snakemake bundles` trains and tests many short runs in a job, then `snakemake` makes
# the rest. Each bundle is a Snakemake of its own inside its job, see jobs/bundles.py.


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
            rule: requested(rule, "_cores") for rule in ("train_model", "test_model")
        },
    script:
        "../scripts/run_bundle.py"


# All runs, but no tables and figures.
rule bundles:
    input:
        bundles_to_do,
    localrule: True
