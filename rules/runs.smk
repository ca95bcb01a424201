rule train_model:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=rules.perturb_labels.output.labels,
    output:
        # A folder, since how many checkpoints are kept is the recipe's to say.
        checkpoints=directory("<run>/checkpoints"),
        history="<run>/history.csv",
        timing="<run>/timing.csv",
        run="<run>/run.json",
    log:
        "<results>/logs/train_model/<tail>.log",
    benchmark:
        "<results>/benchmarks/train_model/<tail>.jsonl"
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=megabytes_to_train,
        runtime=minutes_to_train,
    params:
        model=lambda wildcards: config["models"][wildcards.model],
        recipe=lambda wildcards: config["recipes"][wildcards.recipe],
        seed=config["seed"],
    script:
        "../scripts/train_model.py"


rule test_model:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        checkpoints=rules.train_model.output.checkpoints,
    output:
        counts="<run>/test.csv",
        scores="<run>/scores.h5",
    log:
        "<results>/logs/test_model/<tail>.log",
    benchmark:
        "<results>/benchmarks/test_model/<tail>.jsonl"
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=megabytes_to_train,
        runtime=grows(60),
    script:
        "../scripts/test_model.py"
