import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from labelnoise.config import check_files
from labelnoise.errors import InputError

# Before Snakemake reads config.yaml, which names no line of a mistake; `--configfile` it has read.
try:
    check_files(filter(os.path.exists, ["config.yaml", *workflow.overwrite_configfiles]))
except InputError as error:
    # Not WorkflowError, to which Snakemake adds frames of this file, and nothing at all if --quiet.
    sys.exit(f"error: {error}")
