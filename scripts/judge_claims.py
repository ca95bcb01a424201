"""Judge what the study claims: supported, refuted or undecided."""

import pandas as pd

from labelnoise.evaluation.claims import judge
from labelnoise.evaluation.tables import read_table
from labelnoise.files import write_csv, write_text
from labelnoise.jobs.script import logged
from labelnoise.report.render import claims_tables, latex, markdown
from labelnoise.study import Study


def main(smk):
    with logged(smk.log[0]):
        study = Study.of(smk.config)
        runs, cases = map(read_table, (smk.input.runs, smk.input.cases))
        claims = judge(study.claims, runs, cases, study.repeats)
        tables = claims_tables(claims, len(pd.read_csv(smk.input.mixed)))
        write_csv(smk.output.claims, claims)
        write_text(smk.output.markdown, markdown(tables))
        write_text(smk.output.latex, latex(tables))


if __name__ == "__main__":
    main(snakemake)
