"""Preparation: slices of the right cases in the right splits, and bad data refused by name."""

from types import SimpleNamespace

import numpy as np
import pytest

from labelnoise.data import prepare as preparing
from labelnoise.data.case_names import shown_names
from labelnoise.data.intensity import Intensity
from labelnoise.data.prepare import map_in_order, prepare_dataset
from labelnoise.data.sources import Case
from labelnoise.data.storage import SPLITS, Dataset, write_fold
from labelnoise.errors import InputError

FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
UNLISTED = {"unlisted": "refuse"}
SETTINGS = {
    "source": "fake",
    "size": None,
    "resize_labels": "area",
    "window": [0, 100],
    "select": "structure",
    "split": FRACTIONS,
}


def make_case(name, slices=2, shape=(8, 8), split=None, change=None, spacing=()):
    """A case of noise with a square structure; `change` edits its arrays before they are read."""
    rng = np.random.default_rng(len(name) + sum(map(ord, name)))
    images = rng.uniform(0, 100, (slices, *shape)).astype(np.float32)
    labels = np.zeros((slices, *shape), np.uint8)
    labels[:, 2:6, 3:6] = 1
    numbers = np.arange(slices)
    if change:
        images, labels, numbers = change(images, labels, numbers)
    return Case(name, lambda: (images.copy(), labels.copy(), numbers, *spacing), split)


def make_cases(count=10, **kwargs):
    return [make_case(f"p{index}", **kwargs) for index in range(count)]


@pytest.fixture
def prepare(monkeypatch, tmp_path):
    """Prepare a dataset from given cases; returns its path."""

    def run(cases, name="fake", seed=0, workers=1, file="out/data.h5", **changes):
        source = SimpleNamespace(
            cases=lambda settings, seed: cases,
            class_names=lambda settings: ["background", "organ"],
            describe=lambda settings: {"what": "noise"},
        )
        monkeypatch.setattr(preparing, "open_source", lambda name: source)
        path = tmp_path / file
        settings = SETTINGS | changes
        if "normalise" in changes and "window" not in changes:
            del settings["window"]
        prepare_dataset(name, settings, seed, path, workers)
        return path

    return run


@pytest.fixture
def refuse(prepare, tmp_path):
    """Assert that preparing is refused in words that name these things, and leaves no file."""

    def run(cases, *words, **changes):
        with pytest.raises(InputError) as error:
            prepare(cases, **changes)
        for word in ("dataset fake", *words):
            assert word in str(error.value)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    return run


def test_dataset_holds_the_slices_of_the_cases(prepare):
    cases = make_cases(5)
    dataset = Dataset(prepare(cases))
    assert dataset.name == "fake"
    assert dataset.provenance["what"] == "noise" and dataset.provenance["source"] == "fake"
    assert dataset.provenance["grid"] == {
        "plane": None,
        "spacing": None,
        "size": None,
        "resize_labels": "area",
    }
    assert dataset.class_names == [
        "background",
        "organ",
    ] and dataset.intensities == {"image": Intensity.of_window(0, 100)}
    assert dataset.case.tolist() == [name for case in cases for name in [case.name] * 2]
    assert dataset.foreground_fraction == [1 - 12 / 64, 12 / 64]
    for position, case in enumerate(cases):
        images, labels, numbers = case.read()
        rows = [2 * position, 2 * position + 1]
        stored_images, stored_labels = dataset.read(rows)
        # float16 holds [-1, 1] to 2**-11 at worst.
        np.testing.assert_allclose(stored_images[:, 0], images / 50 - 1, atol=2**-11)
        np.testing.assert_array_equal(stored_labels, labels)
        np.testing.assert_array_equal(dataset.slice[rows], numbers)


