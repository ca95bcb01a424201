"""Count the pixels that each kept checkpoint gets right and wrong, and gather its scores."""

from pathlib import Path

from labelnoise.jobs.script import device_of_job, logged


def main(smk):
    with logged(smk.log[0]), device_of_job(smk, "testing") as device:
        # torch may only start once the lease has said which card it sees.
        from labelnoise.evaluation.score import describe_score, score_run

        path = Path(smk.output.counts)
        counted = score_run(smk.input.dataset, smk.input.checkpoints, device, path)
        print(describe_score(counted, path.parent), flush=True)


if __name__ == "__main__":
    main(snakemake)
