"""Make viz/<dataset>/xviz.npy and yviz.npy from a prepared dataset, to watch predictions on them.

python scripts/make_viz.py phantom
python scripts/make_viz.py phantom --slices 3 --config studies/demo.yaml
"""

import argparse
import sys
from pathlib import Path

from labelnoise.data.storage import Dataset
from labelnoise.jobs.script import explain
from labelnoise.training.viewers import write_pair
from model_runner import choose_config, positive, read_configs, results_folder, viz_folder


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="a dataset of the config, prepared")
    parser.add_argument("--slices", type=positive, default=5, help="validation slices to show (5)")
    parser.add_argument("--config", nargs="+", default=[], help="files that overlay config.yaml")
    arguments = parser.parse_args(argv)
    try:
        config, name = choose_config(arguments.dataset, read_configs(arguments.config))
        with Dataset(Path(results_folder(config), "datasets", f"{name}.h5")) as data:
            print(*write_pair(data, viz_folder(name), arguments.slices), sep="\n")
    except Exception as error:
        sys.exit(f"error: {explain(error)}")


if __name__ == "__main__":
    main()
