"""What a study of patients leaves behind names none of them, but in the dataset file.

The study has folds and runs in this process, from NIfTI files to the sentences of its answer.
"""

import json
import logging
import zipfile
from contextlib import contextmanager
from types import SimpleNamespace

import h5py
import matplotlib.text
import numpy as np
import pytest

import prepare_dataset as prepare_script
from labelnoise.config import complete
from labelnoise.data.storage import Dataset
from labelnoise.evaluation.claims import judge
from labelnoise.evaluation.score import score_run
from labelnoise.evaluation.tables import degradation_table, study_tables
from labelnoise.evaluation.thresholds import thresholds_table
from labelnoise.files import write_csv, write_text
from labelnoise.labels.dataset import calibrate_dataset, perturb_dataset
from labelnoise.report.answer import answer_markdown, answer_of, answer_page
from labelnoise.report.figures.canvas import save_all
from labelnoise.report.figures.predictions import draw_predictions, predicted_rows
from labelnoise.report.render import claims_tables, degradation_tables, note_folds, write_tables
from labelnoise.report.style import perturbations
from labelnoise.study import Study, Task
from labelnoise.training.checkpoints import load_run
from labelnoise.training.run import Extras, train_run
from tiny import CPU, MODEL, RECIPE
from volume_files import save
from workflow_runs import changed, job_counts, snakemake

# Names and ids as hospitals write them, all parts too long to occur by chance.
PATIENTS = ["DOERING^JANINE Q7731-4", "ROEMER^RICHARD X-2290", "MUSTER^MAXINE A-88-17"]
PATIENTS += ["POELZIG^ANNEKE B-47-11", "LOWELL^LEANDER K08-15", "FOXTON^IDALINE Z-1909-3"]
PARTS = {part for name in PATIENTS for part in [name, *name.replace("^", " ").split()]}
# The folder that the config names by its whole path.
KEEPER = "DR^STRANGELOVE"
ERRORS = {"control": {"kind": "control"}, "choppy": {"kind": "choppy", "severity": 1}}


@contextmanager
def kept_loggers():
    """Put the root logger back, which a job's log takes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)


class Names(dict):
    """Wildcards as Snakemake has them, by key and as attributes."""

    __getattr__ = dict.__getitem__


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The results folder of a study of these patients in two folds, and its tables."""
    home = tmp_path_factory.mktemp("study")
    source, rng = home / KEEPER / "scans", np.random.default_rng(0)
    for name in [*PATIENTS, "UNLABELLED^UNA"]:
        labels = np.zeros((2, 16, 16), np.uint8)
        row, column = rng.integers(2, 6, 2)
        labels[:, row : row + 8, column : column + 7] = 1
        images = (100 * labels + rng.normal(0, 20, labels.shape)).astype(np.int16)
        save(source / name / f"volume-{name}.nii.gz", images)
        if name in PATIENTS:
            save(source / name / f"segmentation-{name}.nii.gz", labels)
    study = make_study(source, home / "results")
    for fold in study.folds:
        prepare(study, fold)
        for error in ERRORS:
            make_labels(study, fold, error)
    for run in study.runs:
        train_and_test(study, run)
    return study, *summarise(study)


def make_study(source, results):
    patterns = {part: rf"{part}-(.+)\.nii\.gz" for part in ("volume", "segmentation")}
    scans = {"source": "nifti", "folder": str(source), "window": [-50, 150], "unlabelled": "skip"}
    scans |= {"images": patterns["volume"], "labels": patterns["segmentation"]}
    scans |= {"classes": {"liver": [1]}, "split": {"folds": 2, "validation": 0.4}}
    config = {
        "seed": 3,
        "pathvars": {"results": str(results)},
        "datasets": {"scans": scans},
        "models": {"small": MODEL},
        "recipes": {"short": RECIPE | {"epochs": 2}},
        "perturbations": ERRORS,
        "claims": {"costs": {"kind": "costs", "perturbation": "choppy"}},
    }
    matrix = {"dataset": ["scans"], "model": ["small"], "recipe": ["short"], "repeats": 2}
    return Study.of(complete(config | {"matrix": matrix | {"perturbation": [*ERRORS]}}))


