"""Judge what the study claims: supported, refuted or undecided."""

import pandas as pd

from labelnoise.evaluation.claims import judge
from labelnoise.evaluation.tables import read_table
from labelnoise.files import write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.render import claims_tables, note_folds, write_tables
from labelnoise.report.style import perturbations_of
from labelnoise.study import Study


def main(smk):
    with logged(smk.log[0]):
        study = Study.of(smk.config)
        runs, cases = map(read_table, (smk.input.runs, smk.input.cases))
        claims = judge(study.claims, runs, cases, study.repeats)
        mixed, names = len(pd.read_csv(smk.input.mixed)), perturbations_of(runs)
        tables = note_folds(claims_tables(claims, mixed, names), runs)
        write_csv(smk.output.claims, claims)
        write_tables(tables, smk.output.markdown, smk.output.latex)


if __name__ == "__main__":
    main(snakemake)
