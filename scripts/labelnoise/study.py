"""A study: its definitions, its runs, and where each of its files is.

This module alone knows the results tree. A path is a pattern with the names of a run in braces, as
Snakemake's rules take it; `Results.fill` puts in the names of a run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import count, product, takewhile
from pathlib import Path
from typing import Any, Self

from labelnoise.config import load_config
from labelnoise.config.given import READING_KEYS, given_settings
from labelnoise.config.rules import (
    AXES,
    COMPOSED,
    ERROR_KEYS,
    TRAINER,
    claim_cells,
    error_family,
    error_settings,
    go_together,
)
from labelnoise.errors import InputError
from labelnoise.folds import fold_names, with_folds
from labelnoise.own_code import command_code, digest_of, find_own_files, is_own, own_file

RUN = "{dataset}/{model}/{recipe}/{perturbation}/rep{repeat}"
LABELS = "{dataset}/{perturbation}/rep{repeat}"
BUNDLE = "{dataset}/{model}/{recipe}/{bundle}"
MENDED = f"{RUN}/{{order}}"
CHECKPOINT = "top{rank}.pt"
# Keys of a recipe that are null or false by default and stand in records only where they are set.
RECIPE_ADDITIONS = (
    *("schedule", "augmentation", "compile", "training_cases"),
    *("selection", "relabelling"),
)
# What distinguishes the jobs of a rule; rules that are not listed have one job.
JOBS = {
    "prepare_dataset": "{dataset}",
    "prepare_given": "{dataset}/{perturbation}",
    "calibrate_perturbation": "{dataset}/{perturbation}",
    "estimate_ceiling": "{dataset}/{perturbation}",
    "perturb_labels": LABELS,
    "train_model": RUN,
    "test_model": RUN,
    "rank_suspects": RUN,
    "mend_labels": MENDED,
    "train_mended": MENDED,
    "test_mended": MENDED,
    "run_bundle": BUNDLE,
    "plot_roc": "{dataset}",
    "plot_perturbations": "{dataset}",
    "plot_predictions": "{dataset}/{model}/{recipe}",
}


@dataclass(frozen=True)
class Run:
    """One trained network, by the names of its parts.

    Attributes:
        dataset, model, recipe, perturbation: names that the config defines; of a dataset with folds
            that of a fold, see `labelnoise.folds`.
        repeat: index of an independent replicate, from 0.
    """

    dataset: str
    model: str
    recipe: str
    perturbation: str
    repeat: int

    @classmethod
    def of(cls, names: Mapping[str, Any]) -> Self:
        """Return the run that a mapping names; other keys are ignored."""
        return cls(**{axis: names[axis] for axis in AXES}, repeat=int(names["repeat"]))

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the run of a name such as phantom/unet/plain/control/rep0."""
        dataset, model, recipe, perturbation, repeat = name.split("/")
        return cls(dataset, model, recipe, perturbation, int(repeat.removeprefix("rep")))

    @property
    def name(self) -> str:
        """The part of every path that names the run, such as phantom/unet/plain/control/rep0."""
        return RUN.format(**asdict(self))

    @property
    def setting(self) -> tuple[str, str, str]:
        """Dataset, model and recipe, which runs that are compared with each other share."""
        return (self.dataset, self.model, self.recipe)


