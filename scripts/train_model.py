"""Train one network on one set of perturbed labels."""

from pathlib import Path

from labelnoise.jobs.locks import hold_run
from labelnoise.jobs.script import device_of_job, logged
from labelnoise.own_code import use_own_code
from labelnoise.study import Model, Recipe, Run, RunFolder, Task


def main(smk):
    task = Task(
        run=Run.of(smk.wildcards),
        model=Model.of(smk.params.model),
        recipe=Recipe(**smk.params.recipe),
        seed=smk.params.seed,
        dataset=Path(smk.input.dataset),
        labels=Path(smk.input.labels),
    )
    folder = RunFolder(Path(smk.output.run).parent)
    # The run before the device: a training that was left behind holds both.
    with logged(smk.log[0]), hold_run(folder) as lock, device_of_job(smk, "training") as device:
        lock.add(device=device.label)
        use_own_code(smk.config["modules"])
        # torch may only start once the lease has said which card it sees.
        from labelnoise.training.run import Extras, describe_run, train_run

        # Not params of the rule: watching a run must not make it stale.
        extras = Extras(
            workers=smk.threads - 1,
            preview_every=smk.config["preview_every"],
            viz=Path("viz", task.run.dataset) if smk.config["visualize"] else None,
            keep_state=smk.config["keep_state"],
        )
        train_run(task, folder, device, extras)
        print(describe_run(folder), flush=True)


if __name__ == "__main__":
    main(snakemake)
