"""Say of each slice how suspicious its label is by the run's network, and how wrong it is."""

from pathlib import Path

from labelnoise.jobs.script import device_of_job, logged
from labelnoise.own_code import use_own_code
from labelnoise.study import RunFolder


def main(smk):
    folder = RunFolder(Path(smk.output.suspects).parent)
    with logged(smk.log[0]), device_of_job(smk, "reviewing the labels of") as device:
        use_own_code(smk.config["modules"])
        # torch may only start once the lease has said which card it sees.
        from labelnoise.evaluation.suspects import rank_suspects

        files = Path(smk.input.dataset), Path(smk.input.labels)
        # The seed is no param of the rule: another one makes another run.
        rank_suspects(*files, folder, device, smk.params.detectors, smk.config["seed"])


if __name__ == "__main__":
    main(snakemake)