@dataclass(frozen=True)
class Model:
    """A network by name, or a trainer of one, and its settings.

    The digest of its code is among the settings of a network of the user's own and of a command.

    Attributes:
        network: see `networks.make_network`; empty for a trainer.
        settings: its own, see the schema.
        trainer: see `training.trainers`; None for a network.
    """

    network: str
    settings: Mapping[str, Any]
    trainer: str | None = None

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Self:
        """Return the model that an entry of the config's `models` defines."""
        settings = dict(definition)
        trainer = settings.pop("trainer", None)
        return cls(settings.pop("network", ""), settings, trainer)

    def as_dict(self) -> dict[str, Any]:
        """Return the definition in its canonical form, as the config has it, and its code."""
        named = {"trainer": self.trainer} if self.trainer else {"network": self.network}
        return {**named, **self.settings}

    def epochs(self, recipe: "Recipe") -> int:
        """Return the epochs of a training: the recipe's, or a trainer's own, 1 if unknown."""
        if self.trainer is None:
            return recipe.epochs
        folds = self.settings.get("folds", "all")
        return self.settings.get("epochs", 1) * (1 if folds == "all" else len(folds))


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; units, ranges and defaults are the schema's.

    Of the recipe of trainers, which bring their own loss and all else, `loss` alone is known: it is
    `rules.TRAINER`, and the rest stays empty.
    """

    loss: str
    loss_settings: Mapping[str, Any] = field(default_factory=dict)
    background_share: float | None = None
    optimiser: str = ""
    optimiser_settings: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 0.0
    batch_size: int = 0
    accumulation: int = 1
    steps_per_epoch: int = 0
    epochs: int = 0
    precision: str = ""
    monitor: str = ""
    mode: str = ""
    keep: int = 0
    validation_labels: str = "clean"
    schedule: Mapping[str, Any] | None = None
    augmentation: Mapping[str, Any] | None = None
    compile: bool = False
    training_cases: int | None = None
    selection: Mapping[str, Any] | None = None
    relabelling: Mapping[str, Any] | None = None

    @property
    def looks_ahead(self) -> bool:
        """Whether an epoch depends on how many are to come.

        Labels are mended by networks that are trained for as many.
        """
        falls_to_an_end = self.schedule is not None and self.schedule["kind"] in ("poly", "cosine")
        return falls_to_an_end or self.relabelling is not None

    @property
    def deciding_loss(self) -> str | None:
        """The loss that says where a network decides; None where labels are left out or mended."""
        return self.loss if self.selection is None and self.relabelling is None else None

    def as_dict(self) -> dict[str, Any]:
        """Return the definition in its canonical form, as the config has it.

        What RECIPE_ADDITIONS names and is not set is left out, so that the records of runs without
        it are those of versions that did not have it.
        """
        if self.loss == TRAINER:
            return {"loss": TRAINER}
        return {
            key: value
            for key, value in asdict(self).items()
            if key not in RECIPE_ADDITIONS or (value is not None and value is not False)
        }


@dataclass(frozen=True)
class Perturbation:
    """A kind of label error, its size, and how often it is drawn.

    Attributes:
        kind: one of `labels.perturbations.KINDS`, or a function of the user's own.
        target_dice: label Dice for which calibration solves the severity, or None.
        severity: the kind's own parameter, instead of a target, or None.
        draws: realisations that are cycled over the epochs, or "per_epoch" for fresh ones.
        code: digest of the user's own code, or None.
        settings: what else the kind takes, see the schema; of a `mixture` or `consensus` also the
            definitions of the errors that it is `of`, by name.
    """

    kind: str
    target_dice: float | None = None
    severity: float | None = None
    draws: int | str = 1
    code: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, definition: Mapping[str, Any], code: str | None = None) -> Self:
        """Return the perturbation that an entry of the config's `perturbations` defines.

        Args:
            definition: the entry, completed.
            code: digest of the user's own code.
        """
        given = {key: definition[key] for key in ERROR_KEYS if key in definition}
        return cls(**given, code=code, settings=error_settings(definition))

    def family(self, name: str) -> str:
        """Return what errors have in common that tables show as sizes of one, given its name."""
        return error_family(name, self.kind, self.settings)

    @property
    def errors(self) -> dict[str, Self]:
        """Of a mixture or consensus, the errors that it is of, by name."""
        if self.kind not in COMPOSED:
            return {}
        return {name: type(self)(**definition) for name, definition in self.settings["of"].items()}

    @property
    def is_control(self) -> bool:
        """Whether this leaves labels as they are."""
        return self.kind == "control"

    def as_dict(self) -> dict[str, Any]:
        """Return the definition in its canonical form; what was not given is None.

        Only a kind of the user's own has the key `code`, and only one with settings `settings`.
        """
        definition = asdict(self)
        return {
            key: value
            for key, value in definition.items()
            if value or key not in ("code", "settings")
        }


@dataclass(frozen=True)
class Claim:
    """A statement about one cell, or about two, that scores support, refute or leave undecided.

    Attributes:
        name: of its definition, which may make a claim about each of several cells.
        kind: `costs`, `harmless`, `worse`, `slope`, `threshold` or `helps`.
        dataset, model, recipe: where it is about.
        error: the perturbation, of `helps` perhaps the control; of a slope the kind of error, see
            `Perturbation.family`.
        draws: of a slope, how these errors are drawn, as text; None where all of the study's errors
            of the kind are drawn alike, and for other claims.
        structure: the structure, or None for each of the dataset.
        than: model, recipe and perturbation of the other cell of the kinds `worse` and `helps`,
            else None.
        margin: Dice that `harmless` stays below.
        above, below: number that the slope is compared with, one of the two.
        share: of the loss, that another threshold gives back at least.
        at: that threshold, or the one at which `helps` takes the cell's Dice, one of
            `histograms.THRESHOLDS`, or None.
        measure: what is lost, a key of `contrasts.MEASURES`.
    """

    name: str
    kind: str
    dataset: str
    model: str
    recipe: str
    error: str
    draws: str | None = None
    structure: str | None = None
    than: tuple[str, str, str] | None = None
    margin: float | None = None
    above: float | None = None
    below: float | None = None
    share: float | None = None
    at: str | None = None
    measure: str = "dice"


@dataclass(frozen=True)
class Task:
    """A training: everything that determines its result, except device and versions.

    Attributes:
        run: which run it is.
        model, recipe: their definitions.
        seed: the study's seed.
        dataset, labels: the HDF5 files.
    """

    run: Run
    model: Model
    recipe: Recipe
    seed: int
    dataset: Path
    labels: Path


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the kept checkpoints, top1.pt ..."""
        return self.path / "checkpoints"

    def checkpoint(self, rank: int) -> Path:
        """Return the kept checkpoint of a rank, 1 for the best by the recipe's monitor."""
        return self.checkpoints / CHECKPOINT.format(rank=rank)

    @property
    def predictions(self) -> Path:
        """What a trainer predicts, in place of checkpoints; see `training.trainers.predictions`."""
        return self.checkpoints / "predictions.h5"

    def kept_checkpoints(self) -> dict[int, Path]:
        """Return {rank: path} of the kept checkpoints that exist, the best first."""
        paths = ((rank, self.checkpoint(rank)) for rank in count(1))
        return dict(takewhile(lambda found: found[1].exists(), paths))

    @property
    def history(self) -> Path:
        """Metrics per epoch; nothing in it depends on the clock."""
        return self.path / "history.csv"

    @property
    def timing(self) -> Path:
        """Seconds per epoch."""
        return self.path / "timing.csv"

    @property
    def record(self) -> Path:
        """What the run was, where it ran, and which checkpoints it kept."""
        return self.path / "run.json"

    @property
    def counts(self) -> Path:
        """True and false test pixels per slice and structure."""
        return self.path / "test.csv"

    @property
    def scores(self) -> Path:
        """Histograms of the scores of test and validation pixels."""
        return self.path / "scores.h5"

    @property
    def surfaces(self) -> Path:
        """How far predicted surfaces are from the true ones, per test case and structure."""
        return self.path / "surfaces.csv"

    @property
    def suspects(self) -> Path:
        """How suspicious the label of each slice is, and how wrong, by slice."""
        return self.path / "suspects.csv"

    @property
    def tested(self) -> tuple[Path, Path, Path]:
        """What a test writes."""
        return self.counts, self.scores, self.surfaces

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's folder."""
        return self.path / "tensorboard"

    @property
    def previews(self) -> Path:
        """Grids of validation predictions."""
        return self.path / "previews"

    @property
    def visualisations(self) -> Path:
        """Grids of predictions on the user's own pair of arrays."""
        return self.path / "viz"

    @property
    def session(self) -> Path:
        """The whole configuration of a run made by hand."""
        return self.path / "session.yaml"

    @property
    def state(self) -> Path:
        """Folder of what an interrupted training needs; removed when the run is complete."""
        return self.path / ".state"

    @property
    def saved_state(self) -> Path:
        """State of the training after its last whole epoch."""
        return self.state / "state.pt"

    @property
    def trainer(self) -> Path:
        """Folder of what a trainer reads and writes; a part of the state."""
        return self.state / "trainer"

    @property
    def lock(self) -> Path:
        """File locked by the process that trains the run."""
        return self.state / "lock"

    @property
    def progress(self) -> Path:
        """How far the training has come, rewritten after every epoch."""
        return self.state / "progress.json"