def test_cases_get_neutral_names_in_the_order_of_the_source(prepare):
    cases = [make_case(name) for name in ("DOE^JANE", "9", "10", "empty")]
    cases[1] = make_case("9", change=lambda i, m, n: (i, m * 0, n))
    lists = {"train": ["10"], "validation": ["empty"], "test": ["DOE^JANE", "9"]}
    with Dataset(prepare(cases, case_names="neutral", split=lists | UNLISTED)) as dataset:
        # A case that is left out keeps its number.
        assert dataset.case[::2].tolist() == ["case001", "case003", "case004"]
        assert dataset.split[::2].tolist() == ["test", "train", "validation"]
        assert dataset.source_cases() == {
            "case001": "DOE^JANE",
            "case003": "10",
            "case004": "empty",
        }
        np.testing.assert_array_equal(dataset.read_labels([0]), cases[0].read()[1][:1])


def test_the_sources_names_are_kept_where_asked(prepare):
    with Dataset(prepare(make_cases(4), case_names="source")) as dataset:
        assert dataset.case[::2].tolist() == ["p0", "p1", "p2", "p3"]
        assert dataset.source_cases()["p2"] == "p2"


def test_digits_of_neutral_names_grow_with_the_cases():
    names = shown_names([f"p{number}" for number in range(1000)], {"case_names": "neutral"})
    assert (names["p0"], names["p999"]) == ("case0001", "case1000")
    assert list(names.values()) == sorted(names.values())


def test_what_is_wrong_with_a_case_is_said_by_its_name_in_the_source(refuse):
    cases = [*make_cases(4), make_case("odd", change=lambda i, m, n: (i, m, n * 0 + 3))]
    refuse(cases, "slice 3 of case 'odd'", case_names="neutral")
    refuse([*make_cases(4), make_case("wide", shape=(8, 9))], "'wide'", case_names="neutral")


def test_progress_names_no_patient(prepare, caplog):
    caplog.set_level("INFO")
    cases = [*make_cases(4), make_case("p4", change=lambda i, m, n: (i, m * 0, n))]
    lists = {"train": ["p0", "p4"], "validation": ["p1"], "test": ["p2", "p3"]}
    prepare(cases, case_names="neutral", split=lists | UNLISTED)
    assert "case case005, 5 of 5" in caplog.text and "left out" in caplog.text
    said = " ".join(caplog.messages)
    assert not [case.name for case in cases if case.name in said]


def test_cases_that_are_not_listed_are_counted_and_not_read(prepare, caplog):
    def fail():
        raise AssertionError("read")

    lists = {"train": ["p0"], "validation": ["p1"], "test": ["p3"]}
    cases = make_cases(4)
    cases[2] = Case("p2", fail)
    with Dataset(prepare(cases, split=lists | {"unlisted": "skip"})) as dataset:
        assert dataset.case[::2].tolist() == ["p0", "p1", "p3"]
    assert "fake: the split lists 3 cases and leaves out 1" in caplog.text


def test_folds_share_their_slices(prepare):
    cases = [*make_cases(7), make_case("empty", change=lambda i, m, n: (i, m * 0, n))]
    split = {"file": None, "folds": 3, "fold": 0, "validation": 0.5, "unlisted": "refuse"}
    first = prepare(cases, name="fake@fold0", file="fake@fold0.h5", split=split)
    others = [first.with_name(f"fake@fold{fold}.h5") for fold in (1, 2)]
    for fold, path in enumerate(others, start=1):
        write_fold(path, first, f"fake@fold{fold}")
        alone = prepare(cases, name="fake", split=split | {"fold": fold}, file=f"{fold}.h5")
        with Dataset(path) as linked, Dataset(alone) as whole:
            assert linked.name == f"fake@fold{fold}"
            assert linked.split.tolist() == whole.split.tolist()
            assert linked.foreground_fraction == whole.foreground_fraction
            assert linked.provenance == whole.provenance and linked.intensities == whole.intensities
            for found, expected in zip(linked.read([3, 0]), whole.read([3, 0]), strict=True):
                np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(linked.case, whole.case)
        assert path.stat().st_size < first.stat().st_size
    tested = [case for path in (first, *others) for case in cases_of(path, "test")]
    assert sorted(tested) == [f"p{number}" for number in range(7)]


