# How many cases, and how careful labels, the config's `budget` buys: docs/budget.md.
rule fit_budget:
    input:
        runs=rules.summarise_runs.output.runs,
        cases=rules.summarise_runs.output.cases,
        degradation=rules.summarise_runs.output.degradation,
        mixed=rules.summarise_runs.output.mixed,
    output:
        budget=report(
            results.table("budget.csv"),
            caption="report/budget_table.rst",
            category="Tables",
            labels={"table": "Dice by cases and labels"},
        ),
        plans=report(
            results.table("budget-plans.csv"),
            caption="report/budget_plans.rst",
            category="Tables",
            labels={"table": "Plans for the wanted Dice"},
        ),
        curves=results.table("budget-curves.csv"),
        markdown=results.table("budget.md"),
        latex=results.table("budget.tex"),
    log:
        results.log("fit_budget"),
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        budget=config["budget"],
        groups=recipe_groups(config),
    script:
        "../scripts/fit_budget.py"


rule plot_budget:
    input:
        budget=rules.fit_budget.output.budget,
        plans=rules.fit_budget.output.plans,
        curves=rules.fit_budget.output.curves,
    output:
        pdf=results.figure("budget.pdf"),
        png=report(
            results.figure("budget.png"),
            caption="report/budget.rst",
            category="Figures",
            labels={"figure": "Cases and care"},
        ),
    log:
        results.log("plot_budget"),
    localrule: True
    conda:
        "../envs/study.yaml"
    script:
        "../scripts/plot_budget.py"
