"""Gather every run's counts into the tables of the study."""

import pandas as pd

from labelnoise.consistency import misfits
from labelnoise.evaluation.tables import degradation_table, study_tables
from labelnoise.files import read_json, write_csv
from labelnoise.jobs.script import logged
from labelnoise.report.render import degradation_tables, note_folds, write_tables
from labelnoise.study import Run, results_of


def main(smk):
    with logged(smk.log[0]):
        listed = list(map(Run.parse, smk.params.runs))
        results = results_of(smk.config)
        runs, cases = study_tables(listed, results)
        mixed = misfits({run: read_json(results.run_folder(run).record) for run in listed})
        degradation = degradation_table(runs, cases)
        tables = note_folds(degradation_tables(degradation, len(mixed)), runs)
        write_csv(smk.output.runs, runs)
        write_csv(smk.output.cases, cases)
        names = [(run.name, difference) for run, difference in mixed]
        write_csv(smk.output.mixed, pd.DataFrame(names, columns=["run", "differs"]))
        write_csv(smk.output.degradation, degradation)
        write_tables(tables, smk.output.markdown, smk.output.latex)


if __name__ == "__main__":
    main(snakemake)
