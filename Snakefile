from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


report: "rules/report/workflow.rst"


include: "rules/common.smk"
include: "rules/labels.smk"
include: "rules/runs.smk"
include: "rules/summary.smk"


rule all:
    default_target: True
    input:
        rules.figures.input,
    localrule: True
