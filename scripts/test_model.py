"""Count the pixels that each kept checkpoint gets right and wrong, and gather its scores."""

from pathlib import Path

from labelnoise.jobs.script import device_of_job, logged
from labelnoise.own_code import use_own_code
from labelnoise.study import RunFolder


def main(smk):
    folder = RunFolder(Path(smk.output.counts).parent)
    with logged(smk.log[0]), device_of_job(smk, "testing") as device:
        use_own_code(smk.config["modules"])
        # torch may only start once the lease has said which card it sees.
        from labelnoise.evaluation.score import describe_score, score_run

        inputs = Path(smk.input.dataset), Path(smk.input.labels)
        counted = score_run(*inputs, folder, device, smk.params.tolerances)
        print(describe_score(counted, folder), flush=True)


if __name__ == "__main__":
    main(snakemake)