def prepare(study, fold):
    """Make a fold's dataset file as its job does, log included."""
    results, names = study.results, {"dataset": fold}
    first = results.fill(results.dataset, {"dataset": study.folds[0]})
    job = {
        "input": SimpleNamespace(slices=[] if fold == study.folds[0] else str(first)),
        "output": SimpleNamespace(dataset=str(results.fill(results.dataset, names))),
        "wildcards": Names(names),
        "params": SimpleNamespace(settings=study.datasets[fold], seed=study.seed, source="word"),
        "config": {"pathvars": {"results": str(results.root)}},
        "log": [str(results.fill(results.log("prepare_dataset"), names))],
    }
    with kept_loggers():
        prepare_script.main(SimpleNamespace(threads=1, **job))


def make_labels(study, fold, error):
    results, names = study.results, {"dataset": fold, "perturbation": error}
    dataset, calibration = (
        results.fill(path, names) for path in (results.dataset, results.calibration)
    )
    calibrate_dataset(dataset, error, study.perturbations[error], study.seed, calibration)
    for repeat in range(study.repeats):
        labels, measured = (
            results.fill(path, names | {"repeat": str(repeat)})
            for path in (results.labels, results.measured)
        )
        perturb_dataset(
            dataset,
            calibration,
            study.perturbations[error],
            repeat=repeat,
            seed=study.seed,
            labels=labels,
            measured=measured,
        )


def train_and_test(study, run):
    results = study.results
    files = {"dataset": results.fill(results.dataset, run)}
    files["labels"] = results.fill(results.labels, run)
    model, recipe = study.models[run.model], study.recipes[run.recipe]
    folder = results.run_folder(run)
    train_run(Task(run, model, recipe, study.seed, **files), folder, CPU, Extras(preview_every=1))
    score_run(files["dataset"], files["labels"], folder, CPU, study.tolerances)


def summarise(study):
    """Write tables, the answer and a figure of the study; return runs, cases, cells and claims."""
    results, table = study.results, study.results.table
    runs, cases = study_tables(study.runs, results)
    cells, thresholds = degradation_table(runs, cases), thresholds_table(runs, cases)
    claims = judge(study.claims, runs, cases, study.repeats)
    found = {"runs": runs, "cases": cases, "degradation": cells, "claims": claims}
    for name, content in (found | {"thresholds": thresholds}).items():
        write_csv(table(f"{name}.csv"), content)
    printed = note_folds(degradation_tables(cells), runs)
    write_tables(printed, table("degradation.md"), table("degradation.tex"))
    answer = answer_of(claims, thresholds, runs, {"scans": "nifti"}, 0)
    write_text(table("answer.md"), answer_markdown(answer))
    write_text(results.answer_page, answer_page(answer, claims_tables(claims), b""))
    first = [run for run in study.runs if run.dataset == study.folds[0] and run.repeat == 0]
    with Dataset(results.fill(results.dataset, first[0])) as data:
        networks = {run.perturbation: load_run(results.run_folder(run).path) for run in first}
        figure = draw_predictions(*predicted_rows(data, networks, perturbations(study.drawn)))
    words = [text.get_text() for text in figure.findobj(matplotlib.text.Text)]
    assert "case00" in " ".join(words) and not named("\n".join(words))
    save_all(figure, [str(results.figure(f"predictions.{kind}")) for kind in ("pdf", "png")])
    return tuple(found.values())


def named(text):
    """Return which parts of patients' names and ids are in a text."""
    return [part for part in [*PARTS, KEEPER, "UNLABELLED"] if part in text]


