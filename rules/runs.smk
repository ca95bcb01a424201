rule train_model:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=rules.perturb_labels.output.labels,
    output:
        # A folder, since how many checkpoints are kept is the recipe's to say.
        checkpoints=directory(f"{RUN}/checkpoints"),
        history=f"{RUN}/history.csv",
        timing=f"{RUN}/timing.csv",
        run=f"{RUN}/run.json",
    log:
        f"<results>/logs/train_model/{TAIL}.log",
    benchmark:
        f"<results>/benchmarks/train_model/{TAIL}.jsonl"
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
        counts=f"{RUN}/test.csv",
        scores=f"{RUN}/scores.h5",
    log:
        f"<results>/logs/test_model/{TAIL}.log",
    benchmark:
        f"<results>/benchmarks/test_model/{TAIL}.jsonl"
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=megabytes_to_train,
        runtime=grows(60),
    script:
        "../scripts/test_model.py"
