from snakemake.utils import min_version

min_version("9.27")


include: "rules/files.smk"


# The config of a session is whole, see scripts/model_runner.py; nothing lies under it.
if "session" not in config:

    configfile: "config.yaml"


include: "rules/common.smk"


# A finished study's report opens on what it says.
report: results.answer_page.resolve() if results.answer_page.exists() else "rules/report/workflow.rst"


# For `--sdm apptainer`, see docs/container.md.
if config["container"]:

    container: config["container"]


include: "rules/labels.smk"
include: "rules/runs.smk"
include: "rules/review.smk"
include: "rules/bundles.smk"
include: "rules/summary.smk"


rule all:
    default_target: True
    input:
        rules.figures.input,
    localrule: True
