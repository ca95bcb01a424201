"""Rules between the keys of a configuration, which a schema cannot state."""

import re
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, cycle, islice, product
from string import Formatter
from typing import Any

from labelnoise.config.channels import channel_names, intensity_settings, is_by_channel
from labelnoise.config.given import READING_KEYS, TAKEN, given_settings, label_settings
from labelnoise.config.messages import shown
from labelnoise.errors import InputError
from labelnoise.folds import fold_count

# The lists of the matrix, and the section that defines the names of each.
AXES = {
    "dataset": "datasets",
    "model": "models",
    "recipe": "recipes",
    "perturbation": "perturbations",
}
# Keys of a perturbation that every kind has, or none; the others are its kind's settings.
ERROR_KEYS = ("kind", "target_dice", "severity", "draws")
# Kinds that are made of other perturbations, which their key `of` names.
COMPOSED = ("mixture", "consensus")
# Orders of looking at labels again that no detector gives.
ORDERS = ("ideal", "random")
MOST_RUNS = 1_000_000
# The loss of recipes for models that are trainers, which bring their own.
TRAINER = "trainer"
# Numbers of training cases that a curve is fitted to.
FEWEST_NUMBERS = 3


def apply_rules(config: dict) -> None:
    """Check the keys of a configuration against each other, and fill in what follows from others.

    That is the mode of each recipe, the claims that the matrix asks, and today's word for an older
    one.

    Args:
        config: a configuration in canonical form, see `labelnoise.config.schema`.

    Raises:
        InputError: two keys contradict each other; the message names one of them.
    """
    _check_matrix(config)
    _check_trainers(config)
    _check_baseline(config)
    for name, dataset in config["datasets"].items():
        _complete_dataset(name, dataset)
    for name, recipe in config["recipes"].items():
        _complete_recipe(name, recipe)
    _check_augmented(config)
    _check_relabelled(config)
    for name, perturbation in config["perturbations"].items():
        _check_perturbation(name, perturbation, config["perturbations"])
    _check_given_labels(config)
    _check_families(config)
    _check_review(config["review"])
    _complete_budget(config)
    _complete_claims(config)


