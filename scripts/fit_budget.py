"""Fit test Dice over cases and label errors, and find the cheapest plan for the wanted Dice."""

import pandas as pd

from labelnoise.evaluation.budget import study_budget
from labelnoise.evaluation.tables import read_table
from labelnoise.files import write_csv, write_text
from labelnoise.jobs.script import logged
from labelnoise.report.budget import budget_sentences, budget_tables
from labelnoise.report.render import latex, markdown, note_folds


def main(smk):
    with logged(smk.log[0]):
        runs, cases, degradation = map(
            read_table, (smk.input.runs, smk.input.cases, smk.input.degradation)
        )
        surface, plans, curves = study_budget(
            runs, cases, degradation, smk.params.budget, smk.params.groups
        )
        mixed = len(pd.read_csv(smk.input.mixed))
        write_csv(smk.output.budget, surface)
        write_csv(smk.output.plans, plans)
        write_csv(smk.output.curves, curves)
        tables = note_folds(budget_tables(surface, plans, mixed), runs)
        said = "".join(f"- {sentence}\n" for sentence in budget_sentences(plans))
        write_text(smk.output.markdown, f"{said}\n{markdown(tables)}")
        write_text(smk.output.latex, latex(tables))


if __name__ == "__main__":
    main(snakemake)