def test_folds_share_the_statistics_of_all_cases(prepare):
    chosen = ZSCORE | {"by": "dataset", "percentiles": [1, 99]}
    split = {"file": None, "folds": 3, "fold": 0, "validation": 0.5, "unlisted": "refuse"}
    folded = Dataset(prepare(scanners(), name="fake@fold0", split=split, normalise=chosen))
    alone = Dataset(prepare(scanners(), split=split, normalise=chosen, file="alone.h5"))
    everything = np.concatenate([case.read()[0].ravel() for case in scanners()])
    assert folded.intensities["image"].scale.mean == pytest.approx(everything.mean())
    assert alone.intensities["image"].scale.mean != pytest.approx(everything.mean())


def cases_of(path, split):
    with Dataset(path) as dataset:
        return set(dataset.case[dataset.rows(split)])


def test_cases_are_split_whole(prepare):
    dataset = Dataset(prepare(make_cases(10)))
    cases = [set(dataset.case[dataset.rows(split)]) for split in SPLITS]
    assert [len(names) for names in cases] == [6, 2, 2]
    assert not cases[0] & cases[1] and not cases[0] & cases[2] and not cases[1] & cases[2]


def test_split_follows_seed_and_name(prepare):
    def train_cases(**kwargs):
        dataset = Dataset(prepare(make_cases(10), **kwargs))
        return set(dataset.case[dataset.rows("train")])

    assert train_cases(seed=1) == train_cases(seed=1, file="again.h5")
    assert len({frozenset(train_cases(seed=seed)) for seed in range(5)}) > 1
    assert len({frozenset(train_cases(name=name)) for name in "abcde"}) > 1


def test_sources_own_split_is_kept(prepare):
    order = ["test", "train", "validation", "train"]
    cases = [make_case(f"p{index}", split=split) for index, split in enumerate(order)]
    dataset = Dataset(prepare(cases))
    assert dataset.split[::2].tolist() == order


@pytest.mark.parametrize("workers", [2, 5, 20])
def test_workers_change_nothing(prepare, workers):
    first = prepare(make_cases(6), file="one.h5")
    second = prepare(make_cases(6), file="two.h5", workers=workers)
    assert first.read_bytes() == second.read_bytes()


def test_workers_do_not_run_ahead():
    started = []
    results = map_in_order(started.append, range(10), workers=2)
    next(results)
    assert len(started) <= 3


def test_a_worker_hands_its_error_on(refuse):
    cases = [*make_cases(6), make_case("bad", change=lambda i, m, n: (i * np.nan, m, n))]
    refuse(cases, "case bad", workers=3)


def test_only_slices_with_structure_are_kept(prepare):
    def empty_first(images, labels, numbers):
        labels[0] = 0
        return images, labels, numbers + 40

    cases = make_cases(4, slices=3, change=empty_first)
    dataset = Dataset(prepare(cases))
    assert dataset.slice.tolist() == [41, 42] * 4
    dataset = Dataset(prepare(cases, select="all", file="all.h5"))
    assert dataset.slice.tolist() == [40, 41, 42] * 4


def test_slices_whose_structure_vanishes_are_not_kept(prepare):
    def speck(images, labels, numbers):
        labels[0] = 0
        labels[0, 0, 0] = 1
        return images, labels, numbers

    dataset = Dataset(prepare(make_cases(4, change=speck), size=4))
    assert dataset.slice.tolist() == [1] * 4


def test_case_without_structure_is_left_out(prepare, caplog):
    cases = [*make_cases(5), make_case("empty", change=lambda i, m, n: (i, m * 0, n))]
    dataset = Dataset(prepare(cases))
    assert set(dataset.case) == {f"p{index}" for index in range(5)}
    assert "case empty shows no structure" in caplog.text


