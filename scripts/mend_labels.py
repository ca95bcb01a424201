"""Replace the labels of a run's most suspicious training slices by the reference."""

from pathlib import Path

from labelnoise.jobs.script import logged
from labelnoise.labels.mending import mend_labels
from labelnoise.own_code import use_own_code


def main(smk):
    with logged(smk.log[0]):
        use_own_code(smk.config["modules"])
        mend_labels(
            Path(smk.input.dataset),
            Path(smk.input.labels),
            Path(smk.input.suspects),
            smk.wildcards.order,
            smk.params.share,
            Path(smk.output.labels),
        )


if __name__ == "__main__":
    main(snakemake)
