"""Say what the study comes to, in sentences: the first thing to read."""

from pathlib import Path

import pandas as pd

from labelnoise.data.storage import Dataset
from labelnoise.evaluation.claims import COLUMNS
from labelnoise.evaluation.tables import read_table
from labelnoise.files import write_text
from labelnoise.jobs.script import logged
from labelnoise.report.answer import answer_markdown, answer_of, answer_page
from labelnoise.report.budget import budget_sentences
from labelnoise.report.render import claims_tables, note_folds
from labelnoise.report.style import perturbations_of


def provenance_of(path):
    """Return what a dataset's file says of how it was made."""
    with Dataset(path) as data:
        return data.provenance


def main(smk):
    with logged(smk.log[0]):
        claims = pd.DataFrame(columns=COLUMNS)
        if smk.input.claims:
            claims = read_table(smk.input.claims)
        mixed = len(pd.read_csv(smk.input.mixed))
        runs, thresholds = map(read_table, (smk.input.runs, smk.input.thresholds))
        made = zip(smk.params.sources, smk.input.datasets, strict=True)
        provenances = {name: provenance_of(path) for name, path in made}
        budget = budget_sentences(read_table(smk.input.budget)) if smk.input.budget else []
        answer = answer_of(claims, thresholds, runs, smk.params.sources, mixed, provenances, budget)
        printed = claims_tables(claims, mixed, perturbations_of(runs)) if len(claims) else []
        tables = note_folds(printed, runs)
        figure = Path(smk.input.figure).read_bytes()
        write_text(smk.output.answer, answer_markdown(answer))
        write_text(smk.output.page, answer_page(answer, tables, figure))


if __name__ == "__main__":
    main(snakemake)
