"""Try models, recipes and the user's own code before anything is trained with them.

The schema knows the names of keys, but only the libraries know what they accept, and the user's
code what it does. It takes seconds to import them, so only what the schema cannot check is tried,
in a process of its own.
"""

import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from labelnoise.config.channels import channel_names
from labelnoise.config.rules import TRAINER
from labelnoise.errors import InputError
from labelnoise.extras import require
from labelnoise.own_code import command_files, is_own, load_own, use_own_code
from labelnoise.study import Model, Perturbation, Recipe, Study


def try_definitions(study: Study) -> None:
    """Try those definitions of a study's matrix that only a library or their own code can check.

    Raises:
        InputError: one cannot be built or used; the message names it.
    """
    for name in study.matrix["model"]:
        _check_trainer(name, study.models[name])
    chosen: dict[str, Any] = {
        "models": {
            name: study.models[name].as_dict()
            for name in study.matrix["model"]
            if "." in study.models[name].network
        },
        "recipes": {
            name: study.recipes[name].as_dict()
            for name in study.matrix["recipe"]
            if _is_unusual(study.recipes[name])
        },
        "perturbations": {
            name: study.perturbations[name].as_dict()
            for name in study.matrix["perturbation"]
            if is_own(study.perturbations[name].kind)
        },
    }
    if not any(chosen.values()):
        return
    modules = {name: str(path) for name, path in study.modules.items()}
    known = [channel_names(study.datasets[name]) for name in study.matrix["dataset"]]
    chosen["channels"] = sorted({len(channels) for channels in known if channels is not None})
    command = [sys.executable, "-m", "labelnoise.training.definitions"]
    tried = subprocess.run(
        command,
        input=json.dumps({**chosen, "modules": modules}),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    if tried.returncode != 0:
        raise InputError(tried.stderr.strip().splitlines()[-1])


def _check_trainer(name: str, model: Model) -> None:
    """Refuse a trainer that is not there."""
    if model.trainer == "nnunet" and importlib.util.find_spec("torch"):
        # Without torch jobs have an environment of their own.
        require("nnunetv2", f"models.{name}.trainer", "nnunet")
    if model.trainer != "command":
        return
    command = model.settings["command"]
    key = f"config key 'models.{name}.command'"
    program = shlex.split(command)[0]
    if program != "python" and shutil.which(program) is None:
        raise InputError(f"{key} starts with {program!r}, which is no program here; correct it.")
    for word in command_files(command):
        if "{" not in word and not Path(word).is_file():
            raise InputError(f"{key} names {word}, which is not in {Path.cwd()}; correct it.")


def main() -> None:
    """Try the definitions on standard input; a mistake is one sentence on standard error."""
    definitions = json.load(sys.stdin)
    use_own_code(definitions.pop("modules"))
    try:
        check_definitions(**definitions)
    except ModuleNotFoundError:
        # Snakemake runs without the libraries where jobs have an environment of their own.
        return
    except InputError as error:
        sys.exit(str(error))


def _is_unusual(recipe: Recipe) -> bool:
    if recipe.loss == TRAINER:
        return False
    unusual_loss = recipe.loss.startswith("smp.") or recipe.loss_settings
    unusual_optimiser = recipe.optimiser != "Adam" or {*recipe.optimiser_settings} - {"eps"}
    others = recipe.schedule, recipe.augmentation, recipe.selection, recipe.relabelling
    return bool(unusual_loss or unusual_optimiser or any(map(bool, others)))


def check_definitions(
    models: Mapping[str, Any],
    recipes: Mapping[str, Any],
    perturbations: Mapping[str, Any] = MappingProxyType({}),
    channels: Sequence[int] = (1,),
) -> None:
    """Build every network, take a step with every loss and optimiser, perturb by every own kind.

    Args:
        models, recipes: {name: definition as the config has it}.
        perturbations: the same, of kinds of the user's own.
        channels: how many channels the datasets have, as far as that is known.

    Raises:
        InputError: one cannot be built or used; the message names it.
    """
    from labelnoise.networks import make_network
    from labelnoise.networks.own import check_own

    for name, perturbation in perturbations.items():
        _named("perturbations", name, _try_kind, Perturbation(**perturbation))
    for name, model in models.items():
        try_network = check_own if is_own(model["network"]) else make_network
        for number in channels:
            _named("models", name, partial(try_network, in_channels=number), model)
    for name, recipe in recipes.items():
        if recipe.get("relabelling"):
            require("cleanlab", f"recipes.{name}.relabelling")
        _named("recipes", name, _try_recipe, Recipe(**recipe))


def _named(section: str, name: str, function: Callable[[Any], Any], definition: Any) -> None:
    try:
        function(definition)
    except InputError as error:
        raise InputError(f"config key '{section}.{name}': {error}") from error


def _try_kind(perturbation: Perturbation) -> None:
    from labelnoise.labels.own_kind import check_own_kind

    load_own(perturbation.kind, perturbation.code)
    check_own_kind(perturbation.kind, perturbation.severity)


def _try_recipe(recipe: Recipe) -> None:
    """Take one step on two small slices, with all that the recipe names."""
    import torch

    from labelnoise.training.loop import make_optimiser
    from labelnoise.training.losses import make_loss
    from labelnoise.training.schedule import make_schedule
    from labelnoise.training.selection import left_out

    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    loss = make_loss(
        recipe.loss, background_share=recipe.background_share or 0.1, **recipe.loss_settings
    )
    optimiser = make_optimiser([*network.parameters(), *loss.parameters()], recipe)
    schedule = make_schedule(optimiser, recipe)
    images_N1HW = torch.rand(2, 1, 16, 16)
    labels_NHW = (images_N1HW[:, 0] > 0.5).long()
    if recipe.augmentation is not None:
        from labelnoise.training.augmentation import Augmentation

        always = {name: {**each, "probability": 1} for name, each in recipe.augmentation.items()}
        images_N1HW, labels_NHW = Augmentation(always, 0).augment(images_N1HW, labels_NHW, (0, 1))
    try:
        selection = left_out(recipe.selection, recipe.epochs)
        loss(network(images_N1HW), labels_NHW, torch.Generator(), **selection).backward()
        optimiser.step()
        if schedule is not None:
            schedule.step()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"a step with loss '{recipe.loss}' {recipe.loss_settings} and optimiser "
            f"'{recipe.optimiser}' {recipe.optimiser_settings} fails: {error}"
        ) from error


if __name__ == "__main__":
    main()
