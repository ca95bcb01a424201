"""Whom an error hits, which slices a kind sees together, and structures that touch."""

from dataclasses import replace

import numpy as np
import pytest

from labelnoise.counts import dice, overlap
from labelnoise.data.storage import Dataset, LabelFile, write_dataset, write_labels
from labelnoise.errors import InputError
from labelnoise.labels.calibration import calibrate_labels
from labelnoise.labels.consensus import RULES
from labelnoise.labels.drawing import CalibratedError, Drawer, Volumes, draw_volume
from labelnoise.labels.error import measure
from labelnoise.labels.perturbations import KeptOutlines, draw_labels, trace
from labelnoise.labels.volume import Draw, LabelVolume
from labelnoise.study import Perturbation

SIZE, DEPTH = 32, 5
RATER = {"bias_share": 0.3, "mean": 0.0, "length": 3.0, "length_z": 4.0, "gamma": 0.0}
RATER |= {"smoothness": 1.0, "across": 1.0, "spread": 0.0}


def ball(radius, depth=DEPTH, row=15.5, column=15.5):
    """A ball of `depth` slices 2 mm apart, pixels of 1 mm."""
    z, y, x = np.mgrid[:depth, :SIZE, :SIZE]
    return (2 * (z - depth // 2)) ** 2 + (y - row) ** 2 + (x - column) ** 2 <= radius**2


def write_balls(path, cases=12, spacing=(2.0, 1.0, 1.0), numbers=range(DEPTH)):
    """Write a dataset of balls, nested: a core of class 2 in a shell of class 1."""
    names = ["background", "shell", "core"]
    with write_dataset(
        path, name="balls", class_names=names, window=(0, 1), provenance={}
    ) as writer:
        for case in range(cases):
            labels = ball(9 + case % 3).astype(np.uint8) + ball(5)
            split = "validation" if case == 8 else "test" if case > 8 else "train"
            images = labels - 1.0
            writer.append(f"case{case:02}", split, numbers, images, labels, spacing)
    return Dataset(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_balls(tmp_path_factory.mktemp("balls") / "balls.h5")


def error_of(kind, severity, seed=3, **settings):
    return CalibratedError(
        kind, {1: severity, 2: severity}, {1: 0.2, 2: 0.05}, seed, None, settings
    )


def hit_cases(data, error, draw, split="train"):
    rows = data.rows(split)
    changed = (Drawer(data, error).labels(rows, draw) != data.read_labels(rows)).any(axis=(1, 2))
    return {case: changed[data.case[rows] == case] for case in np.unique(data.case[rows])}


def test_consecutive_slices_of_a_case_are_one_volume(tmp_path):
    data = write_balls(tmp_path / "gap.h5", numbers=[0, 1, 2, 5, 6])
    rows = Volumes(data).of([1, 4, 6, 0])
    assert [(list(r), list(p), list(at)) for r, p, at in rows] == [
        ([0, 1, 2], [1, 0], [0, 3]),
        ([3, 4], [1], [1]),
        ([5, 6, 7], [1], [2]),
    ]


def test_without_spacing_every_slice_is_on_its_own_and_a_pixel_is_what_was_said(tmp_path):
    data = write_balls(tmp_path / "flat.h5", spacing=(np.nan,) * 3)
    volumes = Volumes(data)
    assert [list(rows_Z) for rows_Z, *_ in volumes.of([0, 1])] == [[0], [1]]
    assert volumes.load(np.array([1]), pixel=0.5).spacing_3[1:] == (0.5, 0.5)
    half, whole = (
        Drawer(data, error_of("bias", 1.0, sign=1, pixel=pixel)).labels([2], 0)
        for pixel in (0.5, 1.0)
    )
    assert (half > 0).sum() > (whole > 0).sum() > (data.read_labels([2]) > 0).sum()


@pytest.mark.parametrize(
    ("kind", "severity", "settings"),
    [("rater", 1.5, RATER), ("rater", 1.0, RATER | {"share": 0.5, "share_of": "slices"})],
)
def test_any_slice_of_any_draw_alone_is_that_of_all_together(data, kind, severity, settings):
    rows = np.arange(len(data))
    error = error_of(kind, severity, **settings)
    whole_NHW = Drawer(data, error).labels(rows, 3)
    for row in (0, 7, 33):
        np.testing.assert_array_equal(Drawer(data, error).labels([row], 3)[0], whole_NHW[row])
    shuffled = np.random.default_rng(0).permutation(rows)
    found_NHW = Drawer(data, error).labels(shuffled, 3, data.read_labels(shuffled))
    np.testing.assert_array_equal(found_NHW, whole_NHW[shuffled])
    assert (Drawer(data, error).labels(rows, 4) != whole_NHW).any()
    assert (whole_NHW != data.read_labels(rows)).any()


def test_slices_of_a_case_that_do_not_follow_on_each_other_are_of_one_hand(tmp_path):
    data = write_balls(tmp_path / "apart.h5", numbers=[0, 2, 4, 6, 8])
    error = error_of("rater", 1.5, **RATER | {"bias_share": 1.0})
    changes = {}
    for case in np.unique(data.case):
        rows = np.flatnonzero(data.case == case)
        larger = (Drawer(data, error).labels(rows, 0) > 0).sum(axis=(1, 2))
        differences = larger - (data.read_labels(rows) > 0).sum(axis=(1, 2)).astype(int)
        assert (differences >= 0).all() or (differences <= 0).all()
        changes[case] = np.sign(differences.sum())
    assert set(changes.values()) >= {-1, 1}


@pytest.mark.parametrize("kind", ["natural", "choppy"])
def test_kinds_that_act_on_slices_are_drawn_as_ever(data, kind):
    """Whatever a drawer keeps of earlier draws, in whatever order slices come."""
    rows, drawer = data.rows("validation"), Drawer(data, error_of(kind, 1.5))
    for draw, asked in ((2, rows), (5, rows[::-1]), (2, rows)):
        found_NHW = drawer.labels(asked, draw)
        reference_NHW = data.read_labels(asked)
        expected = draw_labels(reference_NHW, kind, {1: 1.5, 2: 1.5}, {}, 3, draw, asked)
        np.testing.assert_array_equal(found_NHW, expected)


def test_outlines_are_kept_while_there_is_room():
    mask_HW = ball(8)[DEPTH // 2].astype(np.uint8)
    size = sum(array.nbytes for array in (*trace(mask_HW).contours, *trace(mask_HW)[1:]))
    kept = KeptOutlines(room=size)
    assert kept.of("empty", np.zeros_like(mask_HW), "natural") is None
    assert kept.of("first", mask_HW, "choppy") is None
    first = kept.of("first", mask_HW, "natural")
    assert kept.of("first", mask_HW, "natural") is first
    assert kept.of("second", mask_HW, "natural") is not kept.of("second", mask_HW, "natural")
    assert kept.of("first", mask_HW, "natural") is first


def test_structures_that_touch_move_together(tmp_path):
    """Two halves of a ball: where the outline of one goes the other follows, without a gap."""
    with write_dataset(
        tmp_path / "halves.h5", name="h", class_names=["background", "left", "right"],
        window=(0, 1), provenance={},
    ) as writer:  # fmt: skip
        labels = ball(12).astype(np.uint8)
        labels[:, :, 16:] *= 2
        for split in ("train", "validation", "test"):
            writer.append(split, split, range(DEPTH), labels - 1.0, labels, (2.0, 1.0, 1.0))
    data = Dataset(tmp_path / "halves.h5")
    inner = ball(7)  # farther from the background than any displacement below
    moved = False
    for draw in range(5):
        error = error_of("rater", 1.0, **RATER | {"bias_share": 0.0})
        wrong_ZHW = Drawer(data, error).labels(data.rows("train"), draw)
        assert (wrong_ZHW[inner] > 0).all()
        moved |= bool((wrong_ZHW[inner] != data.read_labels(data.rows("train"))[inner]).any())
    assert moved


def test_structures_that_touch_are_shifted_as_they_are():
    labels_ZHW = np.zeros((1, SIZE, SIZE), np.uint8)
    labels_ZHW[0, 10:22, 10:16], labels_ZHW[0, 10:22, 16:22] = 1, 2
    volume = LabelVolume(labels_ZHW, (1.0, 1.0, 1.0))
    for seed in range(8):
        draw = Draw(seed, 0, 0, 0)
        wrong_HW = draw_volume(volume, "translation", {1: 6.0, 2: 6.0}, draw, [0], {})[0]
        row, column = np.argwhere(wrong_HW)[0] - 10
        np.testing.assert_array_equal(wrong_HW, np.roll(labels_ZHW[0], (row, column), (0, 1)))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("rater", RATER | {"bias_share": 1.0}),
        ("rater", RATER),
        ("bias", {"sign": 1}),
        ("bias", {"sign": -1}),
        ("translation", {}),
    ],
)
@pytest.mark.parametrize("severities", [{1: 1.0, 2: 1.0}, {1: 1.0, 2: 0.2}, {1: 0.2, 2: 1.0}])
def test_structures_that_lie_apart_have_nothing_to_do_with_each_other(kind, settings, severities):
    left, right = ball(5, 1, 16, 6), ball(5, 1, 16, 24)
    for first, second in ((left, right), (right, left)):
        volume = LabelVolume(first + 2 * second.astype(np.uint8), (np.nan, 1, 1))
        nearer_first_HW = (np.arange(SIZE) < 15) == (first is left)
        for number in range(5):
            draw = Draw(0, number, 0, 0)
            wrong_HW = draw_volume(volume, kind, severities, draw, [0], settings)[0]
            assert 2 not in wrong_HW[:, nearer_first_HW]
            assert 1 not in wrong_HW[:, ~nearer_first_HW]


@pytest.mark.parametrize("draw", range(4))
def test_a_share_of_cases_hits_that_many_whole_cases(data, draw):
    error = error_of("bias", 1.5, sign=1, share=0.5, share_of="cases")
    hit = hit_cases(data, error, draw)
    assert all(changed.all() or not changed.any() for changed in hit.values())
    assert sum(changed.all() for changed in hit.values()) == 4  # of 8 training cases
    assert sum(changed.any() for changed in hit_cases(data, error, draw, "test").values()) in (1, 2)


def test_a_share_of_slices_hits_slices(data):
    error = error_of("bias", 1.5, sign=1, share=0.25, share_of="slices")
    changed = np.concatenate([*hit_cases(data, error, 0).values()])
    assert changed.sum() == 10  # of 40 slices


def test_a_mixture_gives_each_case_the_error_of_one(data):
    thick, thin = (error_of("bias", 1.5, sign=sign) for sign in (1, -1))
    settings = {"weights": [3.0, 1.0]}
    mixture = replace(error_of("mixture", 0, **settings), errors={"thick": thick, "thin": thin})
    rows = data.rows("train")
    mixed, wide, narrow = (Drawer(data, each).labels(rows, 1) for each in (mixture, thick, thin))
    cases = data.case[rows]
    chosen = []
    for case in np.unique(cases):
        here = cases == case
        is_wide, is_narrow = ((mixed[here] == each[here]).all() for each in (wide, narrow))
        assert is_wide != is_narrow
        chosen.append(is_wide)
    assert sum(chosen) == 6  # three of four


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_kind_that_acts_on_volumes_is_calibrated_structure_by_structure(data, share):
    settings = RATER | ({} if share == 1 else {"share": share, "share_of": "cases"})
    perturbation = Perturbation("rater", target_dice=0.9, settings=settings)
    rows, names = data.rows("train"), {1: "shell", 2: "core"}
    error, found = calibrate_labels(data, rows, names, perturbation, {1: 0.2, 2: 0.1}, len, 0.02)
    assert [*found] == [1, 2] and error.severities == {i: c.severity for i, c in found.items()}
    for index in names:
        assert found[index].error.label_dice == pytest.approx(0.9, abs=0.02)
        drawer = Drawer(data, replace(error, seed=11))
        drawn = [drawer.labels(rows, draw) == index for draw in range(20)]
        reference = [data.read_labels(rows) == index] * 20
        fresh = measure(np.concatenate(reference), np.concatenate(drawn))
        assert fresh.label_dice == pytest.approx(0.9, abs=0.03)


def test_a_mixture_is_sized_by_its_errors(data):
    parts = {
        "half": {"kind": "rater", "target_dice": 0.9, "settings": RATER},
        "rest": {"kind": "control"},
    }
    mixture = Perturbation("mixture", settings={"of": parts, "weights": None})
    rows, names = data.rows("train"), {1: "shell", 2: "core"}
    error, found = calibrate_labels(data, rows, names, mixture, {1: 0.2, 2: 0.1}, len, 0.02)
    assert np.isnan(found[1].severity)
    assert error.errors["half"].severities[1] > 0 == error.errors["rest"].severities[1]
    assert 0.93 < found[2].error.label_dice < 0.97


def test_a_target_out_of_reach_names_the_structure(data):
    perturbation = Perturbation("omission", target_dice=0.9, settings={})
    bad = replace(perturbation, kind="natural", target_dice=0.01)
    with pytest.raises(
        InputError, match=r"^shell: natural: target label Dice 0.01 is out of reach"
    ):
        calibrate_labels(data, data.rows("train"), {1: "shell"}, bad, {1: 0.2}, len)


def test_a_label_file_tells_the_error_it_was_drawn_with(tmp_path):
    parts = {
        "b": replace(error_of("rater", 1.5, **RATER), code=None),
        "a": error_of("control", 0.0),
    }
    mixture = replace(error_of("mixture", np.nan, weights=[1.0, 2.0]), errors=parts)
    about = {"dataset": "balls", "perturbation": "mine", "draws": 1, "classes": 2}
    path = tmp_path / "labels.h5"
    with write_labels(path, rows=[0], shape=(4, 4), **about, **mixture.attributes()) as writer:
        writer.write(0, 0, np.zeros((1, 4, 4), np.uint8))
    found = CalibratedError.of(LabelFile(path))
    assert [*found.errors] == ["b", "a"]
    assert found.errors == parts and found.settings == mixture.settings


def consensus_of(part, annotators=3, by="majority", **more):
    about = {"annotators": annotators, "by": by, **more}
    return replace(error_of("consensus", np.nan, **about), errors={"one": part})


def label_dice(data, error, draws=4):
    rows = data.rows("train")
    reference = data.read_labels(rows)
    drawer = Drawer(data, error)
    pairs = [overlap(reference > 0, drawer.labels(rows, draw) > 0) for draw in range(draws)]
    return float(dice(sum(pairs)))


@pytest.mark.parametrize("by", RULES)
def test_three_annotators_are_better_than_one_and_each_draws_alone(data, by):
    one = error_of("rater", 1.5, **RATER)
    several = consensus_of(one, by=by)
    assert label_dice(data, several) > label_dice(data, one)
    rows = data.rows("train")
    drawn = Drawer(data, several).labels(rows, 2)
    alone = [Drawer(data, several).labels([each], 2)[0] for each in rows[::3]]
    assert (drawn[::3] == alone).all()
    assert (drawn != Drawer(data, several).labels(rows, 3)).any()


def test_the_outline_between_is_that_of_each_case_in_its_own_mm(tmp_path):
    """Whatever slices of other cases, with other spacings, are drawn beside it."""
    names, path = ["background", "shell", "core"], tmp_path / "mixed.h5"
    with write_dataset(
        path, name="balls", class_names=names, window=(0, 1), provenance={}
    ) as writer:
        for number, split in enumerate(["train", "validation", "test"]):
            labels = ball(9).astype(np.uint8) + ball(5)
            spacing = (2.0, 1.0, 1.0 + 2 * number)
            writer.append(f"case{number}", split, range(DEPTH), labels - 1.0, labels, spacing)
    with Dataset(path) as source:
        error = consensus_of(error_of("rater", 2.0, **RATER), 2, "mean")
        rows = np.arange(len(source.case))
        together = Drawer(source, error).labels(rows, 0)
        alone = [Drawer(source, error).labels([each], 0)[0] for each in rows]
    assert (together == alone).all()


def test_annotators_take_the_errors_in_turn_each_with_draws_of_its_own(data):
    rows = data.rows("train")
    thick, thin = (error_of("bias", 1.5, sign=sign) for sign in (1, -1))
    pair = replace(consensus_of(thick, 2, "mean"), errors={"thick": thick, "thin": thin})
    wrong = Drawer(data, pair).labels(rows, 0)
    reference = data.read_labels(rows)
    by_one = Drawer(data, thick).labels(rows, 0)
    assert dice(overlap(reference > 0, wrong > 0)) > dice(overlap(reference > 0, by_one > 0))
    # Three thick hands are thick: their errors are the same.
    three = consensus_of(thick, 3)
    assert (Drawer(data, three).labels(rows, 0) == by_one).all()


def test_no_error_makes_no_error_and_a_share_of_cases_is_hit(data):
    rows = data.rows("train")
    none = consensus_of(error_of("rater", 0.0, **RATER))
    assert (Drawer(data, none).labels(rows, 0) == data.read_labels(rows)).all()
    some = consensus_of(error_of("bias", 3.0, sign=1), share=0.5, share_of="cases")
    changed = (Drawer(data, some).labels(rows, 0) != data.read_labels(rows)).any(axis=(1, 2))
    hit = {case for case, is_changed in zip(data.case[rows], changed, strict=True) if is_changed}
    assert 0 < len(hit) < len(set(data.case[rows]))


def test_its_size_is_that_of_its_errors_and_what_it_comes_to_is_measured(data):
    part = {"kind": "rater", "target_dice": 0.9, "settings": RATER}
    about = {"of": {"one": part}, "annotators": 3, "by": "majority"}
    rows, names = data.rows("train"), {1: "shell", 2: "core"}
    error, found = calibrate_labels(
        data, rows, names, Perturbation("consensus", settings=about), {1: 0.2, 2: 0.1}, len, 0.02
    )
    assert np.isnan(found[1].severity)
    assert error.errors["one"].severities[1] > 0
    assert found[1].error.label_dice > 0.91