@dataclass(frozen=True)
class Results:
    """Where the files of a study are.

    Attributes:
        root: the study's results folder.
    """

    root: Path

    @property
    def dataset(self) -> Path:
        """Images, reference labels, cases and splits."""
        return self.root / "datasets/{dataset}.h5"

    @property
    def manifest(self) -> Path:
        """What a dataset was made from: its settings, and the names and digests of its source."""
        return self.root / "datasets/{dataset}.json"

    @property
    def seen(self) -> Path:
        """Files of a source that were read since, as their times had changed."""
        return self.root / "datasets/.{dataset}.seen.json"

    @property
    def given(self) -> Path:
        """Labels of the kind `given`, prepared; of a dataset with folds for all of them."""
        return self.root / "given/{dataset}/{perturbation}.h5"

    @property
    def given_manifest(self) -> Path:
        """What they were made from, as `manifest` for a dataset."""
        return self.root / "given/{dataset}/{perturbation}.json"

    @property
    def given_seen(self) -> Path:
        """Files of them that were read since, as their times had changed."""
        return self.root / "given/{dataset}/.{perturbation}.seen.json"

    @property
    def calibration(self) -> Path:
        """Severities of an error, per structure."""
        return self.root / "calibration/{dataset}/{perturbation}.json"

    @property
    def ceiling(self) -> Path:
        """What an ideal predictor scores that knows how often a pixel is foreground, no network."""
        return self.root / "ceiling/{dataset}/{perturbation}.csv"

    @property
    def labels(self) -> Path:
        """Perturbed labels of one repeat."""
        return self.root / f"labels/{LABELS}.h5"

    @property
    def measured(self) -> Path:
        """How wrong these labels are, per structure; written after them."""
        return self.root / f"labels/{LABELS}.json"

    @property
    def run(self) -> RunFolder:
        """The files of a run."""
        return RunFolder(self.root / "runs" / RUN)

    @property
    def mended_labels(self) -> Path:
        """Labels of a run whose first suspects are the reference's; see `labels.mending`."""
        return self.root / f"mended/{MENDED}.h5"

    @property
    def mended(self) -> RunFolder:
        """The files of the run that is trained on them."""
        return RunFolder(self.root / "mended" / MENDED)

    @property
    def bundle(self) -> Path:
        """Says that the runs of a bundle are trained and tested; see `jobs.bundles`."""
        return self.root / f".bundles/{BUNDLE}"

    def table(self, name: str) -> Path:
        """Return the path of a table of the whole study, such as runs.csv."""
        return self.root / "tables" / name

    @property
    def answer_page(self) -> Path:
        """The first page of the report: what the study says."""
        return self.table("answer.rst")

    def figure(self, name: str) -> Path:
        """Return the path of a figure, such as degradation.pdf or roc/{dataset}.png."""
        return self.root / "figures" / name

    def log(self, rule: str) -> Path:
        """Return the log of a rule's job, tracebacks included."""
        return self._per_job("logs", rule, ".log")

    def benchmark(self, rule: str) -> Path:
        """Return the file of a rule's time and memory, as Snakemake measures them."""
        return self._per_job("benchmarks", rule, ".jsonl")

    def _per_job(self, folder: str, rule: str, suffix: str) -> Path:
        name = f"{rule}/{JOBS[rule]}" if rule in JOBS else rule
        return self.root / folder / f"{name}{suffix}"

    @property
    def sessions(self) -> Path:
        """Results folders of single runs made by hand."""
        return self.root / "sessions"

    def session(self, name: str) -> "Results":
        """Return the results tree of a session."""
        return Results(self.sessions / name)

    def made_runs(self) -> list[Run]:
        """Return the runs that have a folder, in the order of their names."""
        runs = self.root / "runs"
        found = runs.glob("/".join(["*"] * len(Path(RUN).parts)))
        return [Run.parse(path.relative_to(runs).as_posix()) for path in sorted(found)]

    @property
    def lock(self) -> Path:
        """File locked by the Snakemake that makes the study."""
        return self.root / ".lock"

    @staticmethod
    def fill(pattern: Path, names: Run | Mapping[str, str]) -> Path:
        """Return a path with the names of a run, or those given, in place of its wildcards."""
        return Path(str(pattern).format(**asdict(names) if isinstance(names, Run) else names))

    def run_folder(self, run: Run) -> RunFolder:
        """Return the files of one run."""
        return RunFolder(self.fill(self.run.path, run))

    def mended_folder(self, run: Run, order: str) -> RunFolder:
        """Return the files of a run trained again, after labels were mended in an order."""
        return RunFolder(self.fill(self.mended.path, {**asdict(run), "order": order}))


