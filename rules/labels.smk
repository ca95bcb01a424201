rule prepare_dataset:
    output:
        dataset="<results>/datasets/{dataset}.h5",
    log:
        "<results>/logs/prepare_dataset/{dataset}.log",
    benchmark:
        "<results>/benchmarks/prepare_dataset/{dataset}.jsonl"
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        mem_mb=grows(4000),
        runtime=grows(240),
    params:
        settings=lambda wildcards: config["datasets"][wildcards.dataset],
        seed=config["seed"],
    script:
        "../scripts/prepare_dataset.py"


rule calibrate_perturbation:
    input:
        dataset=rules.prepare_dataset.output.dataset,
    output:
        calibration="<results>/calibration/{dataset}/{perturbation}.json",
    log:
        "<results>/logs/calibrate_perturbation/{dataset}/{perturbation}.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        perturbation=lambda wildcards: config["perturbations"][wildcards.perturbation],
        seed=config["seed"],
    script:
        "../scripts/calibrate_perturbation.py"


rule perturb_labels:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        calibration=rules.calibrate_perturbation.output.calibration,
    output:
        labels="<results>/labels/{dataset}/{perturbation}/rep{repeat}.h5",
        measured="<results>/labels/{dataset}/{perturbation}/rep{repeat}.json",
    log:
        "<results>/logs/perturb_labels/{dataset}/{perturbation}/rep{repeat}.log",
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        perturbation=lambda wildcards: config["perturbations"][wildcards.perturbation],
        seed=config["seed"],
    script:
        "../scripts/perturb_labels.py"