def error_settings(perturbation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what distinguishes errors of one kind besides size and draws.

    A share of 1 is none: so the records of versions without shares stay what they are. Where given
    labels are read from does not count: the labels do.

    Args:
        perturbation: an entry of the config's `perturbations`, in canonical form.
    """
    left_out = {*ERROR_KEYS, *(READING_KEYS if perturbation["kind"] == "given" else ())}
    settings = {key: value for key, value in perturbation.items() if key not in left_out}
    if settings.get("share") == 1:
        del settings["share"], settings["share_of"]
    return settings


def error_family(name: str, kind: str, settings: Mapping[str, Any]) -> str:
    """Return what errors that differ in nothing but size and draws have in common.

    It is their kind; where that has settings, the name without the size at its end, `thick` for
    `thick-0.90`; of given labels, which have no size to choose, the whole name.
    """
    if kind == "given":
        return name
    return re.sub(r"[-_.]?[0-9.]+$", "", name) or name if settings else kind


def go_together(trainer: str | None, loss: str) -> bool:
    """Return whether a recipe can train a model, given the model's trainer and the recipe's loss.

    A trainer brings its own loss and optimiser; a network needs them from the recipe.
    """
    return (trainer is not None) == (loss == TRAINER)


def claim_cells(
    claim: Mapping[str, Any],
    matrix: Mapping[str, Sequence[str]],
    together: Collection[tuple[str, str]],
) -> list[tuple[dict[str, str], dict[str, str]]]:
    """Return the cells of a matrix that a claim is about.

    Args:
        claim: an entry of the config's `claims`, in canonical form.
        matrix: the config's matrix.
        together: model and recipe, for all of the matrix that go together.

    Returns:
        Pairs of {axis: name}: a cell, and the one that a claim of the kind `worse` or `helps` sets
        beside it, for other kinds the same cell. A slope's cells have no perturbation. Pairs that
        the matrix lacks do not occur.
    """
    given = {axis: claim.get(axis) for axis in AXES if axis in claim}
    choices = [matrix[axis] if name is None else [name] for axis, name in given.items()]
    cells = [dict(zip(given, names, strict=True)) for names in product(*choices)]
    pairs = [(cell, {**cell, **claim.get("than", {})}) for cell in cells]
    return [
        (cell, other)
        for cell, other in pairs
        if all(side[axis] in matrix[axis] for side in (cell, other) for axis in side)
        and all((side["model"], side["recipe"]) in together for side in (cell, other))
        and ("than" not in claim or cell != other)
    ]


def recipe_groups(config: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Return the recipes of the matrix that differ in the number of training cases alone.

    Args:
        config: a configuration in canonical form.

    Returns:
        {recipe: (what it and those like it are called, its number of cases)}, without recipes of
        all cases, and those of which there are fewer than FEWEST_NUMBERS. The name is that of the
        first without the number at its end.
    """
    alike: dict[str, list[str]] = {}
    for name in config["matrix"]["recipe"]:
        recipe = dict(config["recipes"][name])
        # A recipe of a trainer has none.
        if recipe.pop("training_cases", None) is not None:
            alike.setdefault(repr(recipe), []).append(name)
    groups = {}
    for names in alike.values():
        number = {name: config["recipes"][name]["training_cases"] for name in names}
        if len({*number.values()}) >= FEWEST_NUMBERS:
            shared = re.sub(r"[-_.]?[0-9]+$", "", names[0]) or names[0]
            groups |= {name: (shared, number[name]) for name in names}
    return groups


def _complete_budget(config):
    """Check the budget, and fill in the minutes of what several annotators make."""
    budget, defined = config["budget"], config["perturbations"]
    if budget is None:
        return
    key, minutes = "config key 'budget.minutes'", budget["minutes"]
    for name in minutes:
        if name not in defined:
            raise InputError(
                f"{key} names {shown(name)}, which 'perturbations' does not define; defined are: "
                f"{', '.join(defined)}."
            )
    for name in config["matrix"]["perturbation"]:
        error = defined[name]
        parts = error["of"] if error["kind"] == "consensus" else ()
        if name not in minutes and parts and all(part in minutes for part in parts):
            turns = islice(cycle(parts), error["annotators"])
            minutes[name] = float(sum(minutes[part] for part in turns))
        if name not in minutes:
            raise InputError(
                f"{key} lacks {shown(name)} of 'matrix.perturbation'; add the minutes that a case "
                "with such labels takes."
            )
    if not recipe_groups(config):
        raise InputError(
            f"config key 'budget' needs {FEWEST_NUMBERS} recipes in 'matrix.recipe' that differ in "
            "nothing but the number of their 'training_cases'; add them."
        )


def _check_review(review):
    for name in review["retrain"]:
        if name not in (*review["detectors"], *ORDERS):
            raise InputError(
                f"config key 'review.retrain' names {shown(name)}, which 'review.detectors' does "
                "not; add it there."
            )


def _check_matrix(config):
    for axis, section in AXES.items():
        for name in config["matrix"][axis]:
            if name not in config[section]:
                raise InputError(
                    f"config key 'matrix.{axis}' names {shown(name)}, which '{section}' does not "
                    f"define; defined are: {', '.join(config[section])}."
                )
    matrix = config["matrix"]
    folds = sum(fold_count(config["datasets"][name]) for name in matrix["dataset"])
    runs = folds * len(_pairs(config)) * len(matrix["perturbation"]) * matrix["repeats"]
    if runs > MOST_RUNS:
        raise InputError(
            f"config key 'matrix' asks for {runs} runs, the product of its lists, of folds and "
            f"repeats; expected at most {MOST_RUNS}."
        )


def _check_baseline(config):
    baseline, recipes = (config["mitigation"] or {}).get("baseline"), config["matrix"]["recipe"]
    if baseline is not None and baseline not in recipes:
        raise InputError(
            f"config key 'mitigation.baseline' is {shown(baseline)}, which 'matrix.recipe' lacks; "
            f"name one of {', '.join(recipes)}."
        )


def _pairs(config):
    """Return model and recipe, for all of the matrix that go together."""
    models, recipes, matrix = config["models"], config["recipes"], config["matrix"]
    return [
        (model, recipe)
        for model, recipe in product(matrix["model"], matrix["recipe"])
        if go_together(models[model].get("trainer"), recipes[recipe]["loss"])
    ]


def _check_trainers(config):
    """Refuse what of the matrix no run is of, and what a trainer cannot be given."""
    matrix, pairs = config["matrix"], _pairs(config)
    for axis, used in zip(("model", "recipe"), map(set, zip(*pairs, strict=True)), strict=False):
        for name in matrix[axis]:
            if name not in used:
                raise InputError(_lonely(axis, name, config))
    if not pairs:
        raise InputError(_lonely("model", matrix["model"][0], config))
    for name, model in config["models"].items():
        if model.get("trainer") == "command":
            _check_command(f"config key 'models.{name}.command'", model["command"])
    trainers = [name for name in matrix["model"] if "trainer" in config["models"][name]]
    for name in matrix["perturbation"] if trainers else ():
        draws = config["perturbations"][name]["draws"]
        if draws != 1:
            raise InputError(
                f"config key 'perturbations.{name}.draws' is {draws}, but '{trainers[0]}', a "
                "trainer, is given labels once; write 1, or take one of them out of 'matrix'."
            )


def _lonely(axis, name, config):
    """Return in one sentence why no run is of a model or recipe of the matrix."""
    key = f"config key 'matrix.{axis}' names {shown(name)}"
    if axis == "recipe":
        if config["recipes"][name]["loss"] == TRAINER:
            return f"{key}, for models with a 'trainer', but 'matrix.model' has none; add one."
        return (
            f"{key}, which trains networks, but 'matrix.model' has trainers alone; take it out, or "
            "add a model with a 'network'."
        )
    if "trainer" in config["models"][name]:
        return (
            f"{key}, a trainer, which brings its own loss, but 'matrix.recipe' has no recipe for "
            "one; add one such as own: {loss: trainer}."
        )
    return (
        f"{key}, a network, but all recipes of 'matrix.recipe' are for trainers; add one with "
        "another loss."
    )


def _check_command(key, command):
    """Refuse a command that cannot be cut into words, or whose placeholders are not those known."""
    known = ("dataset", "output", "device", "seed")
    try:
        words = shlex.split(command)
        parts = list(chain.from_iterable(Formatter().parse(word) for word in words))
    except ValueError as error:
        raise InputError(f"{key} is {shown(command)}, which cannot be read: {error}.") from None
    names = [name for _, name, _, _ in parts if name is not None]
    for name in names:
        if name not in known:
            raise InputError(
                f"{key} has the placeholder {{{name}}}; known are {{dataset}}, {{output}}, "
                "{device} and {seed}, and other braces are doubled."
            )
    for name in known[:2]:
        if name not in names:
            raise InputError(f"{key} is {shown(command)}, which lacks {{{name}}}; add it.")


def _complete_dataset(name, dataset):
    for key in ("source", "label_kind"):
        if dataset.get(key) == "nifti":
            dataset[key] = "volumes"
    if "split" in dataset:
        _check_split(f"config key 'datasets.{name}.split", dataset["split"])
    intensity_settings(name, dataset, channel_names(dataset))
    _check_classes(f"datasets.{name}", dataset)


def _check_split(key, split):
    if "folds" in split:
        _check_folds(key, split)
    elif isinstance(split["train"], list):
        named = Counter(chain(split["train"], split["validation"], split["test"]))
        case, count = named.most_common(1)[0]
        if count > 1:
            places = [part for part, cases in split.items() if case in cases]
            raise InputError(
                f"{key}' names the case {shown(case)} in {' and '.join(places)}; name it in one."
            )
    elif abs(sum(split.values()) - 1) > 1e-6:
        raise InputError(f"{key}' sums to {sum(split.values()):g}; make the three shares sum to 1.")


def _check_folds(key, split):
    folds, fold = split["folds"], split["fold"]
    if folds is None and (fold is None or split["file"] is None):
        needed = (
            "'folds', how many it has, or 'fold', the one to take" if split["file"] else "'folds'"
        )
        raise InputError(f"{key}' lacks {needed}; add it.")
    if None not in (folds, fold) and fold >= folds:
        raise InputError(
            f"{key}.fold' is {fold}, but 'folds' is {folds}; name one of 0 to {folds - 1}."
        )
    if split["file"] is None and split["unlisted"] == "skip":
        raise InputError(
            f"{key}.unlisted' is skip, but random folds have every case; remove it, or name a "
            "'file' of splits."
        )


def _check_classes(name, dataset):
    key = f"config key '{name}"
    classes = dataset.get("classes", {})
    if "background" in classes or dataset.get("structure") == "background":
        section = "classes" if classes else "structure"
        raise InputError(
            f"{key}.{section}' names 'background', which is every pixel of no structure; remove it."
        )
    for value, number in Counter(chain.from_iterable(map(set, classes.values()))).items():
        if number > 1:
            owners = [structure for structure, values in classes.items() if value in values]
            raise InputError(
                f"{key}.classes' gives the label value {value} to {' and '.join(owners)}; "
                "give every value to one structure."
            )
    for value in dataset.get("ignore", []):
        if any(value in values for values in classes.values()):
            raise InputError(
                f"{key}.ignore' holds {value}, which '{name}.classes' gives to a structure; "
                "name it in one of the two."
            )


def _complete_recipe(name, recipe):
    if recipe["loss"] == TRAINER:
        return
    key = f"config key 'recipes.{name}"
    if recipe["keep"] > recipe["epochs"]:
        raise InputError(
            f"{key}.keep' is {recipe['keep']} but 'epochs' is {recipe['epochs']}; "
            "keep at most one checkpoint per epoch."
        )
    batch, parts = recipe["batch_size"], recipe["accumulation"]
    if batch % parts:
        raise InputError(
            f"{key}.accumulation' is {parts}, which does not cut the batch_size of {batch} into "
            f"equal parts; write a divisor of {batch}."
        )
    better = "min" if recipe["monitor"].endswith("loss") else "max"
    if recipe["mode"] not in (None, better):
        raise InputError(
            f"{key}.mode' is '{recipe['mode']}', but a {'low' if better == 'min' else 'high'} "
            f"{recipe['monitor']} is the better one; write {better}, or leave it out."
        )
    recipe["mode"] = better
    warmup = recipe["schedule"]["warmup"] if recipe["schedule"] else 0
    if warmup and warmup >= recipe["epochs"]:
        raise InputError(
            f"{key}.schedule.warmup' is {warmup} but 'epochs' is {recipe['epochs']}; leave epochs "
            "at the full learning rate."
        )
    for change, settings in (recipe["augmentation"] or {}).items():
        for name, value in settings.items():
            if isinstance(value, list) and value[0] > value[1]:
                raise InputError(
                    f"{key}.augmentation.{change}.{name}' is {value}; expected [low, high] with "
                    "low <= high."
                )


def _check_augmented(config):
    """Refuse to augment slices that do not lie between -1 and 1, where changes leave them."""
    augmented = [
        name for name in config["matrix"]["recipe"] if config["recipes"][name].get("augmentation")
    ]
    for name in config["matrix"]["dataset"] if augmented else ():
        dataset = config["datasets"][name]
        channels = intensity_settings(name, dataset, channel_names(dataset))
        for channel, chosen in channels.items():
            if chosen["normalise"]["method"] == "none":
                by_channel = is_by_channel("normalise", dataset["normalise"])
                key = f"datasets.{name}.normalise{f'.{channel}' if by_channel else ''}"
                raise InputError(
                    f"config key 'recipes.{augmented[0]}.augmentation' changes slices from -1 to "
                    f"1, but '{key}' is none, which keeps any values; choose another one, or no "
                    "augmentation."
                )


def _check_relabelled(config):
    """Refuse to mend labels of which each epoch has others."""
    matrix = config["matrix"]
    relabelled = [name for name in matrix["recipe"] if config["recipes"][name].get("relabelling")]
    for name in matrix["perturbation"] if relabelled else ():
        draws = config["perturbations"][name]["draws"]
        if draws != 1:
            raise InputError(
                f"config key 'recipes.{relabelled[0]}.relabelling' mends labels before training, "
                f"but 'perturbations.{name}.draws' is {draws}, other labels in other epochs; set "
                "draws: 1, or leave one of the two out of the matrix."
            )


def _check_perturbation(name, perturbation, defined):
    key = f"config key 'perturbations.{name}'"
    if perturbation["kind"] in COMPOSED:
        _check_composed(name, perturbation, defined)
        return
    sizes = [size for size in ("target_dice", "severity") if size in perturbation]
    if perturbation["kind"] == "given":
        if sizes:
            raise InputError(
                f"{key} has {' and '.join(sizes)}, but is given: how wrong its labels are is "
                "measured, not chosen; remove it."
            )
        if perturbation["draws"] != 1:
            raise InputError(
                f"config key 'perturbations.{name}.draws' is {perturbation['draws']}, but given "
                "labels are one draw; remove it."
            )
        return
    if perturbation["kind"] == "control":
        if sizes or perturbation["draws"] != 1:
            raise InputError(f"{key} is a control, which has no error; remove its other keys.")
    elif len(sizes) != 1:
        raise InputError(
            f"{key} has {' and '.join(sizes) or 'no size'}; "
            "give either target_dice or severity, and not both."
        )
    elif perturbation["kind"] == "random" and perturbation.get("severity", 0) > 1:
        raise InputError(
            f"config key 'perturbations.{name}.severity' is {perturbation['severity']}; for random "
            "it is a probability, expected a number <= 1."
        )
    elif perturbation.get("clicks") and perturbation.get("severity", 0) > 1:
        raise InputError(
            f"config key 'perturbations.{name}.severity' is {perturbation['severity']}; with "
            "clicks it is a share of the way to the polygon, expected a number <= 1."
        )


def _check_given_labels(config):
    """Refuse given labels that the sources of the matrix cannot read."""
    perturbations, chosen = config["perturbations"], config["matrix"]["perturbation"]
    parts = (
        perturbations[name]["of"] for name in chosen if perturbations[name]["kind"] in COMPOSED
    )
    for name in dict.fromkeys([*chosen, *chain.from_iterable(parts)]):
        given = perturbations[name]
        if not _is(given, "given"):
            continue
        reading, taken = {key: given[key] for key in READING_KEYS if key in given}, {"folder"}
        for dataset in config["matrix"]["dataset"]:
            settings = given_settings(dataset, config["datasets"][dataset], name, reading)
            taken |= {*TAKEN[settings["source"]]}
            _check_given_classes(dataset, settings, name)
        for key in reading:
            if key not in taken:
                sources = [source for source, keys in TAKEN.items() if key in keys]
                raise InputError(
                    f"config key 'perturbations.{name}.{key}' is for the source "
                    f"{' or '.join(sources)}, of which 'matrix.dataset' names none; remove it."
                )


def _is(perturbation, kind):
    return perturbation["kind"] == kind


def _check_given_classes(dataset, settings, name):
    merged = label_settings(settings)
    _check_classes(f"perturbations.{name}", merged)
    # Where the dataset has none they are its source's, which preparing compares with.
    known, found = settings.get("classes"), merged.get("classes")
    if known and found and set(known) != set(found):
        raise InputError(
            f"config key 'perturbations.{name}.classes' names {', '.join(found)}, but the dataset "
            f"'{dataset}' has {', '.join(known)}; give the values of exactly these."
        )


def _check_families(config):
    """Refuse errors of the matrix that tables would take for sizes of one."""
    known = {}
    for name in config["matrix"]["perturbation"]:
        perturbation = config["perturbations"][name]
        about = perturbation["kind"], error_settings(perturbation)
        family = error_family(name, *about)
        other, others = known.setdefault(family, (name, about))
        if about != others:
            raise InputError(
                f"config keys 'perturbations.{other}' and 'perturbations.{name}' differ in more "
                f"than size and draws, but by their names both are {family}; rename one of them."
            )


def _check_composed(name, composed, defined):
    key = f"config key 'perturbations.{name}"
    for component in composed["of"]:
        if component not in defined:
            raise InputError(
                f"{key}.of' names {shown(component)}, which 'perturbations' does not define; "
                f"defined are: {', '.join(defined)}."
            )
        error = defined[component]
        if error["kind"] in COMPOSED:
            raise InputError(
                f"{key}.of' names {shown(component)}, itself a {error['kind']}; name errors."
            )
        if "share" in error and error["share"] != 1 and composed["kind"] == "mixture":
            raise InputError(
                f"{key}.of' names {shown(component)}, which has a share of its own; use 'weights'."
            )
    number = len(composed["of"])
    if composed["kind"] == "consensus" and composed["annotators"] < number:
        raise InputError(
            f"{key}.annotators' is {composed['annotators']} for {number} errors; expected one for "
            "each name of 'of', or more."
        )
    weights = composed.get("weights")
    if weights is not None and len(weights) != number:
        raise InputError(
            f"{key}.weights' has {len(weights)} numbers for {number} errors; expected one for each "
            "name of 'of'."
        )


def _complete_claims(config):
    """Check the claims, and fill in those that the matrix asks.

    A claim that names its dataset, or that the matrix selects, has to find all it names. The others
    are standing questions, which an overlay inherits: they are asked where the matrix can answer.
    """
    matrix, claims = config["matrix"], config["claims"]
    selected = matrix["claims"]
    for name in selected or ():
        if name not in claims:
            raise InputError(
                f"config key 'matrix.claims' names {shown(name)}, which 'claims' does not define; "
                f"defined are: {', '.join(claims) or 'none'}."
            )
    asked = []
    for name, claim in claims.items():
        _check_claim(name, claim, config)
        lack = _lack(name, claim, config)
        if not lack:
            asked.append(name)
        elif name in (selected or ()) or (selected is None and claim["dataset"] is not None):
            raise InputError(lack)
    matrix["claims"] = asked if selected is None else selected


def _check_claim(name, claim, config):
    """Refuse what no matrix could answer."""
    key = f"config key 'claims.{name}"
    for axis, place, named in _named(claim):
        defined = config[AXES[axis]]
        if named not in defined:
            raise InputError(
                f"{key}.{place}' names {shown(named)}, which '{AXES[axis]}' does not define; "
                f"defined are: {', '.join(defined)}."
            )
        # What helps under an error costs under the control.
        is_error = claim["kind"] != "helps"
        if is_error and axis == "perturbation" and defined[named]["kind"] == "control":
            raise InputError(f"{key}.{place}' is {shown(named)}, a control; name a label error.")
    if claim["kind"] == "slope" and ("above" in claim) == ("below" in claim):
        raise InputError(f"{key}' has to say above or below which number; give one of the two.")
    if claim["kind"] == "helps":
        if "than" not in claim and "at" not in claim:
            raise InputError(
                f"{key}' has to say what is better than what; give `than`, the other recipe, or "
                "`at`, the other threshold."
            )
        if "at" in claim and claim["measure"] != "dice":
            raise InputError(
                f"{key}.measure' is {claim['measure']}, which is known at a probability of 0.5 "
                "alone; remove `at`, or take dice."
            )
    if claim["structure"] is not None:
        if claim["dataset"] is None:
            raise InputError(f"{key}.structure' needs the dataset that it is in; add 'dataset'.")
        dataset = config["datasets"][claim["dataset"]]
        known = [*dataset.get("classes", {})] or [dataset.get("structure", claim["structure"])]
        if claim["structure"] not in known:
            raise InputError(
                f"{key}.structure' is {shown(claim['structure'])}, which the dataset "
                f"'{claim['dataset']}' lacks; it has {', '.join(known)}."
            )


def _lack(name, claim, config):
    """Return in one sentence what a matrix lacks that a claim is about; empty if nothing."""
    key, matrix = f"config key 'claims.{name}", config["matrix"]
    mend = f"add it there, or select other claims in 'matrix.claims', without {shown(name)}."
    for axis, place, named in _named(claim):
        if named not in matrix[axis]:
            return f"{key}.{place}' names {shown(named)}, which 'matrix.{axis}' lacks; {mend}"
    errors = {name: config["perturbations"][name] for name in matrix["perturbation"]}
    families = {
        name: error_family(name, error["kind"], error_settings(error))
        for name, error in errors.items()
    }
    kinds = {*families.values()}
    drawn = {(families[name], error["draws"]) for name, error in errors.items()}
    if not any(error["kind"] == "control" for error in errors.values()):
        return f"{key}' compares with a control, which 'matrix.perturbation' lacks; {mend}"
    if claim.get("error", "control") not in kinds:
        error = claim["error"]
        return f"{key}.error' is {error}, of which 'matrix.perturbation' has none; {mend}"
    draws = claim.get("draws")
    if draws is not None and (claim["error"], draws) not in drawn:
        return (
            f"{key}.draws' is {shown(draws)}, and 'matrix.perturbation' has no {claim['error']} "
            f"error that is drawn so; {mend}"
        )
    pairs = _pairs(config)
    if not claim_cells(claim, matrix, pairs):
        everywhere = [*product(matrix["model"], matrix["recipe"])]
        if claim_cells(claim, matrix, everywhere):
            return (
                f"{key}' is about no model and recipe of 'matrix' that go together: a trainer has "
                "a recipe with `loss: trainer`, a network any other; name both."
            )
        return f"{key}.than' names the cell that it is compared with; name another one."
    return ""


def _named(claim):
    """Yield axis, key and name of each part of the study that a claim names."""
    for axis in AXES:
        for place, side in ((axis, claim), (f"than.{axis}", claim.get("than", {}))):
            if side.get(axis) is not None:
                yield axis, place, side[axis]
