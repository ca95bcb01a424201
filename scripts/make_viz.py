"""Make viz/<dataset>/xviz.npy and yviz.npy from a dataset, to watch predictions on them.

python scripts/make_viz.py phantom
python scripts/make_viz.py phantom --slices 3 --config studies/demo.yaml
"""

import argparse
import sys
from pathlib import Path

from labelnoise.config import study_files
from labelnoise.data.storage import Dataset
from labelnoise.jobs.script import explain
from labelnoise.jobs.workflow import make_files
from labelnoise.names import full_name
from labelnoise.study import read_study
from labelnoise.training.viewers import write_pair


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a dataset of the config; it is prepared if necessary")
    parser.add_argument("--slices", type=int, default=5, help="validation slices to show (5)")
    parser.add_argument("--config", nargs="+", default=[], help="files that overlay config.yaml")
    arguments = parser.parse_args(argv)
    try:
        files = study_files(arguments.config)
        study = read_study(*files)
        name = full_name("dataset", arguments.dataset, study.datasets)
        path = study.results.fill(study.results.dataset, {"dataset": name})
        make_files([path], files, gpus=0)
        with Dataset(path) as data:
            print(*write_pair(data, Path("viz", name), arguments.slices), sep="\n")
    except Exception as error:
        sys.exit(f"error: {explain(error)}")


if __name__ == "__main__":
    main()