@dataclass(frozen=True)
class Study:
    """A checked and completed configuration.

    Attributes:
        seed: root of every random stream.
        results: where its files are.
        datasets: {name: settings of its source}, of a dataset with folds also those of each fold.
        models, recipes, perturbations: {name: definition}, selected or not.
        matrix: {axis: selected names}, the axes in the order of AXES.
        repeats: independent replicates of every cell.
        questions: {name: definition} of the claims that the matrix asks.
        tolerances: {structure: distance up to which surfaces agree}, "*" for those not listed, in
            mm or, where the dataset has no spacing, in pixels.
        modules: {name: file} of the user's own code.
        given: {name: settings} of the perturbations that are given labels: where these are read
            from, see `given_settings`.
        baseline: the recipe that the others of the matrix, as mitigations, are held against, or
            None.
    """

    seed: int
    results: Results
    datasets: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Model]
    recipes: Mapping[str, Recipe]
    perturbations: Mapping[str, Perturbation]
    matrix: Mapping[str, tuple[str, ...]]
    repeats: int
    questions: Mapping[str, Mapping[str, Any]]
    tolerances: Mapping[str, float]
    modules: Mapping[str, Path] = field(default_factory=dict)
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    baseline: str | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any], modules: Mapping[str, Path] | None = None) -> Self:
        """Return the study of a configuration that `config.complete` returned.

        Args:
            config: the configuration.
            modules: what `find_modules` returned; None leaves out whose code it is.
        """
        modules = modules or {}
        codes = {name: digest_of(path) for name, path in modules.items()}
        return cls(
            seed=config["seed"],
            results=results_of(config),
            datasets=with_folds(config["datasets"]),
            models={
                name: Model.of(model | _model_code(model, codes))
                for name, model in config["models"].items()
            },
            recipes={name: Recipe(**recipe) for name, recipe in config["recipes"].items()},
            perturbations={
                name: _perturbation(error, config["perturbations"], codes)
                for name, error in config["perturbations"].items()
            },
            matrix={axis: tuple(config["matrix"][axis]) for axis in AXES},
            repeats=config["matrix"]["repeats"],
            questions={name: config["claims"][name] for name in config["matrix"]["claims"]},
            tolerances=config["tolerances"],
            modules=modules,
            given={
                name: {key: error[key] for key in READING_KEYS if key in error}
                for name, error in config["perturbations"].items()
                if error["kind"] == "given"
            },
            baseline=(config["mitigation"] or {}).get("baseline"),
        )

    @property
    def runs(self) -> list[Run]:
        """The runs of the matrix, the last axis and then the repeats changing fastest."""
        cells = product(self.folds, self.pairs, self.matrix["perturbation"], range(self.repeats))
        return [
            Run(fold, model, recipe, perturbation, repeat)
            for fold, (model, recipe), perturbation, repeat in cells
        ]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Model and recipe, for all of the matrix that go together, the recipe changing fastest."""
        return [
            (model, recipe)
            for model, recipe in product(self.matrix["model"], self.matrix["recipe"])
            if go_together(self.models[model].trainer, self.recipes[recipe].loss)
        ]

    @property
    def folds(self) -> list[str]:
        """The names that the matrix's datasets have in runs: of a dataset with folds, of each."""
        return [fold for name in self.matrix["dataset"] for fold in self.folds_of(name)]

    def folds_of(self, dataset: str) -> list[str]:
        """Return the names of the folds of a dataset, or its own name if it has none."""
        return fold_names(dataset, self.datasets[dataset])

    def task(self, run: Run) -> Task:
        """Return the training of a run, as the rule `train_model` has it."""
        return Task(
            run=run,
            model=self.models[run.model],
            recipe=self.recipes[run.recipe],
            seed=self.seed,
            dataset=self.results.fill(self.results.dataset, run),
            labels=self.results.fill(self.results.labels, run),
        )

    @property
    def claims(self) -> list[Claim]:
        """The claims that the matrix asks, of each cell and way of drawing they are about."""
        found = []
        for name, definition in self.questions.items():
            kept = ("kind", "structure", "margin", "above", "below", "share", "at")
            for cell, other in claim_cells(definition, self.matrix, self.pairs):
                parts: dict[str, Any] = {key: definition.get(key) for key in kept}
                parts["error"] = definition.get("perturbation") or definition["error"]
                parts["measure"] = definition.get("measure", "dice")
                parts |= {axis: cell[axis] for axis in ("dataset", "model", "recipe")}
                if "than" in definition:
                    parts["than"] = (other["model"], other["recipe"], other["perturbation"])
                found += [Claim(name, draws=draws, **parts) for draws in self._draws(definition)]
        return found

    def _draws(self, definition: Mapping[str, Any]) -> list[str | None]:
        """Return how the errors of a claim are drawn, where that has to be said."""
        if definition["kind"] != "slope":
            return [None]
        if "draws" in definition:
            return [str(definition["draws"])]
        drawn = {draws for _, kind, draws in self.drawn if kind == definition["error"]}
        return [*sorted(drawn, key=draws_order)] if len(drawn) > 1 else [None]

    @property
    def errors(self) -> list[str]:
        """Perturbations of the matrix that are errors, not controls."""
        return [
            name for name in self.matrix["perturbation"] if not self.perturbations[name].is_control
        ]

    def given_in(self, perturbation: str) -> list[str]:
        """Return the given labels that a perturbation takes: itself, or some that it is of."""
        parts = [perturbation, *self.perturbations[perturbation].errors]
        return [name for name in parts if name in self.given]

    def given_settings(self, dataset: str, name: str) -> dict[str, Any]:
        """Return the settings by which a dataset's source reads given labels.

        Args:
            dataset: its name without a fold.
            name: the perturbation.

        Raises:
            InputError: see `labelnoise.config.given.given_settings`.
        """
        settings = self.datasets[self.folds_of(dataset)[0]]
        return given_settings(dataset, settings, name, self.given[name])

    @property
    def drawn(self) -> list[tuple[str, str, str]]:
        """Name, family and draws, as text, of the matrix's perturbations, controls included."""
        chosen = ((name, self.perturbations[name]) for name in self.matrix["perturbation"])
        return [(name, error.family(name), str(error.draws)) for name, error in chosen]

    def examples(self) -> list[str]:
        """Return what pictures show: the matrix's controls, then its largest errors.

        That is one of each kind, and where errors of a kind are drawn in several ways, one of each.
        """
        largest: dict[tuple[str, int | str], tuple[float, str]] = {}
        for name in self.errors:
            error = self.perturbations[name]
            # A severity grows with the error, a label Dice falls with it.
            size = error.severity or 0 if error.target_dice is None else -error.target_dice
            key = (error.family(name), error.draws)
            largest[key] = max(largest.get(key, (size, name)), (size, name))
        controls = [name for name in self.matrix["perturbation"] if name not in self.errors]
        return controls + [name for _, name in largest.values()]


