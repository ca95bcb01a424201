rule summarise_runs:
    input:
        labels=collect(
            "<results>/labels/{run.dataset}/{run.perturbation}/rep{run.repeat}.json",
            run=runs.itertuples(),
        ),
        records=collect(f"{EACH_RUN}/run.json", run=runs.itertuples()),
        counts=collect(f"{EACH_RUN}/test.csv", run=runs.itertuples()),
        scores=collect(f"{EACH_RUN}/scores.h5", run=runs.itertuples()),
    output:
        runs=report(
            "<results>/tables/runs.csv",
            caption="report/runs_table.rst",
            category="Tables",
            labels={"table": "Every run"},
        ),
        degradation=report(
            "<results>/tables/degradation.csv",
            caption="report/degradation_table.rst",
            category="Tables",
            labels={"table": "Dice by cell"},
        ),
        markdown="<results>/tables/degradation.md",
        latex="<results>/tables/degradation.tex",
    log:
        "<results>/logs/summarise_runs.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        runs=runs.to_dict("records"),
    script:
        "../scripts/summarise_runs.py"


rule compare_with_paper:
    input:
        runs=rules.summarise_runs.output.runs,
    output:
        table1=report(
            "<results>/tables/table1.csv",
            caption="report/table1.rst",
            category="Tables",
            labels={"table": "Dice beside the paper's Table 1"},
        ),
        table1_markdown="<results>/tables/table1.md",
        table1_latex="<results>/tables/table1.tex",
        slopes=report(
            "<results>/tables/slopes.csv",
            caption="report/slopes_table.rst",
            category="Tables",
            labels={"table": "Dice lost for each label Dice lost"},
        ),
        slopes_markdown="<results>/tables/slopes.md",
        slopes_latex="<results>/tables/slopes.tex",
    log:
        "<results>/logs/compare_with_paper.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/compare_with_paper.py"


rule plot_degradation:
    input:
        runs=rules.summarise_runs.output.runs,
    output:
        pdf="<results>/figures/degradation.pdf",
        png=report(
            "<results>/figures/degradation.png",
            caption="report/degradation.rst",
            category="Figures",
            labels={"figure": "Dice against label Dice"},
        ),
    log:
        "<results>/logs/plot_degradation.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_degradation.py"


rule plot_runs:
    input:
        runs=rules.summarise_runs.output.runs,
    output:
        pdf="<results>/figures/runs.pdf",
        png=report(
            "<results>/figures/runs.png",
            caption="report/runs.rst",
            category="Figures",
            labels={"figure": "Every run"},
        ),
    log:
        "<results>/logs/plot_runs.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_runs.py"


rule plot_slopes:
    input:
        runs=rules.summarise_runs.output.runs,
    output:
        pdf="<results>/figures/slopes.pdf",
        png=report(
            "<results>/figures/slopes.png",
            caption="report/slopes.rst",
            category="Figures",
            labels={"figure": "Dice lost for each label Dice lost"},
        ),
    log:
        "<results>/logs/plot_slopes.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_slopes.py"


rule plot_roc:
    input:
        runs=rules.summarise_runs.output.runs,
        scores=lambda wildcards: collect(
            f"{EACH_RUN}/scores.h5",
            run=runs[
                (runs["dataset"] == wildcards.dataset)
                & runs["perturbation"].isin(shown_perturbations())
            ].itertuples(),
        ),
    output:
        pdf="<results>/figures/roc/{dataset}.pdf",
        png=report(
            "<results>/figures/roc/{dataset}.png",
            caption="report/roc.rst",
            category="Figures",
            labels={"figure": "ROC, {dataset}"},
        ),
    log:
        "<results>/logs/plot_roc/{dataset}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        perturbations=shown_perturbations(),
    script:
        "../scripts/plot_roc.py"


rule plot_perturbations:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        calibrations=collect(
            "<results>/calibration/{{dataset}}/{perturbation}.json",
            perturbation=[name for name in config["matrix"]["perturbation"] if is_error(name)],
        ),
    output:
        pdf="<results>/figures/perturbations/{dataset}.pdf",
        png=report(
            "<results>/figures/perturbations/{dataset}.png",
            caption="report/perturbations.rst",
            category="Figures",
            labels={"figure": "Label errors, {dataset}"},
        ),
    log:
        "<results>/logs/plot_perturbations/{dataset}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        seed=config["seed"],
    script:
        "../scripts/plot_perturbations.py"


rule plot_predictions:
    input:
        dataset=rules.prepare_dataset.output.dataset,
        records=collect(
            "<results>/runs/{{dataset}}/{{model}}/{{recipe}}/{perturbation}/rep0/run.json",
            perturbation=shown_perturbations(),
        ),
        checkpoints=collect(
            "<results>/runs/{{dataset}}/{{model}}/{{recipe}}/{perturbation}/rep0/checkpoints",
            perturbation=shown_perturbations(),
        ),
    output:
        pdf="<results>/figures/predictions/{dataset}/{model}/{recipe}.pdf",
        png=report(
            "<results>/figures/predictions/{dataset}/{model}/{recipe}.png",
            caption="report/predictions.rst",
            category="Figures",
            labels={"figure": "Predictions, {dataset}, {model}, {recipe}"},
        ),
    log:
        "<results>/logs/plot_predictions/{dataset}/{model}/{recipe}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        perturbations=shown_perturbations(),
    script:
        "../scripts/plot_predictions.py"


tables = [*rules.summarise_runs.output, *rules.compare_with_paper.output]
figures = [
    *rules.plot_degradation.output,
    *rules.plot_runs.output,
    *rules.plot_slopes.output,
    *collect(rules.plot_roc.output, dataset=config["matrix"]["dataset"]),
    # A matrix of controls alone has no error to draw.
    *collect(
        rules.plot_perturbations.output,
        dataset=(
            config["matrix"]["dataset"]
            if any(map(is_error, config["matrix"]["perturbation"]))
            else []
        ),
    ),
    *collect(
        rules.plot_predictions.output,
        dataset=config["matrix"]["dataset"],
        model=config["matrix"]["model"],
        recipe=config["matrix"]["recipe"],
    ),
]


# Everything that the study shows: `snakemake figures`, or no target at all.
rule figures:
    input:
        tables,
        figures,
    localrule: True
