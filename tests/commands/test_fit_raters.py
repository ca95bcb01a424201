import pytest
import yaml

from labelnoise.__main__ import main
from labelnoise.labels.raters import fitting
from rater_folders import outlined, save


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--held-out", "0.9"], "--held-out is 0.9"),
        (["--seed", "-1"], "--seed is -1"),
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