def _perturbation(error, defined, codes):
    """Return the Perturbation of a definition, with those of the errors that it is of."""
    perturbation = Perturbation.of(error, _code(error["kind"], codes).get("code"))
    if error["kind"] not in COMPOSED:
        return perturbation
    errors = {name: _perturbation(defined[name], defined, codes) for name in error["of"]}
    components = {name: component.as_dict() for name, component in errors.items()}
    return replace(perturbation, settings={**perturbation.settings, "of": components})


def draws_order(draws: str) -> tuple[bool, int]:
    """Return where draws, as text, stand among others: fixed, cycled, fresh each epoch."""
    fresh = draws == "per_epoch"
    return fresh, 0 if fresh else int(draws)


def results_of(config: Mapping[str, Any]) -> Results:
    """Return the results tree of a configuration, relative to where Snakemake runs."""
    return Results(Path(config.get("pathvars", {}).get("results", "results")))


def read_study(*paths: Path | str) -> Study:
    """Read a study from its configuration files, later ones over earlier; see `load_config`.

    Raises:
        InputError: see `load_config` and `find_modules`.
    """
    config = load_config(*paths)
    return Study.of(config, find_modules(config, paths))


def find_modules(config: Mapping[str, Any], files: Iterable[Path | str]) -> dict[str, Path]:
    """Find the user's own code that a configuration names.

    It is looked for beside the configuration files, the last one first, then in the working folder.

    Args:
        config: what `config.complete` returned.
        files: the files that it is from.

    Returns:
        {module: file} of all definitions whose file is there.

    Raises:
        InputError: the file of a definition that the matrix selects is not there.
    """
    places = [*(Path(file).parent for file in reversed([*files])), Path()]
    folders = list(dict.fromkeys(place.absolute() for place in places))
    named = {
        (axis, name): config[section][name][key]
        for axis, section, key in (
            ("model", "models", "network"),
            ("perturbation", "perturbations", "kind"),
        )
        for name in config[section]
        if is_own(config[section][name].get(key, ""))
    }
    found = find_own_files(named.values(), folders)
    for (axis, name), own in named.items():
        file = own_file(own)
        if Path(file).stem not in found and name in config["matrix"][axis]:
            key = "network" if axis == "model" else "kind"
            raise InputError(
                f"config key '{AXES[axis]}.{name}.{key}' names '{own}', but there is no {file} in "
                f"{' or '.join(map(str, folders))}; put it beside the "
                "config. No other module is used."
            )
    return found


def _model_code(model: Mapping[str, Any], codes: Mapping[str, str]) -> dict[str, str | None]:
    """Return the digest of the code that a model is the user's by: its network's or command's."""
    if model.get("trainer") == "command":
        return {"code": command_code(model["command"])}
    return _code(model.get("network", ""), codes)


def _code(name: str, codes: Mapping[str, str]) -> dict[str, str | None]:
    """Return what a definition has beside its keys in the config: the digest of its own code."""
    return {"code": codes.get(name.partition(".")[0])} if is_own(name) else {}
