"""`labelnoise perturb`: files, folders and datasets of nnU-Net, and what Python makes of these."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

import labelnoise
from labelnoise.__main__ import main
from labelnoise.files import read_json
from volume_files import save

SPACING = (3.0, 0.8, 0.7)


def organ(radius=9.0, depth=6, values=(1,)):
    """An ellipsoid in each half of the slices, one for each value."""
    z, y, x = np.indices((depth, 30, 40 * len(values)))
    labels = np.zeros(z.shape, np.uint8)
    for number, value in enumerate(values):
        inside = (2 * (z - depth // 2)) ** 2 + (y - 15) ** 2 + (x - 20 - 40 * number) ** 2
        labels[inside <= radius**2] = value
    return labels


def dice(reference, wrong):
    return 2 * (reference & wrong).sum() / (reference.sum() + wrong.sum())


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def run(capsys, *arguments):
    """What the command prints."""
    main(["perturb", *map(str, arguments)])
    return capsys.readouterr().out


def refused(capsys, *arguments):
    """The sentence with which the command ends, and nothing else said."""
    with pytest.raises(SystemExit) as ended:
        main(["perturb", *map(str, arguments)])
    assert capsys.readouterr().out == ""
    assert "\n" not in ended.value.code
    return ended.value.code


RATER = ("--kind", "rater", "--dice", "0.85", "--seed", "3")


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_file_becomes_what_python_makes_of_its_slices(tmp_path, capsys, ending):
    labels = organ(values=(5, 200))
    path = save(tmp_path / f"a{ending}", labels, spacing=SPACING)
    output = tmp_path / "new" / f"wrong{ending}"
    said = run(capsys, path, "-o", output, *RATER, "--set", "bias_share=1", "length=4")
    wrong = read(output)
    expected = labelnoise.perturb(
        labels, "rater", dice=0.85, spacing=SPACING, seed=3, bias_share=1, length=4
    )
    np.testing.assert_array_equal(wrong, expected)
    found = [dice(labels == value, wrong == value) for value in (5, 200)]
    assert said.startswith(f"{output}: value 5 label Dice {found[0]:.3f} (severity ")
    assert f"; value 200 label Dice {found[1]:.3f} (severity " in said
    again = tmp_path / f"again{ending}"
    run(capsys, path, "-o", again, *RATER, "--set", "bias_share=1", "--set", "length=4")
    assert again.read_bytes() == output.read_bytes()


def test_a_picture_has_the_spacing_that_is_said(tmp_path, capsys):
    mask = organ(depth=1)[0] * 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    said = run(capsys, tmp_path / "m.png", "-o", f"{tmp_path}/out/", "--kind", "bias", "--severity",
               "1", "--spacing", "0.5", "0.5")  # fmt: skip
    wrong = np.asarray(Image.open(tmp_path / "out" / "m.png"))
    expected = labelnoise.perturb(mask, "bias", severity=1, spacing=(0.5, 0.5))
    np.testing.assert_array_equal(wrong, expected)
    # Two pixels to each side.
    assert (wrong[15] == 255).sum() == (mask[15] == 255).sum() + 4
    assert f"value 255 label Dice {dice(mask > 0, wrong > 0):.3f} (severity 1)" in said


def test_an_error_of_a_config(tmp_path, capsys):
    path, output = save(tmp_path / "a.nii", organ(), spacing=SPACING), tmp_path / "b.nii"
    entry = "kind: rater, bias_share: 1, mean: 0.5, target_dice: 0.8, draws: per_epoch"
    config = tmp_path / "study.yaml"
    config.write_text(f"perturbations: {{thick: {{{entry}}}, none: {{kind: control}}}}")
    expected = {"bias_share": 1, "mean": 0.5}
    bare = tmp_path / "raters.yaml"
    for text in (f"{{{entry}}}", f"people: {{{entry}}}"):
        bare.write_text(text)
        run(capsys, path, "-o", output, "--error", bare)
        found = labelnoise.perturb(organ(), "rater", dice=0.8, spacing=SPACING, **expected)
        np.testing.assert_array_equal(read(output), found)
    run(
        capsys, path, "-o", output, "--error", config, "thick", "--severity", "1", "--set", "mean=0"
    )
    found = labelnoise.perturb(organ(), "rater", severity=1, spacing=SPACING, bias_share=1)
    np.testing.assert_array_equal(read(output), found)
    for arguments, says in (
        (["--error", config], "defines 2 perturbations, expected one; name one of: thick, none."),
        (["--error", config, "thin"], "defines no perturbation 'thin'"),
        (["--error", config, "thick", "thin"], "--error takes a file and at most one name"),
        (["--error", config, "none"], "the kind is 'control', expected one of"),
        (["--error", config, "thick", "--kind", "bias"], "one of --kind and --error"),
        (["--dice", "0.9"], "one of --kind and --error"),
        (["--error", tmp_path / "none.yaml"], "none.yaml cannot be read"),
    ):
        assert says in refused(capsys, path, "-o", tmp_path / "c.nii", *arguments)


def write_folder(folder, radii=(6, 8, 10, 11)):
    for number, radius in enumerate(radii):
        save(folder / "sub" / f"c{number}.nii.gz", organ(radius), spacing=SPACING)
    save(folder / "none.nii.gz", organ() * 0, spacing=SPACING)
    (folder / "notes.txt").write_text("no labels")
    return folder


def test_a_folder_has_one_severity_and_each_file_alone_with_each(tmp_path, capsys):
    folder = write_folder(tmp_path / "in")
    said = run(capsys, folder, "-o", tmp_path / "all", *RATER)
    record = read_json(tmp_path / "all" / "labelnoise.json")
    assert sorted(record["cases"]) == ["none", "sub/c0", "sub/c1", "sub/c2", "sub/c3"]
    pairs = {
        name: (read(folder / each["file"]), read(tmp_path / "all" / each["file"]))
        for name, each in record["cases"].items()
    }
    reference, wrong = (np.stack(each) for each in zip(*pairs.values(), strict=True))
    pooled = dice(reference == 1, wrong == 1)
    assert pooled == pytest.approx(0.85, abs=0.002)
    about = record["structures"]["value 1"]
    assert about["label_dice"] == pytest.approx(pooled)
    assert said == (
        f"{tmp_path}/all: 5 files; value 1 label Dice {pooled:.3f} "
        f"(severity {about['severity']:.4g})\n"
    )
    assert not read(tmp_path / "all" / "none.nii.gz").any()
    spread = set()
    for name, case in record["cases"].items():
        for each in case["structures"].values():
            assert each["severity"] == about["severity"]
            assert each["label_dice"] == pytest.approx(
                dice(pairs[name][0] == 1, pairs[name][1] == 1)
            )
            spread.add(round(each["label_dice"], 2))
    assert len(spread) > 1

    run(capsys, folder, "-o", tmp_path / "each", *RATER, "--each")
    record = read_json(tmp_path / "each" / "labelnoise.json")
    assert record["dice_of"] == "each file"
    for case in record["cases"].values():
        for each in case["structures"].values():
            assert each["label_dice"] == pytest.approx(0.85, abs=0.003)


def test_a_record_is_enough_to_make_a_file_again(tmp_path, capsys):
    folder = write_folder(tmp_path / "in")
    run(capsys, folder, "-o", tmp_path / "out", *RATER)
    record = read_json(tmp_path / "out" / "labelnoise.json")
    assert record["labelnoise"] == labelnoise.__version__
    case = record["cases"]["sub/c2"]
    found = labelnoise.perturb(
        organ(10),
        record["kind"],
        severity=case["structures"]["value 1"]["severity"],
        seed=case["seed"],
        draw=record["draw"],
        spacing=SPACING,
        **record["settings"],
    )
    np.testing.assert_array_equal(found, read(tmp_path / "out" / case["file"]))
    # No other file changes what is drawn for it.
    shutil.rmtree(folder / "sub")
    save(folder / "sub" / "c2.nii.gz", organ(10), spacing=SPACING)
    run(capsys, folder, "-o", tmp_path / "one", "--kind", "rater", "--seed", "3", "--severity",
        str(case["structures"]["value 1"]["severity"]))  # fmt: skip
    one, before = (tmp_path / name / case["file"] for name in ("one", "out"))
    assert one.read_bytes() == before.read_bytes()


def test_a_pattern_chooses_files(tmp_path, capsys):
    for name in ("volume-1.nii", "segmentation-1.nii", "segmentation-2.nii"):
        save(tmp_path / "in" / name, organ(), spacing=SPACING)
    size = ("--kind", "natural", "--severity", "1")
    run(capsys, tmp_path / "in", "-o", tmp_path / "out", *size, "--pattern", "segmentation-*")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "segmentation-1.nii",
        "segmentation-2.nii",
        "labelnoise.json",
    }


# nnU-Net


def write_dataset(folder, labels=None, ending=".nii.gz"):
    about = {
        "channel_names": {"0": "CT"},
        "labels": labels or {"background": 0, "liver": 2, "spleen": 5, "ignore": 6},
        "numTraining": 3,
        "file_ending": ending,
    }
    for name, part in (("a", "Tr"), ("b", "Tr"), ("c", "Tr"), ("t", "Ts")):
        voxels = organ(8 + "abct".index(name), values=(2, 5))
        voxels[:, :6] = 6
        save(folder / f"labels{part}" / f"{name}{ending}", voxels, spacing=SPACING)
        image = voxels.astype(np.float32) + 0.25
        save(folder / f"images{part}" / f"{name}_0000{ending}", image, spacing=SPACING)
    (folder / "labelsTr" / "a.json").write_text("{}")
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_dataset_of_nnunet_has_wrong_training_labels_and_else_what_it_had(tmp_path, capsys):
    folder = write_dataset(tmp_path / "Dataset001_A")
    output = tmp_path / "Dataset101_A"
    said = run(capsys, folder, "-o", output, *RATER)
    assert files_of(output) == files_of(folder) | {"labelnoise.json"}
    wrong = {"labelsTr/a.nii.gz", "labelsTr/b.nii.gz", "labelsTr/c.nii.gz"}
    for name in files_of(folder):
        assert ((folder / name).read_bytes() != (output / name).read_bytes()) == (name in wrong)
    # Linked, but not what may be edited.
    image = "imagesTr/a_0000.nii.gz"
    assert (folder / image).samefile(output / image)
    assert not (folder / "dataset.json").samefile(output / "dataset.json")
    record = read_json(output / "labelnoise.json")
    assert (record["ignore"], record["kind"], record["seed"]) == ([6], "rater", 3)
    assert {each["file"] for each in record["cases"].values()} == wrong
    reference, perturbed = (
        np.stack([read(place / name) for name in sorted(wrong)]) for place in (folder, output)
    )
    np.testing.assert_array_equal(reference == 6, perturbed == 6)
    for name, value in (("liver", 2), ("spleen", 5)):
        found = dice(reference == value, perturbed == value)
        assert found == pytest.approx(0.85, abs=0.003)
        assert record["structures"][name]["label_dice"] == pytest.approx(found)
        assert f"{name} label Dice {found:.3f}" in said
    assert not list(tmp_path.glob(".*"))


def test_images_of_a_dataset_are_seen_where_the_error_looks_at_them(tmp_path, capsys):
    folder = write_dataset(tmp_path / "A")
    size = ("--kind", "spurious", "--severity", "2", "--set", "where=intensity")
    assert "3 files; liver label Dice" in run(capsys, folder, "-o", tmp_path / "B", *size)
    os.remove(folder / "imagesTr" / "b_0000.nii.gz")
    said = refused(capsys, folder, "-o", tmp_path / "C", *size)
    assert "labelsTr/b.nii.gz has no image of its name" in said
    # One file, and an image of another grid.
    labels, image = folder / "labelsTr" / "a.nii.gz", folder / "imagesTr" / "a_0000.nii.gz"
    run(capsys, labels, "-o", tmp_path / "w.nii", *size, "--image", image)
    save(tmp_path / "other.nii", organ(depth=4), spacing=SPACING)
    said = refused(
        capsys, labels, "-o", tmp_path / "w.nii", *size, "--image", tmp_path / "other.nii"
    )
    assert "the image's grid is" in said and "but its label's is" in said


def test_a_task_of_the_decathlon_is_a_dataset_too(tmp_path, capsys):
    folder = write_dataset(tmp_path / "Task03")
    about = {
        "labels": {"0": "background", "2": "liver", "5": "spleen", "6": "cancer"},
        "modality": {"0": "CT"},
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    said = run(capsys, folder, "-o", tmp_path / "Task33", "--kind", "choppy", "--severity", "1")
    assert "3 files; liver label Dice" in said and "cancer" in said


# Refusals


def test_mistakes_end_in_one_sentence_and_nothing_is_written(tmp_path, capsys):
    path = save(tmp_path / "in" / "a.nii.gz", organ(), spacing=SPACING)
    save(tmp_path / "in" / "image.nii.gz", organ().astype(np.int16) - 3)
    save(tmp_path / "empty" / "a.nii.gz", organ() * 0)
    (tmp_path / "bare").mkdir()
    Image.fromarray(organ(depth=1)[0]).save(tmp_path / "bare" / "p.jpg")
    dataset = write_dataset(tmp_path / "Dataset001_A")
    (tmp_path / "Dataset002_B").mkdir()
    out = tmp_path / "out.nii.gz"
    before = files_of(tmp_path)
    for arguments, says in (
        ([tmp_path / "none.nii", "-o", out, *RATER], "there is no "),
        ([path, "-o", path, *RATER], "is the input itself"),
        ([path, "-o", f"{path.parent}/", *RATER], "a.nii.gz is the input itself"),
        ([path, "-o", tmp_path / "out.nrrd", *RATER], "expected .nii.gz or .nii, the format of"),
        ([path, "-o", tmp_path / "out", *RATER], "ends in 'no suffix'"),
        ([path, "-o", out, "--kind", "rater"], "neither dice nor severity"),
        ([path, "-o", out, *RATER, "--severity", "1"], "both dice and severity"),
        ([path, "-o", out, "--kind", "rater", "--dice", "0"], "dice is 0.0"),
        ([path, "-o", out, "--kind", "rater", "--severity", "nan"], "'severity' is nan"),
        ([path, "-o", out, "--kind", "thick", "--dice", "0.9"], "the kind is 'thick'"),
        ([path, "-o", out, *RATER, "--set", "bias"], "--set got 'bias', expected NAME=VALUE"),
        ([path, "-o", out, *RATER, "--set", "gamma=1", "gamma=2"], "--set names gamma twice"),
        ([path, "-o", out, *RATER, "--set", "gamma=[1"], "whose value is not YAML"),
        ([path, "-o", out, *RATER, "--set", "gamma=much"], "'gamma' is 'much'"),
        ([path, "-o", out, *RATER, "--seed", "-1"], "the seed is -1"),
        ([path, "-o", out, *RATER, "--ignore", "-1"], "the value of --ignore is -1"),
        ([path, "-o", out, *RATER, "--spacing", "1", "1"], "has a spacing of its own"),
        ([tmp_path / "in" / "image.nii.gz", "-o", out, *RATER], "image.nii.gz: the value -3 is"),
        ([tmp_path / "empty" / "a.nii.gz", "-o", out, *RATER], "a.nii.gz: no structure"),
        ([path, "-o", out, "--kind", "omission", "--dice", "0.5"],
         "a.nii.gz: value 1: omission: target label Dice 0.5 is out of reach"),
        ([tmp_path / "bare", "-o", tmp_path / "new", *RATER], "holds no label file that matches"),
        ([tmp_path / "in", "-o", path, *RATER], "a.nii.gz is a file, expected a folder"),
        ([tmp_path / "in", "-o", tmp_path / "in" / "new", *RATER], "lies in "),
        ([tmp_path / "in", "-o", tmp_path / "new", *RATER], "image.nii.gz: the value -3 is"),
        ([tmp_path / "empty", "-o", tmp_path / "new", *RATER], "empty/a.nii.gz: no structure"),
        ([dataset, "-o", tmp_path / "Dataset002_C", *RATER], "has the number of Dataset002_B"),
        ([dataset, "-o", tmp_path / "in", *RATER], "exists and is not empty"),
        ([dataset, "-o", tmp_path / "new", *RATER, "--image", path], "--image is not for"),
    ):  # fmt: skip
        assert says in refused(capsys, *arguments), says
    assert files_of(tmp_path) == before


def test_an_interrupted_dataset_leaves_nothing(tmp_path, capsys, monkeypatch):
    folder = write_dataset(tmp_path / "A")
    broken = folder / "labelsTr" / "b.nii.gz"
    broken.write_bytes(broken.read_bytes()[:-20])
    said = refused(capsys, folder, "-o", tmp_path / "B", *RATER)
    assert "labelsTr/b.nii.gz cannot be read" in said
    assert [path.name for path in tmp_path.iterdir()] == ["A"]


def test_help_and_the_command_need_no_torch(tmp_path):
    save(tmp_path / "a.nii", organ(), spacing=SPACING)
    code = "import sys, labelnoise.__main__ as m\n"
    code += "m.main(sys.argv[1:])\nprint('torch' in sys.modules)"
    arguments = ["perturb", "a.nii", "-o", "b.nii", "--kind", "bias", "--severity", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(labelnoise.__file__).parents[1])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "False"
    assert nibabel.load(tmp_path / "b.nii").shape == (40, 30, 6)