def contents(path):
    """Yield all text that a file holds, unpacked where it is a zip or HDF5 file."""
    yield path.read_bytes().decode("latin-1")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            yield from (file.read(name).decode("latin-1") for name in file.namelist())
    elif path.suffix == ".h5":
        with h5py.File(path) as file:
            everything = [file]
            file.visititems(lambda _, item: everything.append(item))
            for item in everything:
                yield from (f"{name} {value}" for name, value in item.attrs.items())
                if isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype):
                    yield "\n".join(item.asstr()[:])


def test_no_file_but_the_dataset_names_a_patient(shared):
    study = shared[0]
    dataset = study.results.fill(study.results.dataset, {"dataset": study.folds[0]})
    files = [path for path in study.results.root.rglob("*") if path.is_file()]
    kinds = {"".join(path.suffixes[-1:]) for path in files}
    assert kinds >= {".h5", ".json", ".csv", ".pt", ".png", ".pdf", ".md", ".rst", ".log", ".tex"}
    found = {path: named("\n".join(contents(path))) for path in files}
    manifest = study.results.fill(study.results.manifest, {"dataset": study.folds[0]})
    assert {path for path, names in found.items() if names} == {dataset, manifest}
    with Dataset(dataset) as data:
        assert sorted(data.source_cases().values()) == sorted(PATIENTS)
        assert KEEPER not in found[dataset] and "in scans" in data.provenance["what"]
    assert "case001" in study.results.table("cases.csv").read_text()


def test_the_log_counts_who_has_no_label(shared):
    results = shared[0].results
    log = results.fill(results.log("prepare_dataset"), {"dataset": "scans@fold0"}).read_text()
    assert "1 of 7 images have no label and are left out" in log and "case006, 6 of 6" in log


def test_each_case_is_tested_once_in_each_repeat(shared):
    study, runs, cases, cells, claims = shared
    assert len(runs) == len(study.runs) == 8 and set(runs["dataset"]) == {"scans"}
    for _, cell in cases.groupby(["perturbation", "repeat"]):
        assert sorted(cell["case"]) == [f"case00{number}" for number in range(1, 7)]
    for row in cells.to_dict("records"):
        assert (row["n"], row["cases"]) == (2, 6)
        mine = cases[cases["perturbation"] == row["perturbation"]]
        sums = mine.groupby("repeat")[["tp", "fp", "fn"]].sum()
        dice = 2 * sums["tp"] / (2 * sums["tp"] + sums["fp"] + sums["fn"])
        assert row["dice_mean"] == pytest.approx(dice.mean())
    (claim,) = claims.to_dict("records")
    assert (claim["dataset"], claim["n"], claim["cases"], claim["gap"]) == ("scans", 2, 6, "")


def test_what_folds_leave_out_is_said(shared):
    results = shared[0].results
    for name in ("answer.md", "degradation.md"):
        assert "networks of different folds share training cases" in results.table(name).read_text()


def test_folds_are_a_factor_of_the_workflow(tmp_path):
    path, names = tmp_path / "splits_final.json", [f"phantom-{number:03d}" for number in range(6)]
    halves = [{"train": names[:3], "val": names[3:]}, {"train": names[3:], "val": names[:3]}]
    path.write_text(json.dumps(halves))
    data = {"source": "phantom", "cases": 6, "size": 32, "split": {"file": path.name, "folds": 2}}
    study = changed(datasets={"tiny": data})
    counts = job_counts(snakemake(tmp_path, study, "--dry-run"))
    assert counts["prepare_dataset"] == 2 and counts["perturb_labels"] == 8
    assert counts["train_model"] == counts["test_model"] == 8
    # Figures are of the dataset.
    assert counts["plot_roc"] == counts["plot_perturbations"] == counts["plot_predictions"] == 1
    target = "results/datasets/tiny@fold1.h5"
    done = snakemake(tmp_path, study, target)
    assert done.returncode == 0, done.stderr
    with Dataset(tmp_path / target) as dataset:
        assert set(dataset.case[dataset.rows("test")]) == set(names[:3])
    # Another split is another dataset.
    path.write_text(json.dumps(halves[::-1]))
    assert job_counts(snakemake(tmp_path, study, target, "--dry-run"))["prepare_dataset"] == 2
