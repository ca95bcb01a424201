"""Train one network on one set of perturbed labels."""

from pathlib import Path

from labelnoise.devices import lease_device
from labelnoise.scripting import logged


def main(smk):
    with logged(smk.log[0]), lease_device(smk.resources.gpu) as device:
        # torch may only start once the lease has said which card it sees.
        from labelnoise.runs import describe_run, train_run

        folder = Path(smk.output.run).parent
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
        )
        print(describe_run(folder), flush=True)


if __name__ == "__main__":
    main(snakemake)