def test_cases_left_out_are_counted_at_the_end(prepare, caplog):
    empty = [make_case(name, change=lambda i, m, n: (i, m * 0, n)) for name in ("e1", "e2")]
    prepare([*make_cases(8), *empty])
    assert "fake: 2 of 10 cases are left out" in caplog.records[-1].message
    assert caplog.records[-1].message.endswith("e1, e2")


def test_images_of_whole_numbers(prepare):
    cases = make_cases(4, change=lambda i, m, n: (i.astype(np.int16), m, n))
    dataset = Dataset(prepare(cases))
    expected = np.concatenate([case.read()[0] for case in cases]) / 50.0 - 1
    np.testing.assert_allclose(dataset.read(range(8))[0][:, 0], expected, atol=2**-11)


def test_more_slices_than_are_in_work_at_a_time(prepare):
    cases = make_cases(4, slices=2 * preparing.BATCH + 3)
    dataset = Dataset(prepare(cases, size=4))
    images = np.concatenate([case.read()[0] for case in cases])
    # Means of 2 x 2 pixels.
    means = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)) / 50 - 1
    np.testing.assert_allclose(dataset.read(range(len(dataset)))[0][:, 0], means, atol=2**-11)


def test_spacing_is_unknown_unless_the_source_says_it(prepare):
    assert np.isnan(Dataset(prepare(make_cases(4))).spacing).all()


@pytest.mark.parametrize(("size", "scale"), [(None, 1), (16, 0.75), (6, 2)])
def test_spacing_follows_the_size(prepare, size, scale):
    # Slices of 8 x 12 are padded to 12 x 12 before they are resized.
    cases = make_cases(4, shape=(8, 12), spacing=[(3.0, 0.5, 0.5)])
    spacing = Dataset(prepare(cases, size=size)).spacing
    np.testing.assert_array_equal(spacing, [[3, 0.5 * scale, 0.5 * scale]] * len(spacing))


def test_structures_lost_by_resizing_are_said(prepare, caplog):
    def two_specks(images, labels, numbers):
        labels[0] = 0
        labels[0, 0, 0] = 1
        return images, labels, numbers

    caplog.set_level("INFO")
    cases = make_cases(4, change=two_specks, spacing=[(3.0, 0.5, 0.5)])
    dataset = Dataset(prepare(cases, size=4))
    # A speck of 0.25 and a square of 12 pixels in four cases; the square's 3 new pixels stay.
    found = dataset.provenance["resizing"]
    assert found == {
        "unit": "mm3",
        "slices_dropped": 4,
        "structures": {"organ": {"slices": [8, 4], "volume": [39.0, 36.0], "cut": 0.0}},
    }
    assert (
        "fake: resizing leaves organ in 4 of 8 slices, with 92.3 % of its volume (36 of 39 mm3)"
        in caplog.text
    )
    assert "fake: 4 slices are left out, as resizing leaves no structure in them" in caplog.text


def test_slices_of_their_own_size_are_not_called_resized(prepare, caplog):
    caplog.set_level("INFO")
    for size in (None, 8):
        dataset = Dataset(prepare(make_cases(4), size=size))
        assert "resizing" not in dataset.provenance and "resizing" not in caplog.text


def test_volumes_are_in_pixels_where_a_spacing_is_unknown(prepare):
    found = Dataset(prepare(make_cases(4), size=4)).provenance["resizing"]
    assert found["unit"] == "pixels of the source"
    assert found["structures"]["organ"]["volume"] == [96.0, 96.0]


def test_majority_is_a_choice(prepare):
    def line(images, labels, numbers):
        labels[:] = 0
        labels[:, 2] = 1
        return images, labels, numbers

    for rule, pixels in (("majority", 4), ("area", 2)):
        dataset = Dataset(prepare(make_cases(4, change=line), size=4, resize_labels=rule))
        assert (dataset.read_labels(range(8)).sum(axis=(1, 2)) == pixels).all()


