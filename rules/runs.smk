rule train_model:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=rules.perturb_labels.output.labels,
    output:
        # A folder, since how many checkpoints are kept is the recipe's to say.
        checkpoints=directory(results.run.checkpoints),
        history=results.run.history,
        timing=results.run.timing,
        run=results.run.record,
    log:
        results.log("train_model"),
    benchmark:
        results.benchmark("train_model")
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: megabytes_to_train(study, wildcards, attempt),
        runtime=lambda wildcards, attempt: minutes_to_train(study, wildcards, attempt),
    params:
        model=lambda wildcards: study.models[wildcards.model].as_dict(),
        recipe=lambda wildcards: study.recipes[wildcards.recipe].as_dict(),
        seed=study.seed,
    script:
        "../scripts/train_model.py"


rule test_model:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=rules.perturb_labels.output.labels,
        checkpoints=rules.train_model.output.checkpoints,
        # Says which checkpoint was chosen.
        run=rules.train_model.output.run,
    output:
        counts=results.run.counts,
        scores=results.run.scores,
        surfaces=results.run.surfaces,
    log:
        results.log("test_model"),
    benchmark:
        results.benchmark("test_model")
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: megabytes_to_train(study, wildcards, attempt),
        runtime=grows(60),
    params:
        tolerances=study.tolerances,
    script:
        "../scripts/test_model.py"
