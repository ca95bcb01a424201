from snakemake.utils import min_version

min_version("9.27")


configfile: "config.yaml"


# Where everything goes. A study may have a folder of its own: `pathvars: {results: ...}` in its config.
pathvars:
    results="results",


# Not pathvars: wildcards inside of one escape their constraints.
TAIL = "{dataset}/{model}/{recipe}/{perturbation}/rep{repeat}"
RUN = f"<results>/runs/{TAIL}"


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
