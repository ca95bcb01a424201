"""Say what each mitigation gives back of what label errors cost, and what it costs itself."""

import pandas as pd

from labelnoise.evaluation.mitigation import mitigation_table
from labelnoise.evaluation.tables import read_table
from labelnoise.files import write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.render import mitigation_tables, note_folds, write_tables


def main(smk):
    with logged(smk.log[0]):
        baseline = smk.params.baseline
        runs, cases = map(read_table, (smk.input.runs, smk.input.cases))
        table = mitigation_table(runs, cases, baseline)
        printed = mitigation_tables(table, baseline, len(pd.read_csv(smk.input.mixed)))
        write_csv(smk.output.mitigation, table)
        write_tables(note_folds(printed, runs), smk.output.markdown, smk.output.latex)


if __name__ == "__main__":
    main(snakemake)
