"""Say what the study comes to, in sentences: the first thing to read."""

from pathlib import Path

import pandas as pd

from labelnoise.evaluation.claims import COLUMNS
from labelnoise.evaluation.tables import read_table
from labelnoise.files import write_text
from labelnoise.jobs.script import logged
from labelnoise.report.answer import answer_markdown, answer_of, answer_page
from labelnoise.report.render import claims_tables
from labelnoise.report.style import perturbations_of


def main(smk):
    with logged(smk.log[0]):
        claims = pd.DataFrame(columns=COLUMNS)
        if smk.input.claims:
            claims = read_table(smk.input.claims)
        mixed = len(pd.read_csv(smk.input.mixed))
        runs, thresholds = map(read_table, (smk.input.runs, smk.input.thresholds))
        answer = answer_of(claims, thresholds, runs, smk.params.sources, mixed)
        tables = claims_tables(claims, mixed, perturbations_of(runs)) if len(claims) else []
        figure = Path(smk.input.figure).read_bytes()
        write_text(smk.output.answer, answer_markdown(answer))
        write_text(smk.output.page, answer_page(answer, tables, figure))


if __name__ == "__main__":
    main(snakemake)