def test_unsquare_pixels_are_a_warning_with_figures(prepare, caplog):
    # A fake source's slices at 12 x 3 mm keep their grid, at 3.1 x 3 mm they are as good as square.
    cases = make_cases(4, spacing=[(3.0, 3.1, 3.0)])
    cases += [make_case("tall", spacing=[(3.0, 12.0, 3.0)])]
    dataset = Dataset(prepare(cases))
    assert dataset.provenance["unsquare_pixels"] == {"cases": 1, "mm": [12.0, 3.0]}
    assert "1 of 5 cases are not square, up to 12 x 3 mm" in caplog.text
    caplog.clear()
    for changes in ({"size": 16}, {"spacing": [3.0, 3.0], "size": 32}):
        dataset = Dataset(prepare(cases, **changes))
        assert "not square" not in caplog.text
        np.testing.assert_allclose(dataset.spacing[:, 1], dataset.spacing[:, 2], rtol=1e-6)


def test_cutting_a_structure_is_a_warning(prepare, caplog):
    cases = make_cases(4, shape=(20, 20), spacing=[(1.0, 1.0, 1.0)])
    # The middle 16 pixels: the structure, rows 2 to 5 and columns 3 to 5, stays.
    dataset = Dataset(prepare(cases, spacing=[1.0, 1.0], size=16))
    assert dataset.provenance["resizing"]["structures"]["organ"]["cut"] == 0
    assert "cut off" not in caplog.text
    # At 0.75 mm they are the middle 12 mm, from row and column 4 on.
    dataset = Dataset(prepare(cases, spacing=[0.75, 0.75], size=16))
    assert dataset.provenance["resizing"]["structures"]["organ"]["cut"] == 64.0
    assert "case p0 is larger than `size`" in caplog.text and "66.7 % of organ" in caplog.text


def test_spacing_needs_that_of_the_source(refuse):
    refuse(make_cases(4), "case p0", "`spacing` needs it", spacing=[1.0, 1.0])


# Intensities

ZSCORE = {"method": "zscore", "by": "case", "over": "all", "percentiles": None}


def scanners(count=6):
    """Cases of one anatomy as scanners of different gain would give them; p0 is the dimmest."""
    return [
        make_case(f"p{gain}", change=lambda i, m, n, gain=gain: (i * (gain + 1), m, n))
        for gain in range(count)
    ]


def test_zscore_by_case_undoes_the_scanners_gain(prepare):
    dataset = Dataset(prepare(scanners(), normalise=ZSCORE))
    images = dataset.read(range(len(dataset)))[0][:, 0]
    for row, case in enumerate(scanners()):
        whole, _, _ = case.read()
        found = images[2 * row : 2 * row + 2]
        np.testing.assert_allclose(found, (whole - whole.mean()) / whole.std() / 5, atol=2**-11)
        scale = dataset.intensities["image"].fit(whole)
        assert dataset.scales(2 * row) == dataset.scales(2 * row + 1) == [scale]
        np.testing.assert_array_equal(scale.apply(whole).astype(np.float16), found)


def test_slices_that_are_not_kept_count_as_they_would_in_a_new_image(prepare):
    def empty_first(images, labels, numbers):
        labels[0] = 0
        images[0] *= 9
        return images, labels, numbers

    cases = make_cases(4, change=empty_first)
    dataset = Dataset(prepare(cases, normalise=ZSCORE))
    assert dataset.slice.tolist() == [1] * 4
    whole, _, _ = cases[0].read()
    assert dataset.scales(0)[0].mean == pytest.approx(whole.mean(), rel=1e-6)


@pytest.mark.parametrize("over", ["all", "foreground"])
@pytest.mark.parametrize("workers", [1, 3])
def test_statistics_of_a_dataset_are_those_of_its_training_cases(prepare, over, workers):
    chosen = ZSCORE | {"by": "dataset", "over": over, "percentiles": [1, 99]}
    cases = scanners(10)
    dataset = Dataset(prepare(cases, normalise=chosen, workers=workers))
    training = set(dataset.case[dataset.rows("train")])
    read = [case.read() for case in cases if case.name in training]
    assert 3 <= len(read) < 10
    parts = [i[m > 0] if over == "foreground" else i.ravel() for i, m, _ in read]
    values = np.concatenate(parts).astype(float)
    scale = dataset.intensities["image"].scale
    assert scale.mean == pytest.approx(values.mean()) and scale.sd == pytest.approx(values.std())
    np.testing.assert_allclose([scale.low, scale.high], np.percentile(values, [1, 99]), rtol=1e-5)
    assert dataset.scales(0) == [scale]


