"""Take the drop of each error apart: what another threshold gives back, and what stays."""

import pandas as pd

from labelnoise.evaluation.tables import read_table
from labelnoise.evaluation.thresholds import thresholds_table
from labelnoise.files import write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.render import note_folds, thresholds_tables, write_tables


def main(smk):
    with logged(smk.log[0]):
        runs, cases = map(read_table, (smk.input.runs, smk.input.cases))
        ceilings = [read_table(path) for path in smk.input.ceilings]
        table = thresholds_table(runs, cases, pd.concat(ceilings) if ceilings else None)
        tables = note_folds(thresholds_tables(table, len(pd.read_csv(smk.input.mixed))), runs)
        write_csv(smk.output.thresholds, table)
        write_tables(tables, smk.output.markdown, smk.output.latex)


if __name__ == "__main__":
    main(snakemake)
