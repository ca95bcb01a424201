import nibabel
import numpy as np
import pytest

from labelnoise.labels.raters.reading import find_masks, read_folder
from rater_folders import SPACING, ellipsoid, save
from refusals import assert_refused

BALL = ellipsoid(4)


def test_a_folder_for_each_object(tmp_path):
    for name in ("a", "b"):
        for rater in (1, 2, 3):
            save(tmp_path / name / f"rater-{rater}.nii.gz", BALL)
    objects = read_folder(tmp_path)
    assert [each.name for each in objects] == ["a", "b"]
    assert objects[0].masks_RZHW.shape[0] == 3
    np.testing.assert_allclose(objects[0].spacing_3, SPACING, rtol=1e-5)
    assert objects[0].masks_RZHW[0].sum() == BALL.sum()
    # Cut to what was outlined.
    assert all(
        objects[0].masks_RZHW.any(axis=tuple({0, 1, 2, 3} - {axis}))[0] for axis in (1, 2, 3)
    )


@pytest.mark.parametrize(
    "inner", ["labelsTr/case_{}.nii.gz", "sub-{}/anat/sub-{}_label-liver_dseg.nii.gz", "{}.nii"]
)
def test_a_folder_for_each_rater(tmp_path, inner, caplog):
    for rater in ("ann", "bob"):
        for case in ("1", "2"):
            save(tmp_path / rater / inner.replace("{}", case), BALL)
    save(tmp_path / "ann" / inner.replace("{}", "3"), BALL)
    found = find_masks(tmp_path)
    assert len(found) == 2 and all(len(paths) == 2 for paths in found.values())
    assert "1 objects of a single rater are left out" in caplog.text and "3" in caplog.text
    assert len(read_folder(tmp_path)) == 2


def test_slices_lie_across_the_coarsest_axis(tmp_path):
    spacing_3 = (0.8, 3.0, 0.8)  # coronal slices
    for rater in (1, 2):
        save(tmp_path / "a" / f"rater-{rater}.nii.gz", BALL, spacing_3)
    (only,) = read_folder(tmp_path)
    np.testing.assert_allclose(only.spacing_3, (3.0, 0.8, 0.8), rtol=1e-5)


def test_one_label_of_several(tmp_path):
    labels = BALL.astype(np.uint8)
    labels[:, : BALL.shape[1] // 2] *= 2
    for rater in (1, 2):
        save(tmp_path / "a" / f"rater-{rater}.nii.gz", labels)
    assert read_folder(tmp_path, 2)[0].masks_RZHW[0].sum() == (labels == 2).sum()
    assert read_folder(tmp_path)[0].masks_RZHW[0].sum() == BALL.sum()
    assert_refused(["label 7", "--label"], read_folder, tmp_path, 7)


def test_who_outlined_nothing_does_not_count(tmp_path, caplog):
    for name, masks in {"a": [BALL, 0 * BALL], "b": [BALL, BALL, 0 * BALL]}.items():
        for number, mask in enumerate(masks):
            save(tmp_path / name / f"rater-{number}.nii.gz", mask)
    (only,) = read_folder(tmp_path)
    assert only.name == "b" and len(only.masks_RZHW) == 2
    assert "fewer than two raters are left out: a" in caplog.text


def test_grids_must_agree(tmp_path):
    save(tmp_path / "a" / "rater-1.nii.gz", BALL)
    save(tmp_path / "a" / "rater-2.nii.gz", BALL, (2.0, 0.8, 0.9))
    assert_refused(["rater-2.nii.gz", "0.9 x 0.8 x 2 mm", "one grid"], read_folder, tmp_path)
    save(tmp_path / "a" / "rater-2.nii.gz", BALL[:-1])
    assert_refused(["rater-2.nii.gz", "voxels", "one grid"], read_folder, tmp_path)


def test_images_are_no_masks(tmp_path):
    (tmp_path / "a").mkdir()
    for rater in (1, 2):
        image = nibabel.Nifti1Image(BALL * np.float32(0.5), np.eye(4))
        nibabel.save(image, tmp_path / "a" / f"rater-{rater}.nii.gz")
    assert_refused(["rater-1.nii.gz", "no labels"], read_folder, tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    for rater in (1, 2):
        save(tmp_path / "a" / f"rater-{rater}.nii.gz", BALL)
    path = tmp_path / "a" / "rater-2.nii.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert_refused(["rater-2.nii.gz"], read_folder, tmp_path)


def test_a_folder_without_two_raters_is_refused(tmp_path):
    assert_refused(["0 files", "rater-1.nii.gz"], read_folder, tmp_path)
    save(tmp_path / "a" / "rater-1.nii.gz", BALL)
    save(tmp_path / "loose.nii.gz", BALL)
    assert_refused(["2 files", "two people"], read_folder, tmp_path)