def test_the_same_seed_samples_the_same_values(prepare, monkeypatch):
    monkeypatch.setattr(preparing, "SAMPLES", 120)
    chosen = ZSCORE | {"by": "dataset"}
    files = [
        prepare(make_cases(6), normalise=chosen, file=file, workers=workers, seed=seed)
        for file, workers, seed in (("a.h5", 1, 5), ("b.h5", 4, 5), ("c.h5", 1, 6))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert Dataset(files[0]).intensities != Dataset(files[2]).intensities


def test_none_keeps_values_and_pads_with_the_darkest(prepare):
    cases = make_cases(4, shape=(16, 8), change=lambda i, m, n: (i.round() + 5, m, n))
    dataset = Dataset(prepare(cases, normalise={"method": "none"}, size=16))
    images = dataset.read([0, 1])[0][:, 0]
    whole, _, _ = cases[0].read()
    np.testing.assert_array_equal(images[:, :, 4:12], whole)
    assert (images[:, :, :4] == whole.min()).all()


def test_none_refuses_what_cannot_be_stored(refuse):
    huge = make_cases(4, change=lambda i, m, n: (i * 1e4, m, n))
    refuse(huge, "case p0, slice 0", "none beyond 65504", normalise={"method": "none"})


def test_saturation_is_a_warning_that_names_the_case(prepare, caplog):
    dataset = Dataset(prepare(scanners(), window=[0, 210]))
    # Values are uniform up to 100, 200, ..., 600: above 210 are 0, 0, 30, 47, 58 and 65 %.
    found = dataset.provenance["saturation"]
    assert "case p0" not in caplog.text and "case p1" not in caplog.text
    assert [f"case p{number} saturates" in caplog.text for number in range(2, 6)] == [True] * 4
    assert "are above 210" in caplog.text
    assert set(found["worst"]) == {"p2", "p3", "p4", "p5"} and found["cases"] == 4
    assert found["worst"]["p5"]["above"] == pytest.approx(0.65, abs=0.1)
    assert found["above"] == pytest.approx(0.33, abs=0.05) and found["below"] == 0
    assert 0 < found["above_in_structures"] < 1
    caplog.clear()
    assert Dataset(prepare(scanners(), normalise=ZSCORE)).provenance["saturation"]["cases"] == 0
    assert "saturates" not in caplog.text


def test_background_below_the_window_is_no_warning(prepare, caplog):
    def air(images, labels, numbers):
        return np.where(labels > 0, images, images - 1000), labels, numbers

    found = Dataset(prepare(make_cases(4, change=air))).provenance["saturation"]
    assert found["below"] > 0.8 and found["below_in_structures"] == 0
    assert "saturates" not in caplog.text


def test_a_case_whose_values_are_all_alike_is_refused_by_name(refuse):
    def almost_flat(images, labels, numbers):
        images[:] = 7
        images[:, 0, 0] = 8
        return images, labels, numbers

    cases = [*make_cases(4), make_case("flat", change=almost_flat)]
    chosen = {"method": "percentile", "by": "case", "over": "all", "percentiles": [5, 95]}
    refuse(cases, "case flat", "nearly all 7", normalise=chosen)


def test_slices_without_structure_may_be_empty(prepare, refuse):
    def padded(images, labels, numbers):
        images[0], labels[0] = 0, 0
        return images, labels, numbers

    cases = make_cases(4, change=padded)
    refuse(cases, "slice 0", "every pixel of the image is 0", select="all")
    assert Dataset(prepare(cases)).slice.tolist() == [1] * 4


def test_progress_names_every_case(prepare, caplog):
    caplog.set_level("INFO")
    prepare(make_cases(4))
    assert "case p3, 4 of 4" in caplog.text


def test_tall_slices_are_padded_with_the_windows_minimum(prepare):
    dataset = Dataset(prepare(make_cases(4, shape=(8, 6)), size=8))
    images, labels = dataset.read(range(len(dataset)))
    assert (images[..., [0, -1]] == -1).all() and (labels[:, :, [0, -1]] == 0).all()
    assert labels.sum() == 12 * len(dataset)


# Bad input: the message names dataset, place, finding and mend.


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(refuse, value):
    def spoil(images, labels, numbers):
        images[1, 3, 3] = value
        return images, labels, numbers

    cases = [*make_cases(4), make_case("bad", change=spoil)]
    refuse(cases, "case bad, slice 1", "NaN or infinity", "repair or remove")


def test_constant_image(refuse):
    cases = [*make_cases(4), make_case("flat", change=lambda i, m, n: (i * 0 + 7, m, n))]
    refuse(cases, "case flat, slice 0", "every pixel of the image is 7", "remove the slice")


def test_window_that_misses_the_data(refuse):
    cases = [*make_cases(4), make_case("cold", change=lambda i, m, n: (i - 5000, m, n))]
    refuse(cases, "case cold, slice 0", "the values are -49", "`window` [", "nothing to see")


def test_mask_of_another_size(refuse):
    cases = [*make_cases(4), make_case("odd", change=lambda i, m, n: (i, m[:, :6], n))]
    refuse(cases, "case odd", "2 x 8 x 8", "2 x 6 x 8", "mask of its own size")


def test_label_outside_the_classes(refuse):
    cases = [*make_cases(4), make_case("odd", change=lambda i, m, n: (i, m * 5, n))]
    refuse(cases, "case odd, slice 0", "label is 5", "expected 0 to 1", "`classes`")


def test_slice_twice(refuse):
    cases = [*make_cases(4), make_case("odd", change=lambda i, m, n: (i, m, n * 0 + 3))]
    refuse(cases, "slice 3 of case 'odd'", "2 times", "remove the duplicates")


def test_case_name_twice(refuse):
    refuse([*make_cases(4), make_case("p2")], "case 'p2' comes 2 times", "its own name")


def test_sizes_differ_without_a_size(refuse):
    cases = [*make_cases(4), make_case("wide", shape=(8, 9))]
    refuse(cases, "case 'wide'", "8 x 9", "8 x 8", "set `size`")


def test_no_foreground_anywhere(refuse):
    cases = make_cases(5, change=lambda i, m, n: (i, m * 0, n))
    refuse(cases, "organ has no pixel in the training split", "check the masks", select="all")


def test_no_slice_with_structure(refuse):
    refuse(make_cases(5, change=lambda i, m, n: (i, m * 0, n)), "no slice is left", "`select: all`")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_cases(refuse, count):
    refuse(make_cases(count), f"{count} cases", "at least 3 are needed", "add cases")


def two_channels(count=5, **kwargs):
    """Cases whose second channel is 1000 minus ten times the first."""
    cases = []
    for case in make_cases(count, **kwargs):
        images, labels, *more = case.read()
        read = ([images, 1000 - 10 * images], labels, *more)
        cases.append(Case(case.name, lambda read=read: read))
    return cases


BOTH = {"images": {"a": "(.)a", "b": "(.)b"}}


def test_every_channel_has_its_own_window(prepare):
    cases = two_channels()
    dataset = Dataset(prepare(cases, **BOTH, window={"a": [0, 100], "b": [0, 500]}))
    assert dataset.channels == ["a", "b"]
    images, labels = dataset.read(range(len(dataset)))
    first = np.concatenate([case.read()[0][0] for case in cases])
    np.testing.assert_allclose(images[:, 0], first / 50 - 1, atol=2**-11)
    clipped = np.clip(1000 - 10 * first, 0, 500) / 250 - 1
    np.testing.assert_allclose(images[:, 1], clipped, atol=2**-11)
    assert labels.sum() == 12 * len(dataset)


def test_the_order_of_channels_is_that_of_their_names_in_the_config(prepare):
    window = {"a": [0, 100], "b": [0, 1000]}
    swapped = {"images": {"b": "(.)b", "a": "(.)a"}}
    one, other = (
        Dataset(prepare(two_channels(), file=file, window=window, **images))
        for file, images in (("one.h5", BOTH), ("other.h5", swapped))
    )
    assert (one.channels, other.channels) == (["a", "b"], ["b", "a"])
    assert other.intensities["b"] == one.intensities["b"] == Intensity.of_window(0, 1000)


def test_channels_are_normalised_apart(prepare):
    by_dataset = ZSCORE | {"by": "dataset"}
    chosen = {"a": {"method": "window"}, "b": by_dataset}
    cases = two_channels()
    dataset = Dataset(prepare(cases, **BOTH, window=[0, 100], normalise=chosen))
    assert dataset.intensities["a"] == Intensity.of_window(0, 100)
    training = set(dataset.case[dataset.rows("train")])
    second = np.concatenate([case.read()[0][1] for case in cases if case.name in training])
    scale = dataset.intensities["b"].scale
    assert scale.mean == pytest.approx(second.mean()) and scale.sd == pytest.approx(second.std())
    chosen = {"a": ZSCORE, "b": {"method": "none"}}
    dataset = Dataset(prepare(cases, **BOTH, normalise=chosen, file="again.h5"))
    whole = cases[2].read()[0]
    scales = dataset.scales(4)
    assert scales[0].mean == pytest.approx(whole[0].mean(), rel=1e-6) and scales[1].sd is None


def test_channels_are_resized_alike_and_padded_with_their_own_darkest(prepare):
    cases = two_channels(shape=(16, 8), change=lambda i, m, n: (i.round(), m, n))
    none = {"method": "none"}
    dataset = Dataset(prepare(cases, **BOTH, normalise=none, size=16))
    images, _ = dataset.read([0])
    for place, channel in enumerate(cases[0].read()[0]):
        np.testing.assert_array_equal(images[0, place, :, 4:12], channel[0])
        assert (images[0, place, :, :4] == channel.min()).all()


def test_saturation_names_the_channel(prepare, caplog):
    window = {"a": [0, 100], "b": [0, 500]}
    found = Dataset(prepare(two_channels(), **BOTH, window=window)).provenance["saturation"]
    assert "case p0 saturates in channel b: " in caplog.text
    assert "in channel a" not in caplog.text
    assert found["channels"]["a"]["above"] == 0
    # Half of the second channel's values are above 500; of both channels' a quarter is.
    assert found["channels"]["b"]["above"] == pytest.approx(0.5, abs=0.1)
    assert found["above"] == pytest.approx(found["channels"]["b"]["above"] / 2, abs=1e-4)
    assert found["cases"] == 5 and found["worst"]["p0"]["above"] > 0.3


def test_what_is_wrong_with_one_channel_is_said_of_it(prepare, refuse):
    def change_of(place, value):
        cases = two_channels()
        cases[1].read()[0][place][1] = value
        return cases

    window = {"a": [0, 100], "b": [0, 1000]}
    about = {**BOTH, "window": window}
    refuse(change_of(1, np.nan), "case p1, slice 1, channel b: the image holds NaN", **about)
    # A slice may lack a channel, such as the blue of a red one, but not all.
    assert len(Dataset(prepare(change_of(0, 7), **about))) == 10


def test_a_slice_that_shows_nothing_in_any_channel_is_refused(refuse):
    cases = two_channels()
    for channel in cases[1].read()[0]:
        channel[1] = 7
    refuse(cases, "case p1, slice 1", "every pixel of the image is 7, 7", **BOTH, window=[0, 100])
