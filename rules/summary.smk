rule summarise_runs:
    input:
        labels=each(results.measured),
        records=each(results.run.record),
        counts=each(results.run.counts),
        scores=each(results.run.scores),
        surfaces=each(results.run.surfaces),
    output:
        runs=report(
            results.table("runs.csv"),
            caption="report/runs_table.rst",
            category="Tables",
            labels={"table": "Every run"},
        ),
        # What the intervals rest on: counts per run, structure and test case.
        cases=results.table("cases.csv"),
        degradation=report(
            results.table("degradation.csv"),
            caption="report/degradation_table.rst",
            category="Tables",
            labels={"table": "Dice by cell"},
        ),
        # Runs that were made otherwise than those they are averaged with; empty as a rule.
        mixed=report(
            results.table("mixed.csv"),
            caption="report/mixed_table.rst",
            category="Tables",
            labels={"table": "Runs made otherwise"},
        ),
        markdown=results.table("degradation.md"),
        latex=results.table("degradation.tex"),
    log:
        results.log("summarise_runs"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        runs=[run.name for run in runs],
    script:
        "../scripts/summarise_runs.py"


include: "budget.smk"


rule compare_with_paper:
    input:
        runs=rules.summarise_runs.output.runs,
        cases=rules.summarise_runs.output.cases,
        degradation=rules.summarise_runs.output.degradation,
        mixed=rules.summarise_runs.output.mixed,
    output:
        table1=report(
            results.table("table1.csv"),
            caption="report/table1.rst",
            category="Tables",
            labels={"table": "Dice beside the paper's Table 1"},
        ),
        table1_markdown=results.table("table1.md"),
        table1_latex=results.table("table1.tex"),
        slopes=report(
            results.table("slopes.csv"),
            caption="report/slopes_table.rst",
            category="Tables",
            labels={"table": "Dice lost for each label Dice lost"},
        ),
        slopes_markdown=results.table("slopes.md"),
        slopes_latex=results.table("slopes.tex"),
    log:
        results.log("compare_with_paper"),
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/compare_with_paper.py"


rule compare_thresholds:
    input:
        runs=rules.summarise_runs.output.runs,
        cases=rules.summarise_runs.output.cases,
        mixed=rules.summarise_runs.output.mixed,
        ceilings=collect(
            rules.estimate_ceiling.output.ceiling,
            dataset=study.folds,
            perturbation=study.errors,
        ),
    output:
        thresholds=report(
            results.table("thresholds.csv"),
            caption="report/thresholds_table.rst",
            category="Tables",
            labels={"table": "Dice at other thresholds"},
        ),
        markdown=results.table("thresholds.md"),
        latex=results.table("thresholds.tex"),
    log:
        results.log("compare_thresholds"),
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/compare_thresholds.py"


rule judge_claims:
    input:
        runs=rules.summarise_runs.output.runs,
        cases=rules.summarise_runs.output.cases,
        mixed=rules.summarise_runs.output.mixed,
    output:
        claims=report(
            results.table("claims.csv"),
            caption="report/claims.rst",
            category="Tables",
            labels={"table": "Claims"},
        ),
        markdown=results.table("claims.md"),
        latex=results.table("claims.tex"),
    log:
        results.log("judge_claims"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        claims=study.questions,
        repeats=study.repeats,
    script:
        "../scripts/judge_claims.py"


# Rules and targets of studies with a baseline alone.
if study.baseline:

    rule compare_mitigations:
        input:
            runs=rules.summarise_runs.output.runs,
            cases=rules.summarise_runs.output.cases,
            mixed=rules.summarise_runs.output.mixed,
        output:
            mitigation=report(
                results.table("mitigation.csv"),
                caption="report/mitigation_table.rst",
                category="Tables",
                labels={"table": "Mitigations"},
            ),
            markdown=results.table("mitigation.md"),
            latex=results.table("mitigation.tex"),
        log:
            results.log("compare_mitigations"),
        localrule: True
        conda:
            "../envs/study.yaml"
        params:
            baseline=study.baseline,
        script:
            "../scripts/compare_mitigations.py"

    rule plot_mitigation:
        input:
            mitigation=rules.compare_mitigations.output.mitigation,
        output:
            pdf=results.figure("mitigation.pdf"),
            png=report(
                results.figure("mitigation.png"),
                caption="report/mitigation.rst",
                category="Figures",
                labels={"figure": "Mitigations"},
            ),
        log:
            results.log("plot_mitigation"),
        localrule: True
        conda:
            "../envs/study.yaml"
        params:
            baseline=study.baseline,
        script:
            "../scripts/plot_mitigation.py"


rule plot_degradation:
    input:
        runs=rules.summarise_runs.output.runs,
        degradation=rules.summarise_runs.output.degradation,
    output:
        pdf=results.figure("degradation.pdf"),
        png=report(
            results.figure("degradation.png"),
            caption="report/degradation.rst",
            category="Figures",
            labels={"figure": "Dice against label Dice"},
        ),
    log:
        results.log("plot_degradation"),
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_degradation.py"


rule plot_runs:
    input:
        runs=rules.summarise_runs.output.runs,
    output:
        pdf=results.figure("runs.pdf"),
        png=report(
            results.figure("runs.png"),
            caption="report/runs.rst",
            category="Figures",
            labels={"figure": "Every run"},
        ),
    log:
        results.log("plot_runs"),
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_runs.py"


rule plot_slopes:
    input:
        slopes=rules.compare_with_paper.output.slopes,
    output:
        pdf=results.figure("slopes.pdf"),
        png=report(
            results.figure("slopes.png"),
            caption="report/slopes.rst",
            category="Figures",
            labels={"figure": "Dice lost for each label Dice lost"},
        ),
    log:
        results.log("plot_slopes"),
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_slopes.py"


rule plot_thresholds:
    input:
        thresholds=rules.compare_thresholds.output.thresholds,
    output:
        pdf=results.figure("thresholds.pdf"),
        png=report(
            results.figure("thresholds.png"),
            caption="report/thresholds.rst",
            category="Figures",
            labels={"figure": "Dice lost, taken apart"},
        ),
    log:
        results.log("plot_thresholds"),
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_thresholds.py"


# The largest error of each kind, without ceilings: what is seen at a glance.
rule plot_answer:
    input:
        thresholds=rules.compare_thresholds.output.thresholds,
    output:
        pdf=results.figure("answer.pdf"),
        png=results.figure("answer.png"),
    log:
        results.log("plot_answer"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        perturbations=examples,
    script:
        "../scripts/plot_answer.py"


rule write_answer:
    input:
        runs=rules.summarise_runs.output.runs,
        mixed=rules.summarise_runs.output.mixed,
        thresholds=rules.compare_thresholds.output.thresholds,
        claims=rules.judge_claims.output.claims if study.claims else [],
        budget=rules.fit_budget.output.plans if config["budget"] else [],
        figure=rules.plot_answer.output.png,
        # Of folds the first, whose file holds the slices of all.
        datasets=[
            results.fill(results.dataset, {"dataset": first_fold(name)})
            for name in study.matrix["dataset"]
        ],
    output:
        answer=results.table("answer.md"),
        # The first page of the report.
        page=results.answer_page,
    log:
        results.log("write_answer"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        sources={name: study.datasets[name]["source"] for name in study.matrix["dataset"]},
    script:
        "../scripts/write_answer.py"


rule plot_roc:
    input:
        runs=rules.summarise_runs.output.runs,
        scores=lambda wildcards: each(
            results.run.scores,
            [
                run
                for run in runs
                if base_of(run.dataset) == wildcards.dataset and run.perturbation in examples
            ],
        ),
    output:
        pdf=results.figure("roc/{dataset}.pdf"),
        png=report(
            results.figure("roc/{dataset}.png"),
            caption="report/roc.rst",
            category="Figures",
            labels={"figure": "ROC, {dataset}"},
        ),
    log:
        results.log("plot_roc"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        perturbations=examples,
    script:
        "../scripts/plot_roc.py"


rule plot_perturbations:
    input:
        dataset=first_fold_file,
        calibrations=lambda wildcards: [
            results.fill(
                results.calibration,
                {"dataset": first_fold(wildcards.dataset), "perturbation": name},
            )
            for name in study.errors
        ],
        given=lambda wildcards: given_of(wildcards.dataset, study.errors),
    output:
        pdf=results.figure("perturbations/{dataset}.pdf"),
        png=report(
            results.figure("perturbations/{dataset}.png"),
            caption="report/perturbations.rst",
            category="Figures",
            labels={"figure": "Label errors, {dataset}"},
        ),
    log:
        results.log("plot_perturbations"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        seed=study.seed,
        raters=[folder for folder in config["raters"] if Path(folder).is_dir()],
    script:
        "../scripts/plot_perturbations.py"


rule plot_predictions:
    input:
        dataset=first_fold_file,
        records=lambda wildcards: each(results.run.record, first_examples(wildcards)),
        checkpoints=lambda wildcards: each(results.run.checkpoints, first_examples(wildcards)),
    output:
        pdf=results.figure("predictions/{dataset}/{model}/{recipe}.pdf"),
        png=report(
            results.figure("predictions/{dataset}/{model}/{recipe}.png"),
            caption="report/predictions.rst",
            category="Figures",
            labels={"figure": "Predictions, {dataset}, {model}, {recipe}"},
        ),
    log:
        results.log("plot_predictions"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        perturbations=examples,
    script:
        "../scripts/plot_predictions.py"


tables = [
    *rules.summarise_runs.output,
    *rules.compare_with_paper.output,
    *rules.compare_thresholds.output,
    *(rules.judge_claims.output if study.claims else []),
    *(rules.compare_mitigations.output if study.baseline else []),
    *rules.write_answer.output,
    *review_tables,
    *(rules.fit_budget.output if config["budget"] else []),
]
figures = [
    *rules.plot_answer.output,
    *rules.plot_degradation.output,
    *rules.plot_runs.output,
    *rules.plot_slopes.output,
    *rules.plot_thresholds.output,
    *review_figures,
    *(rules.plot_budget.output if config["budget"] else []),
    *(rules.plot_mitigation.output if study.baseline else []),
    *collect(rules.plot_roc.output, dataset=study.matrix["dataset"]),
    # A matrix of controls alone has no error to draw.
    *collect(
        rules.plot_perturbations.output,
        dataset=study.matrix["dataset"] if study.errors else [],
    ),
    *[
        picture
        for model, recipe in study.pairs
        for picture in collect(
            rules.plot_predictions.output,
            dataset=study.matrix["dataset"],
            model=model,
            recipe=recipe,
        )
    ],
]


# Everything that the study shows: `snakemake figures`, or no target at all.
rule figures:
    input:
        tables,
        figures,
    localrule: True
