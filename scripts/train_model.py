"""Train one network on one set of perturbed labels."""

from pathlib import Path

from labelnoise.jobs.locks import take_over
from labelnoise.jobs.script import device_of_job, logged
from labelnoise.study import results_folder


def main(smk):
    folder = Path(smk.output.run).parent
    study = results_folder(smk.config)
    with logged(smk.log[0]):
        # Before the lease, since a training that was left behind holds a GPU.
        take_over(folder / ".state" / "lock", study)
        with device_of_job(smk, "training") as device:
            train(smk, folder, study, device)


def train(smk, folder, study, device):
    """Train on the device that the job holds."""
    # torch may only start once the lease has said which card it sees.
    from labelnoise.training.run import describe_run, train_run

    viz = Path("viz", smk.wildcards.dataset)
    train_run(
        folder=folder,
        names=dict(smk.wildcards.items()),
        model=smk.params.model,
        recipe=smk.params.recipe,
        seed=smk.params.seed,
        dataset=smk.input.dataset,
        labels=smk.input.labels,
        device=device,
        # Not parameters of the rule: looking at a run must not make it stale.
        preview_every=smk.config["preview_every"],
        viz=viz if any(viz.glob("*.npy")) else None,
        workers=smk.threads - 1,
        study=study,
    )
    print(describe_run(folder), flush=True)


if __name__ == "__main__":
    main(snakemake)
