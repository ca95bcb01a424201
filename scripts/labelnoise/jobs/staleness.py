"""Whether what a run was made from is still what the config and the source data say.

It is what Snakemake would find, from the study's own files: definitions and seeds that they hold,
the manifest of each dataset, and whether a file that a run was trained on is newer than the run.
What a file does not hold, such as one of an older version, is not held against it.
"""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from labelnoise.consistency import definition_facts, differences
from labelnoise.errors import InputError
from labelnoise.files import read_json, sha256_of
from labelnoise.folds import base_of
from labelnoise.manifest import Manifest, source_state
from labelnoise.seeds import training_seed
from labelnoise.study import Run, Study

# Bytes up to which Snakemake compares an input by content; a larger one is changed if it is newer.
SMALL = 1_000_000


class Staleness:
    """Finds what changed since the files of a study were made; looks at each file once."""

    def __init__(self, study: Study):
        self.study, self.results = study, study.results
        # Many runs share them.
        self._dataset = cache(self._of_dataset)
        self._calibration = cache(self._of_calibration)
        self._given = cache(self._of_given)
        self._labels = cache(self._of_labels)
        self._modified = cache(_modified)

    def of_run(self, run: Run, record: Mapping[str, Any]) -> str | None:
        """Return in words what has changed since a run was trained; None if nothing has.

        Model and recipe are not looked at.

        Args:
            run: the run.
            record: its run.json.
        """
        labels = (run.dataset, run.perturbation, run.repeat)
        return (
            self._dataset(run.dataset)
            or self._labels(*labels)
            or self._of_seed(run, record)
            or self._of_inputs(run, record)
        )

    def _of_dataset(self, dataset: str) -> str | None:
        # Of folds the first alone is made from the source.
        dataset = self.study.folds_of(base_of(dataset))[0]
        manifest = Manifest.read(self.results.fill(self.results.manifest, {"dataset": dataset}))
        if manifest is None:
            return None
        settings = self.study.datasets[dataset]
        if changed := self._differences(dataset, manifest.settings, settings, manifest.seed):
            return changed
        change = source_state(settings, self.results, dataset).change
        return f"source data of {dataset}: {change}" if change else None

    def _of_calibration(self, dataset: str, perturbation: str) -> str | None:
        names = {"dataset": dataset, "perturbation": perturbation}
        record = _read(self.results.fill(self.results.calibration, names))
        if changed := self._of_perturbation(record, perturbation):
            return changed
        for name in self.study.given_in(perturbation):
            if changed := self._given(base_of(dataset), name):
                return changed
            path = self.results.fill(
                self.results.given, {**names, "dataset": base_of(dataset), "perturbation": name}
            )
            used = record.get("given", {}).get(name)
            if used is not None and path.exists() and used != sha256_of(path):
                return f"{path} is not the one that the labels were made with"
        return None

    def _of_given(self, dataset: str, name: str) -> str | None:
        path = self.results.fill(
            self.results.given_manifest, {"dataset": dataset, "perturbation": name}
        )
        manifest = Manifest.read(path)
        if manifest is None:
            return None
        settings = self.study.given_settings(dataset, name)
        found = manifest.settings
        if changed := self._differences(f"{dataset}, {name}", found, settings, manifest.seed):
            return changed
        change = source_state(settings, self.results, dataset, name).change
        return f"given labels {name} of {dataset}: {change}" if change else None

    def _of_labels(self, dataset: str, perturbation: str, repeat: int) -> str | None:
        if changed := self._calibration(dataset, perturbation):
            return changed
        names = {"dataset": dataset, "perturbation": perturbation, "repeat": str(repeat)}
        record = _read(self.results.fill(self.results.measured, names))
        if changed := self._of_perturbation(record, perturbation):
            return changed
        calibration = self.results.fill(self.results.calibration, names)
        used = record.get("calibration")
        if used is None or not calibration.exists() or used == sha256_of(calibration):
            return None
        return f"{calibration} is not the one that the labels were made with"

    def _of_perturbation(self, record: Mapping[str, Any], perturbation: str) -> str | None:
        if not {"definition", "seed"} <= record.keys():
            return None
        wanted = self.study.perturbations[perturbation].as_dict()
        return self._differences(perturbation, record["definition"], wanted, record["seed"])

    def _of_seed(self, run: Run, record: Mapping[str, Any]) -> str | None:
        seed = training_seed(self.study.seed, run.model, run.repeat)
        if record.get("training_seed", seed) != seed:
            return f"training_seed {record['training_seed']} instead of {seed} by the config"
        return None

    def _of_inputs(self, run: Run, record: Mapping[str, Any]) -> str | None:
        """Return which file is newer than the run and, if small, not the same."""
        trained = _modified(self.results.run_folder(run).record)
        digests = record.get("digests", {})
        names = {key: str(value) for key, value in asdict(run).items()}
        for key, pattern in (("dataset", self.results.dataset), ("labels", self.results.labels)):
            path = self.results.fill(pattern, names)
            modified = self._modified(path)
            if not modified or not trained or modified <= trained:
                continue
            if path.stat().st_size > SMALL or sha256_of(path) != digests.get(key):
                return f"{path} is newer than the run"
        return None

    def _differences(
        self, name: str, found: Mapping[str, Any], wanted: Mapping[str, Any], seed: int
    ) -> str:
        """Return how a definition and the seed differ from the config's; empty if they do not."""
        changed = differences(
            {**definition_facts({name: found}), "seed": str(seed)},
            {**definition_facts({name: wanted}), "seed": str(self.study.seed)},
        )
        return f"{changed} in the config" if changed else ""


def _read(path: Path) -> dict[str, Any]:
    """Return a record; empty where it is missing or damaged, which the job that needs it says."""
    try:
        return read_json(path)
    except InputError:
        return {}


def _modified(path: Path) -> int | None:
    """Return the modification time of a file in ns; None if there is none."""
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None
