"""Write the variances that `make plan` uses, out of finished studies.

    python docs/components.py results/demo

Writes docs/components.csv from each study's tables/runs.csv and tables/cases.csv.
"""

import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.evaluation.planning import components_table  # noqa: E402
from labelnoise.evaluation.tables import read_table  # noqa: E402
from labelnoise.files import write_csv  # noqa: E402
from labelnoise.study import Results  # noqa: E402


def main(folders):
    if not folders:
        raise SystemExit(
            "error: name the results folder of a finished study, such as results/demo."
        )
    studies = [Results(Path(folder)) for folder in folders]
    tables = [
        components_table(*(read_table(study.table(f"{name}.csv")) for name in ("runs", "cases")))
        for study in studies
    ]
    write_csv(ROOT / "docs" / "components.csv", pd.concat(tables).round(5))


if __name__ == "__main__":
    main(sys.argv[1:])
