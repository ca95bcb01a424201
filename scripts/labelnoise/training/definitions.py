"""Try out models and recipes before anything is trained with them.

The schema knows the names of keys, but only the libraries know what they accept. They take seconds
to import, so only what the schema cannot judge is tried, in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path

from labelnoise.errors import InputError


def try_definitions(config):
    """Try those models and recipes of a completed config's matrix that only a library can judge.

    Raises:
        InputError: one cannot be built or used; the message names it.
    """
    chosen = {
        "models": _select(config, "model", lambda model: model["network"].startswith("smp.")),
        "recipes": _select(config, "recipe", _is_unusual),
    }
    if not any(chosen.values()):
        return
    command = [sys.executable, "-c", "from labelnoise.training.definitions import main; main()"]
    tried = subprocess.run(
        command,
        input=json.dumps(chosen),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    if tried.returncode != 0:
        raise InputError(tried.stderr.strip().splitlines()[-1])


def main():
    """Try the definitions on standard input; a mistake is one sentence on standard error."""
    definitions = json.load(sys.stdin)
    try:
        check_definitions(**definitions)
    except ModuleNotFoundError:
        # Snakemake runs without the libraries where jobs have an environment of their own.
        return
    except InputError as error:
        sys.exit(str(error))


def _select(config, axis, judged_by_library):
    definitions = {name: config[f"{axis}s"][name] for name in config["matrix"][axis]}
    return {name: value for name, value in definitions.items() if judged_by_library(value)}


def _is_unusual(recipe):
    settings = set(recipe["optimiser_settings"])
    unusual_loss = recipe["loss"].startswith("smp.") or recipe["loss_settings"]
    return unusual_loss or recipe["optimiser"] != "Adam" or settings - {"eps"}


def check_definitions(models, recipes):
    """Build every network, and take a step with every loss and optimiser.

    Args:
        models, recipes: the config's mappings of these names.

    Raises:
        InputError: one cannot be built or used; the message names it.
    """
    from labelnoise.networks import make_network

    for name, model in models.items():
        _named("models", name, make_network, model)
    for name, recipe in recipes.items():
        _named("recipes", name, _try_recipe, recipe)


def _named(section, name, function, definition):
    try:
        return function(definition)
    except InputError as error:
        raise InputError(f"config key '{section}.{name}': {error}") from error


def _try_recipe(recipe):
    """Take one step on two small slices, with all that the recipe says of loss and optimiser."""
    import torch

    from labelnoise.training.loop import make_optimiser
    from labelnoise.training.losses import make_loss

    network = torch.nn.Conv2d(1, 2, 3, padding=1)
    loss = make_loss(
        recipe["loss"],
        background_share=recipe["background_share"] or 0.1,
        **recipe["loss_settings"],
    )
    optimiser = make_optimiser(network.parameters(), recipe)
    images_N1HW = torch.rand(2, 1, 16, 16)
    labels_NHW = (images_N1HW[:, 0] > 0.5).long()
    try:
        loss(network(images_N1HW), labels_NHW, torch.Generator()).backward()
        optimiser.step()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"a step with loss '{recipe['loss']}' {recipe['loss_settings']} and optimiser "
            f"'{recipe['optimiser']}' {recipe['optimiser_settings']} fails: {error}"
        ) from error
