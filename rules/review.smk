# Which labels to look at again: what detectors say of each slice, and how right they are.
reviewed = [run for run in runs if run.perturbation in study.errors]
detectors = config["review"]["detectors"]
orders = config["review"]["retrain"]
# What a trainer's network says of its training slices is not known, so these cannot be mended.
trained_here = [run for run in runs if not study.models[run.model].trainer]
mendings = [
    vars(run) | {"order": order}
    for run in trained_here
    for order in orders
    if run.perturbation in study.errors
]


# Of controls too, whose labels are right as far as anybody knows: docs/review.md.
rule rank_suspects:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=rules.perturb_labels.output.labels,
        checkpoints=rules.train_model.output.checkpoints,
        # Says which checkpoint was chosen.
        run=rules.train_model.output.run,
    output:
        suspects=results.run.suspects,
    log:
        results.log("rank_suspects"),
    benchmark:
        results.benchmark("rank_suspects")
    conda:
        "../envs/study.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: megabytes_to_train(study, wildcards, attempt),
        runtime=grows(60),
    params:
        detectors=detectors,
    script:
        "../scripts/rank_suspects.py"


rule grade_detectors:
    input:
        suspects=lambda wildcards: each(results.run.suspects, reviewed),
        measured=lambda wildcards: each(results.measured, reviewed),
    output:
        review=report(
            results.table("review.csv"),
            caption="report/review_table.rst",
            category="Tables",
            labels={"table": "Detectors of label errors"},
        ),
        mending=results.table("mending.csv"),
        markdown=results.table("review.md"),
        latex=results.table("review.tex"),
    log:
        results.log("grade_detectors"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        runs=lambda wildcards: [run.name for run in reviewed],
        detectors=detectors,
    script:
        "../scripts/grade_detectors.py"


rule plot_review:
    input:
        mending=rules.grade_detectors.output.mending,
    output:
        pdf=results.figure("review.pdf"),
        png=report(
            results.figure("review.png"),
            caption="report/review.rst",
            category="Figures",
            labels={"figure": "Labels mended"},
        ),
        # Of slices that the network has not seen.
        unseen_pdf=results.figure("review-unseen.pdf"),
        unseen_png=report(
            results.figure("review-unseen.png"),
            caption="report/review.rst",
            category="Figures",
            labels={"figure": "Labels mended, unseen slices"},
        ),
    log:
        results.log("plot_review"),
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_review.py"


# What it is worth: the network again, from the same weights, on labels whose first suspects are mended.
rule mend_labels:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=rules.perturb_labels.output.labels,
        suspects=rules.rank_suspects.output.suspects,
    output:
        labels=results.mended_labels,
    log:
        results.log("mend_labels"),
    conda:
        "../envs/study.yaml"
    resources:
        mem_mb=grows(4000),
        runtime=grows(60),
    params:
        share=config["review"]["share"],
    script:
        "../scripts/mend_labels.py"


use rule train_model as train_mended with:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=rules.mend_labels.output.labels,
    output:
        checkpoints=directory(results.mended.checkpoints),
        history=results.mended.history,
        timing=results.mended.timing,
        run=results.mended.record,
    log:
        results.log("train_mended"),
    benchmark:
        results.benchmark("train_mended")


use rule test_model as test_mended with:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        labels=rules.mend_labels.output.labels,
        checkpoints=rules.train_mended.output.checkpoints,
        run=rules.train_mended.output.run,
    output:
        counts=results.mended.counts,
        scores=results.mended.scores,
        surfaces=results.mended.surfaces,
    log:
        results.log("test_mended"),
    benchmark:
        results.benchmark("test_mended")


rule compare_mended:
    input:
        measured=lambda wildcards: each(results.measured, trained_here),
        records=lambda wildcards: each(results.run.record, trained_here),
        counts=lambda wildcards: each(results.run.counts, trained_here),
        mended_records=lambda wildcards: each(results.mended.record, mendings),
        mended_counts=lambda wildcards: each(results.mended.counts, mendings),
    output:
        mended=report(
            results.table("mended.csv"),
            caption="report/mended_table.rst",
            category="Tables",
            labels={"table": "Test Dice after mending labels"},
        ),
        markdown=results.table("mended.md"),
        latex=results.table("mended.tex"),
    log:
        results.log("compare_mended"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        runs=lambda wildcards: [run.name for run in trained_here],
        orders=orders,
        share=config["review"]["share"],
    script:
        "../scripts/compare_mended.py"


review_tables = [
    *(rules.grade_detectors.output if detectors and reviewed else []),
    *(rules.compare_mended.output if mendings else []),
]
review_figures = rules.plot_review.output if detectors and reviewed else []
