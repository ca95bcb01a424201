import pytest
import yaml

from labelnoise.__main__ import main
from labelnoise.labels.raters import fitting
from labelnoise.study import read_study
from rater_folders import outlined, save
from workflow_runs import ROOT


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(fitting, "STEPS", 1)
    monkeypatch.setattr(fitting, "RATERS", 9)
    monkeypatch.setattr(fitting, "SAMPLES", 50)


def write(folder, number):
    for each in outlined(number):
        for rater, mask_ZHW in enumerate(each.masks_RZHW):
            save(folder / each.name / f"rater-{rater + 1}.nii.gz", mask_ZHW)


def test_a_folder_becomes_a_perturbation_a_figure_and_tables(tmp_path, capsys):
    write(tmp_path / "my nodules", 6)
    output = tmp_path / "out" / "raters.yaml"
    main(["fit-raters", str(tmp_path / "my nodules"), "-o", str(output), "--no-kinds"])
    (name, entry), *others = yaml.safe_load(output.read_text())["perturbations"].items()
    assert name == "my-nodules" and entry["kind"] == "rater" and not others
    assert output.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    said = capsys.readouterr()
    assert "people, 4 objects" in said.out and "people, 2 left out" in said.out
    assert str(tmp_path) not in output.read_text()
    assert "step 1: misfit" in said.err


def test_sizes_make_an_overlay_that_a_study_runs(tmp_path):
    write(tmp_path / "two", 4)
    output = tmp_path / "two.yaml"
    sizes = ["--sizes", "0.9", "0.85"]
    main(["fit-raters", str(tmp_path / "two"), "-o", str(output), "--no-kinds", *sizes])
    study = read_study(ROOT / "config.yaml", ROOT / "studies/demo.yaml", output)
    assert study.drawn == [
        ("control", "control", "1"),
        ("two-0.90", "two", "1"),
        ("two-0.85", "two", "1"),
    ]
    assert study.perturbations["two-0.85"].target_dice == 0.85
    assert study.perturbations["two"].settings == study.perturbations["two-0.90"].settings


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--held-out", "0.9"], "--held-out is 0.9"),
        (["--seed", "-1"], "--seed is -1"),
        (["--sizes", "0.9", "1"], "--sizes has 1.0"),
        (["--figure", "raters.svg"], ".pdf or .png"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path, arguments, words):
    write(tmp_path / "few", 3)
    output = tmp_path / "raters.yaml"
    with pytest.raises(SystemExit, match=words):
        main(["fit-raters", str(tmp_path / "few"), "-o", str(output), "--no-kinds", *arguments])
    assert not output.exists()


def test_no_folder_and_a_name_that_is_taken_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="no folder"):
        main(["fit-raters", str(tmp_path / "none"), "-o", str(tmp_path / "a.yaml")])
    (tmp_path / "a.yaml").touch()
    with pytest.raises(SystemExit, match=r"a\.yaml is there already"):
        main(["fit-raters", str(tmp_path), "-o", str(tmp_path / "a.yaml")])
