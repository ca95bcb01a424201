# What many jobs wait for has a priority: it is made before others begin, or in the midst of a study
# cores stand idle until it is there.


rule prepare_dataset:
    input:
        # The first fold's file holds the slices of all.
        slices=lambda wildcards: first_fold_file(wildcards) if fold_of(wildcards.dataset) else [],
    output:
        dataset=results.dataset,
    log:
        results.log("prepare_dataset"),
    benchmark:
        results.benchmark("prepare_dataset")
    priority: 2
    conda:
        "../envs/study.yaml"
    # A second thread helps to read files; what Python draws by itself it delays.
    threads: lambda wildcards: 2 if study.datasets[wildcards.dataset].get("folder") else 1
    resources:
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        settings=lambda wildcards: study.datasets[wildcards.dataset],
        seed=study.seed,
        # Other folds than the first read no source.
        source=lambda wildcards: (
            None if fold_of(wildcards.dataset) else state_of_source(wildcards.dataset)
        ),
    script:
        "../scripts/prepare_dataset.py"


# Once for all folds of a dataset, whose rows are the same.
rule prepare_given:
    input:
        dataset=first_fold_file,
    output:
        given=results.given,
    log:
        results.log("prepare_given"),
    priority: 2
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        settings=lambda wildcards: study.given_settings(wildcards.dataset, wildcards.perturbation),
        seed=study.seed,
        source=lambda wildcards: state_of_given(wildcards.dataset, wildcards.perturbation),
    script:
        "../scripts/prepare_given.py"


rule calibrate_perturbation:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        given=given_labels,
    output:
        calibration=results.calibration,
    log:
        results.log("calibrate_perturbation"),
    priority: 1
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        perturbation=lambda wildcards: study.perturbations[wildcards.perturbation].as_dict(),
        seed=study.seed,
    script:
        "../scripts/calibrate_perturbation.py"


rule perturb_labels:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        calibration=rules.calibrate_perturbation.output.calibration,
        given=given_labels,
    output:
        labels=results.labels,
        measured=results.measured,
    log:
        results.log("perturb_labels"),
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        perturbation=lambda wildcards: study.perturbations[wildcards.perturbation].as_dict(),
        seed=study.seed,
    script:
        "../scripts/perturb_labels.py"


rule estimate_ceiling:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        calibration=rules.calibrate_perturbation.output.calibration,
        given=given_labels,
    output:
        ceiling=results.ceiling,
    log:
        results.log("estimate_ceiling"),
    benchmark:
        results.benchmark("estimate_ceiling")
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        perturbation=lambda wildcards: study.perturbations[wildcards.perturbation].as_dict(),
        # In an order of their own, as that of the matrix shall change nothing.
        losses={
            name: (study.recipes[name].deciding_loss, study.recipes[name].background_share)
            for name in sorted(study.matrix["recipe"])
        },
        seed=study.seed,
    script:
        "../scripts/estimate_ceiling.py"
