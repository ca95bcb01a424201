"""Decathlon tasks and nnU-Net datasets: what `dataset.json` says is what is read."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from labelnoise.data.prepare import prepare_dataset
from labelnoise.data.sources import msd
from labelnoise.data.storage import Dataset
from refusals import assert_not_prepared
from settings import dataset_settings
from volume_files import IMAGE, LABEL, SPACING, save, to_sitk

NAMES = ["liver_0", "liver_1", "liver_10", "liver_2"]
ABOUT = {
    "name": "Liver",
    "description": "Liver and cancer segmentation",
    "reference": "IRCAD Hôpitaux Universitaires",
    "licence": "CC-BY-SA 4.0",
    "modality": {"0": "CT"},
    "labels": {"0": "background", "1": "liver", "2": "cancer"},
    "numTraining": 4,
    "numTest": 1,
    "training": [
        {"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"}
        for name in NAMES
    ],
    "test": ["./imagesTs/liver_3.nii.gz"],
}
NNUNET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "cancer": 2},
    "numTraining": 4,
    "file_ending": ".nii.gz",
}


def describe(place, about):
    place.mkdir(parents=True, exist_ok=True)
    (place / "dataset.json").write_text(json.dumps(about))


@pytest.fixture
def task(tmp_path):
    """A Decathlon task as it is unpacked on macOS."""
    place = tmp_path / "Task03_Liver"
    describe(place, ABOUT)
    for number, name in enumerate(NAMES):
        # The Decathlon stores its volumes along right, anterior, superior.
        save(place / "imagesTr" / f"{name}.nii.gz", sitk.DICOMOrient(image(number), "LPS"))
        save(place / "labelsTr" / f"{name}.nii.gz", sitk.DICOMOrient(to_sitk(LABEL), "RAS"))
        for part in ("imagesTr", "labelsTr"):
            (place / part / f"._{name}.nii.gz").write_bytes(b"left by macOS")
    save(place / "imagesTs" / "liver_3.nii.gz", IMAGE)
    return place


@pytest.fixture
def nnunet(tmp_path):
    """A raw dataset of nnU-Net v2."""
    place = tmp_path / "Dataset003_Liver"
    describe(place, NNUNET)
    for number, name in enumerate(NAMES):
        save(place / "imagesTr" / f"{name}_0000.nii.gz", image(number))
        save(place / "labelsTr" / f"{name}.nii.gz", LABEL)
        (place / "imagesTr" / f"._{name}_0000.nii.gz").write_bytes(b"left by macOS")
    return place


def image(number):
    return to_sitk((IMAGE + number).astype(np.float32))


def settings(place, **changes):
    split = {"train": 0.5, "validation": 0.25, "test": 0.25}
    given = {"source": "msd", "folder": str(place), "window": [-20, 20], "split": split}
    return dataset_settings(**given | changes)


def assert_refused(place, *words, **changes):
    assert_not_prepared("lis", settings(place, **changes), place.parent, *words)


@pytest.mark.parametrize("layout", ["task", "nnunet"])
def test_cases_are_read(layout, request):
    place = request.getfixturevalue(layout)
    cases = msd.cases(settings(place), 0)
    assert [case.name for case in cases] == NAMES
    for number, case in enumerate(cases):
        images, labels, numbers, spacing = case.read()
        np.testing.assert_array_equal(images, IMAGE + number)
        np.testing.assert_array_equal(labels, LABEL)
        assert numbers.tolist() == [0, 1]
        np.testing.assert_allclose(spacing, SPACING, rtol=1e-6)


@pytest.mark.parametrize("layout", ["task", "nnunet"])
def test_cases_in_another_plane(layout, request):
    found = settings(request.getfixturevalue(layout), plane="coronal")
    images, labels, _, spacing = msd.cases(found, 0)[1].read()
    np.testing.assert_array_equal(images, (IMAGE + 1)[::-1].transpose(1, 0, 2))
    np.testing.assert_array_equal(labels, LABEL[::-1].transpose(1, 0, 2))
    np.testing.assert_allclose(spacing, np.take(SPACING, [1, 0, 2]), rtol=1e-6)
    assert msd.describe(found)["orientation"].startswith("coronal slices from anterior")


@pytest.mark.parametrize("layout", ["task", "nnunet"])
def test_dataset(layout, request, tmp_path):
    place = request.getfixturevalue(layout)
    prepare_dataset("lis", settings(place), 0, tmp_path / "lis.h5", workers=2)
    dataset = Dataset(tmp_path / "lis.h5")
    assert dataset.class_names == ["background", "liver", "cancer"]
    assert len(dataset) == 8
    np.testing.assert_array_equal(dataset.read_labels(range(8)), [*LABEL] * 4)
    assert dataset.provenance["classes"] == {"liver": [1], "cancer": [2]}
    if layout == "task":
        assert dataset.provenance["licence"] == "CC-BY-SA 4.0"


@pytest.mark.parametrize("layout", ["task", "nnunet"])
def test_classes_of_the_config_come_first(layout, request):
    place = request.getfixturevalue(layout)
    found = settings(place, classes={"liver": [1, 2]})
    assert msd.class_names(found) == ["background", "liver"]
    np.testing.assert_array_equal(msd.cases(found, 0)[0].read()[1], LABEL > 0)
    found = settings(place, classes={"cancer": [2]}, ignore=[1])
    np.testing.assert_array_equal(msd.cases(found, 0)[0].read()[1], LABEL == 2)


def test_a_fold_of_nnunets_own_file(nnunet):
    path = nnunet / "splits_final.json"
    path.write_text(json.dumps([{"train": NAMES[:3], "val": NAMES[3:]}]))
    split = {"file": str(path), "fold": 0, "validation": 0.3}
    prepare_dataset("lis", settings(nnunet, split=split), 0, nnunet / "lis.h5")
    with Dataset(nnunet / "lis.h5") as data:
        names = data.source_cases()
        assert {names[case] for case in data.case[data.rows("test")]} == {NAMES[3]}
        assert len(set(data.case[data.rows("validation")])) == 1


def test_regions_and_the_ignore_label_of_nnunet(nnunet, caplog):
    describe(nnunet, NNUNET | {"labels": {"background": 0, "organ": [1, 2], "ignore": 3}})
    assert msd.class_names(settings(nnunet)) == ["background", "organ"]
    np.testing.assert_array_equal(msd.cases(settings(nnunet), 0)[0].read()[1], LABEL > 0)
    # Voxels that nobody annotated are not background unless the user says so.
    save(nnunet / "labelsTr" / "liver_0.nii.gz", np.where(LABEL == 2, 3, LABEL))
    assert_refused(nnunet, "liver_0.nii.gz", "unknown label values (3)", "`ignore`")
    for changes in ({"ignore": [3]}, {"others": "background"}):
        labels = msd.cases(settings(nnunet, **changes), 0)[0].read()[1]
        np.testing.assert_array_equal(labels, LABEL == 1)
    assert "voxels of the label `ignore`" in caplog.text


def test_one_organ_of_many(task):
    many = np.where(LABEL == 1, 1, LABEL * 50)
    for name in NAMES:
        save(task / "labelsTr" / f"{name}.nii.gz", many)
    found = settings(task, classes={"liver": [1]}, others="background")
    np.testing.assert_array_equal(msd.cases(found, 0)[0].read()[1], LABEL == 1)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_other_formats_of_nnunet(nnunet, ending):
    describe(nnunet, NNUNET | {"file_ending": ending})
    for path in [*nnunet.rglob("*.nii.gz")]:
        if not path.name.startswith("._"):
            stem = path.name.removesuffix(".nii.gz")
            save(path.with_name(stem + ending), sitk.ReadImage(str(path)))
    cases = msd.cases(settings(nnunet), 0)
    assert [case.name for case in cases] == NAMES
    images, labels, *_ = cases[2].read()
    np.testing.assert_array_equal(images, IMAGE + 2)
    np.testing.assert_array_equal(labels, LABEL)


def test_channel_of_labels(task):
    for name in NAMES:
        both = sitk.JoinSeries([to_sitk(LABEL * 0), to_sitk(LABEL)])
        save(task / "labelsTr" / f"{name}.nii.gz", both)
    labels = msd.cases(settings(task, label_channel=1), 0)[0].read()[1]
    np.testing.assert_array_equal(labels, LABEL)
    assert_refused(task, "liver_0.nii.gz", "2 channels", "set `label_channel`")


def test_white_space_in_names(task):
    labels = {"0": "background", "1": " colon  cancer primaries", "2": "cancer"}
    describe(task, ABOUT | {"labels": labels})
    names = ["background", "colon_cancer_primaries", "cancer"]
    assert msd.class_names(settings(task)) == names


def test_overlapping_regions(nnunet):
    regions = {"background": 0, "whole": [1, 2], "core": 2}
    describe(nnunet, NNUNET | {"labels": regions})
    assert_refused(nnunet, "dataset.json", "label value 2", "whole and core", "set `classes`")
    cases = msd.cases(settings(nnunet, classes={"whole": [1, 2]}), 0)
    np.testing.assert_array_equal(cases[0].read()[1], LABEL > 0)


def test_a_listed_structure_cannot_be_ignored_too(task):
    assert_refused(task, "dataset.json", "label value 2", "cancer and `ignore`", ignore=[2])


def test_channel_inside_an_image(task):
    describe(task, ABOUT | {"modality": {"0": "T2", "1": "ADC"}})
    for name in NAMES:
        both = sitk.JoinSeries([image(0), image(100)])
        save(task / "imagesTr" / f"{name}.nii.gz", both)
    for channel, shift in ((0, 0), (1, 100)):
        images = msd.cases(settings(task, channel=channel), 0)[0].read()[0]
        np.testing.assert_array_equal(images, IMAGE + shift)
    assert_refused(task, "dataset.json", "2 channels (0 T2, 1 ADC)", "not set", "set `channel`")
    assert_refused(task, "`channel` is 2", channel=2)


def test_channels_that_the_description_forgets(task):
    for name in NAMES:
        save(task / "imagesTr" / f"{name}.nii.gz", sitk.JoinSeries([image(0), image(1)]))
    assert_refused(task, task / "imagesTr" / "liver_0.nii.gz", "2 channels", "set `channel`")


def test_channel_in_a_file_of_its_own(nnunet):
    describe(nnunet, NNUNET | {"channel_names": {"0": "T2", "1": "ADC"}})
    for name in NAMES:
        save(nnunet / "imagesTr" / f"{name}_0001.nii.gz", image(100))
    images = msd.cases(settings(nnunet, channel=1), 0)[2].read()[0]
    np.testing.assert_array_equal(images, IMAGE + 100)
    assert_refused(nnunet, "2 channels (0 T2, 1 ADC)", "set `channel`")


def test_nnunet_v1_lists_images_without_their_suffix(task):
    for name in NAMES:
        path = task / "imagesTr" / f"{name}.nii.gz"
        path.rename(path.with_name(f"{name}_0000.nii.gz"))
    cases = msd.cases(settings(task), 0)
    assert [case.name for case in cases] == NAMES
    np.testing.assert_array_equal(cases[1].read()[0], IMAGE + 1)


def test_files_that_macos_left_in_the_list(task):
    left = {"image": "./imagesTr/._liver_0.nii.gz", "label": "./labelsTr/._liver_0.nii.gz"}
    describe(task, ABOUT | {"training": [left, *ABOUT["training"]]})
    assert len(msd.cases(settings(task), 0)) == 4


def test_other_number_of_cases_is_logged(nnunet, caplog):
    describe(nnunet, NNUNET | {"numTraining": 131})
    msd.cases(settings(nnunet), 0)
    assert "counts 131 training cases, 4 are there" in caplog.text


# Bad input


def test_missing_description(tmp_path):
    (tmp_path / "empty").mkdir()
    assert_refused(tmp_path / "empty", "dataset.json does not exist", "`source: volumes`")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", ("not JSON", "again")),
        ("[1]", ("type list", "correct the file")),
        ('{"labels": ["liver"]}', ("`labels`", "type list", "expected dict")),
        ('{"labels": {"0": "background"}}', ("names no structure", "set `classes`")),
        ('{"labels": {"liver": "one"}}', ("`labels`", "whole numbers")),
        ('{"labels": {"liver": 1.5}}', ("1.5 is no whole number", "set `classes`")),
        ('{"labels": {"liver": true}}', ("True is no whole number",)),
        ('{"labels": {"liver": -1}}', ("-1 is out of range",)),
        ('{"labels": {"liver": []}}', ("liver has no value",)),
        ('{"labels": {"a b": 1, "a_b": 2}}', ("a_b comes twice",)),
        ('{"labels": {"../../x": 1}}', ("values 1 the name '../../x'", "letters", "set `classes`")),
        ('{"labels": {"<b>liver</b>": 1}}', ("'<b>liver</b>'", "set `classes`")),
        ('{"labels": {"%s": 1}}' % ("x" * 101), ("at most 100 letters", "set `classes`")),
        ('{"labels": {"1": "liver"}, "modality": 7}', ("`modality`", "int", "dict or list")),
        ('{"labels": {"1": "liver"}, "channel_names": 7}', ("`channel_names`", "dict or list")),
        ('{"labels": {"1": "liver"}, "modality": "CT"}', ("`modality`", "type str")),
        ("[" * 100_000, ("dataset.json is not JSON", "nested too deeply")),
        (
            '{"labels": {"1": "liver"}, "training": [{"image": "%s", "label": "b"}]}'
            % ("x" * 5000),
            ("lists 2 files that do not exist",),
        ),
        ('{"labels": {"1": "liver"}}', ("no pair", "`file_ending`")),
        ('{"labels": {"1": "liver"}, "training": [{"image": "a"}]}', ("{'image': 'a'}",)),
        ('{"labels": {"1": "liver"}, "file_ending": ".png"}', ("'.png'", ".nii.gz", "convert")),
        ('{"labels": {"1": "liver"}, "file_ending": ".nii"}', ("imagesTr", "not a folder")),
    ],
)
def test_descriptions_that_say_too_little(tmp_path, text, words):
    place = tmp_path / "task"
    place.mkdir()
    (place / "dataset.json").write_text(text)
    assert_refused(place, place, *words)


@pytest.mark.parametrize("part", ["imagesTr", "labelsTr"])
def test_listed_files_that_are_missing(task, part):
    for name in ("liver_0", "liver_2"):
        (task / part / f"{name}.nii.gz").unlink()
    words = ("dataset.json lists 2 files", "liver_0.nii.gz, liver_2.nii.gz", "download the whole")
    assert_refused(task, *words)


def test_case_listed_twice(task):
    describe(task, ABOUT | {"training": [*ABOUT["training"], ABOUT["training"][2]]})
    assert_refused(task, "dataset.json", "'liver_10' twice", "correct the file")


def test_images_without_labels(nnunet, caplog):
    (nnunet / "labelsTr" / "liver_1.nii.gz").unlink()
    words = ("1 of 4 images have no label", "liver_1_0000.nii.gz", "unlabelled: skip")
    assert_refused(nnunet, *words)
    assert len(msd.cases(settings(nnunet, unlabelled="skip"), 0)) == 3
    assert "1 of 4 images have no label" in caplog.text


def test_labels_without_images(nnunet):
    (nnunet / "imagesTr" / "liver_1_0000.nii.gz").unlink()
    assert_refused(nnunet, nnunet, "1 labels have no image", "_0000", "liver_1.nii.gz", "remove")


def test_names_of_another_layout(nnunet):
    for path in (nnunet / "imagesTr").glob("liver*"):
        path.rename(path.with_name(path.name.replace("_0000", "")))
    assert_refused(nnunet, nnunet / "imagesTr", "whole name matches `file_ending`", "_0000")


def test_damaged_file(task):
    path = task / "labelsTr" / "liver_2.nii.gz"
    path.write_bytes(path.read_bytes()[:-12])
    assert_refused(task, path, "cannot be read", "again")


def test_other_grid(nnunet):
    path = save(nnunet / "labelsTr" / "liver_10.nii.gz", LABEL, spacing=(5, 0.8, 0.7))
    assert_refused(nnunet, path, "liver_10_0000.nii.gz", "0.7 x 0.8 x 5 mm", "resample")


def test_unknown_label_value(task):
    path = save(task / "labelsTr" / "liver_1.nii.gz", LABEL * 4)
    assert_refused(task, path, "(4, 8)", "only 0-2", "`others: background`")


@pytest.mark.parametrize("channel", ["all", [1, 0], [1]])
@pytest.mark.parametrize("inside", [True, False])
def test_several_channels(task, nnunet, channel, inside, monkeypatch):
    place, about, key = (task, ABOUT, "modality") if inside else (nnunet, NNUNET, "channel_names")
    describe(place, about | {key: {"1": "ADC", "0": "T2"}})
    for name in NAMES:
        if inside:
            save(task / "imagesTr" / f"{name}.nii.gz", sitk.JoinSeries([image(0), image(100)]))
        else:
            save(nnunet / "imagesTr" / f"{name}_0000.nii.gz", image(0))
            save(nnunet / "imagesTr" / f"{name}_0001.nii.gz", image(100))
    found = settings(place, channel=channel)
    numbers = [0, 1] if channel == "all" else channel
    assert msd.channel_names(found) == [("T2", "ADC")[number] for number in numbers]
    images = msd.cases(found, 0)[0].read()[0]
    for number, pixels in zip(numbers, images, strict=True):
        np.testing.assert_array_equal(pixels, IMAGE + 100 * number)


def test_windows_of_channels_have_the_names_in_the_description(task, tmp_path):
    describe(task, ABOUT | {"modality": {"0": "T2", "1": "ADC"}})
    for name in NAMES:
        save(task / "imagesTr" / f"{name}.nii.gz", sitk.JoinSeries([image(0), image(100)]))
    window = {"T2": [-20, 20], "DWI": [80, 120]}
    assert_refused(task, "window' names the channel 'DWI'", "T2, ADC", channel="all", window=window)
    window = {"T2": [-20, 20], "ADC": [80, 120]}
    prepare_dataset("x", settings(task, channel="all", window=window), 0, tmp_path / "x.h5")
    images, _ = Dataset(tmp_path / "x.h5").read([0])
    np.testing.assert_allclose(images[0, 0], images[0, 1], atol=2**-11)


def test_channels_that_share_a_name_are_numbered(nnunet):
    describe(nnunet, NNUNET | {"channel_names": {"0": "zscore", "1": "zscore"}})
    assert msd.channel_names(settings(nnunet, channel="all")) == ["zscore_0", "zscore_1"]


def test_nnunet_v1_keeps_each_channel_in_a_file(task):
    describe(task, ABOUT | {"modality": {"0": "T2", "1": "ADC"}})
    for name in NAMES:
        path = task / "imagesTr" / f"{name}.nii.gz"
        path.rename(path.with_name(f"{name}_0000.nii.gz"))
        save(path.with_name(f"{name}_0001.nii.gz"), image(100))
    np.testing.assert_array_equal(msd.cases(settings(task, channel=1), 0)[1].read()[0], IMAGE + 100)
    assert len(msd.cases(settings(task, channel="all"), 0)[1].read()[0]) == 2
