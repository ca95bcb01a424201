"""Say what the study comes to, in sentences: the first thing to read."""

from pathlib import Path

import pandas as pd

from labelnoise.evaluation.claims import COLUMNS
from labelnoise.evaluation.tables import read_table
from labelnoise.files import write_text
from labelnoise.jobs.script import logged
from labelnoise.manifest import Manifest
from labelnoise.report.answer import answer_markdown, answer_of, answer_page
from labelnoise.report.render import claims_tables, note_folds
from labelnoise.study import results_of


def contents_of(results, datasets):
    """Return what the files of each dataset's source came to, where it has files."""
    found = {
        name: Manifest.read(results.fill(results.manifest, {"dataset": name})) for name in datasets
    }
    return {name: each.source.describe() for name, each in found.items() if each and each.source}


def main(smk):
    with logged(smk.log[0]):
        claims = pd.DataFrame(columns=COLUMNS)
        if smk.input.claims:
            claims = read_table(smk.input.claims)
        mixed = len(pd.read_csv(smk.input.mixed))
        runs, thresholds = map(read_table, (smk.input.runs, smk.input.thresholds))
        contents = contents_of(results_of(smk.config), smk.params.sources)
        answer = answer_of(claims, thresholds, runs, smk.params.sources, mixed, contents)
        tables = note_folds(claims_tables(claims, mixed), runs) if len(claims) else []
        figure = Path(smk.input.figure).read_bytes()
        write_text(smk.output.answer, answer_markdown(answer))
        write_text(smk.output.page, answer_page(answer, tables, figure))


if __name__ == "__main__":
    main(snakemake)
