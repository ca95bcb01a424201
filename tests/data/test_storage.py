"""Dataset and label files: what goes in comes out, and damaged files are refused by name."""

import json
import pickle
from multiprocessing import get_context

import h5py
import numpy as np
import pytest

from labelnoise.data.checksums import read_attributes, write_array, write_attributes
from labelnoise.data.intensity import Intensity, Scale
from labelnoise.data.storage import (
    Dataset,
    LabelFile,
    write_dataset,
    write_fold,
    write_labels,
)
from labelnoise.errors import InputError

CASES = (("b", "train", [4, 5]), ("a", "validation", [0]), ("ä", "test", [7, 3]))
FOLDS = (
    {"b": "train", "a": "validation", "ä": "test"},
    {"b": "test", "a": "train", "ä": "validation"},
)
RNG = np.random.default_rng(0)
# Multiples of 1/8 survive float16, so reading must give them back exactly.
IMAGES = RNG.integers(-8, 9, (5, 6, 8)).astype(np.float32) / 8
LABELS = RNG.integers(0, 3, (5, 6, 8)).astype(np.uint8)
ATTRS = {
    "dataset": "tiny",
    "perturbation": "choppy-0.90",
    "kind": "choppy",
    "classes": 3,
    "seed": 2**62 + 1,
    "severities": {1: 2.5, 2: 0.5},
    "foreground_fractions": {1: 0.1, 2: 0.2},
}


def write_tiny(path, labels=LABELS, cases=CASES, folds=()):
    with write_dataset(
        path,
        name="tiny",
        class_names=["background", "liver", "tumour"],
        window=(-128, 128),
        provenance={"what": "noise"},
        folds=folds,
    ) as writer:
        start = 0
        for case, split, numbers in cases:
            stop = start + len(numbers)
            writer.append(case, split, numbers, IMAGES[start:stop], labels[start:stop])
            start = stop
    return path


def write_tiny_labels(path, draws=2, rows=(4, 0, 2)):
    stored = 1 if draws == "per_epoch" else draws
    with write_labels(path, rows=rows, shape=(6, 8), draws=draws, **ATTRS) as writer:
        for draw in range(stored):
            writer.write(draw, 1, (LABELS[[0, 2]] + draw) % 3)
            writer.write(draw, 0, (LABELS[[4]] + draw) % 3)
    return path


@pytest.fixture
def tiny(tmp_path):
    return write_tiny(tmp_path / "tiny.h5")


def alter(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def assert_refused(reader, path, *words):
    with pytest.raises(InputError) as error:
        reader(path)
    for word in (str(path), "delete it", "snakemake", *words):
        assert word in str(error.value)


def assert_write_refused(folder, *words, **changes):
    with pytest.raises(InputError) as error:
        write_tiny(folder / "tiny.h5", **changes)
    for word in ("dataset tiny", *words):
        assert word in str(error.value)
    assert list(folder.iterdir()) == []


def test_a_fold_stands_and_falls_with_the_file_that_holds_its_slices(tmp_path):
    first, second = (tmp_path / f"tiny@fold{fold}.h5" for fold in range(2))
    write_tiny(first, folds=FOLDS)
    with pytest.raises(InputError, match="does not hold the splits of tiny@fold2"):
        write_fold(second, first, "tiny@fold2")
    assert list(tmp_path.iterdir()) == [first]
    write_fold(second, first, "tiny@fold1")
    with Dataset(second) as dataset:
        assert dataset.split.tolist() == ["test", "test", "train", "validation", "validation"]
        again = pickle.loads(pickle.dumps(dataset))
        np.testing.assert_array_equal(again.read([4])[0][:, 0], IMAGES[[4]])
        before = dataset.digest()
    # Other slices are another dataset, though the fold's own file is the same.
    write_tiny(first, labels=LABELS[::-1], folds=FOLDS)
    with Dataset(second) as dataset:
        assert dataset.digest() != before
    first.unlink()
    assert_refused(Dataset, second, f"{first}, which holds its slices, does not exist")


def test_a_fold_without_training_pixels_of_a_class(tmp_path):
    labels = LABELS.copy()
    labels[2][labels[2] == 2] = 0
    first = write_tiny(tmp_path / "tiny@fold0.h5", labels=labels, folds=FOLDS)
    with pytest.raises(InputError, match="dataset tiny@fold1: tumour has no pixel"):
        write_fold(tmp_path / "tiny@fold1.h5", first, "tiny@fold1")
    assert list(tmp_path.iterdir()) == [first]


def test_dataset_comes_back(tiny):
    with Dataset(tiny) as dataset:
        assert (dataset.name, len(dataset), dataset.shape) == ("tiny", 5, (6, 8))
        assert dataset.class_names == ["background", "liver", "tumour"]
        assert dataset.intensities == {"image": Intensity.of_window(-128, 128)}
        assert dataset.provenance == {"what": "noise"}
        assert dataset.case.tolist() == ["b", "b", "a", "ä", "ä"]
        assert dataset.slice.tolist() == [4, 5, 0, 7, 3]
        assert [dataset.rows(s).tolist() for s in ("train", "validation", "test")] == [
            [0, 1],
            [2],
            [3, 4],
        ]
        images, labels = dataset.read([3, 0, 3])
    assert images.dtype == np.float32 and labels.dtype == np.uint8
    np.testing.assert_array_equal(images, IMAGES[[3, 0, 3], None])
    np.testing.assert_array_equal(labels, LABELS[[3, 0, 3]])


def test_scales_of_cases_come_back(tmp_path):
    intensity = Intensity("zscore", "case")
    scales = {
        "b": Scale(mean=1.5, sd=2.0),
        "a": Scale(-1.0, 9.0, 0.25, 4.0),
        "ä": Scale(mean=0.0, sd=1.0),
    }
    about = {"name": "tiny", "class_names": ["background", "liver", "tumour"], "provenance": {}}
    with write_dataset(tmp_path / "x.h5", intensities={"image": intensity}, **about) as writer:
        for case, split, numbers in CASES:
            slices = (IMAGES[: len(numbers)], LABELS[: len(numbers)])
            writer.append(case, split, numbers, *slices, scales=[scales[case]])
    with Dataset(tmp_path / "x.h5") as dataset:
        assert dataset.intensities == {"image": intensity}
        assert [dataset.scales(row) for row in range(5)] == [
            [scales[case]] for case in dataset.case
        ]
    alter(tmp_path / "x.h5", lambda file: file.__delitem__("scale"))
    assert_refused(Dataset, tmp_path / "x.h5", "scale")


def test_reading_after_close_opens_again(tiny):
    dataset = Dataset(tiny)
    dataset.close()
    np.testing.assert_array_equal(dataset.read_labels([1]), LABELS[[1]])


def test_foreground_fraction_is_of_the_training_split(tiny):
    expected = [np.mean(LABELS[:2] == index) for index in range(3)]
    np.testing.assert_allclose(Dataset(tiny).foreground_fraction, expected, rtol=1e-12)


def test_stored_layout(tiny):
    with h5py.File(tiny) as file:
        for key, dtype in (("images", np.float16), ("labels", np.uint8)):
            stored = file[key]
            assert stored.dtype == dtype and stored.chunks == (1, 6, 8)
            assert stored.compression == "gzip" and stored.shuffle and stored.fletcher32
        assert file["slice"].dtype == np.int32
        attributes = read_attributes(file)
        assert (attributes["format"], attributes["format_version"]) == ("labelnoise-dataset", 2)


def test_spacing_comes_back(tmp_path):
    with write_dataset(
        tmp_path / "x.h5", name="x", class_names=["background", "yes"], window=(0, 1), provenance={}
    ) as writer:
        writer.append("a", "train", [0, 1], IMAGES[:2], LABELS[:2] % 2, (2.5, 0.7, 0.8))
        writer.append("b", "validation", [0], IMAGES[2:3], LABELS[2:3] % 2)
        writer.append("c", "test", [0], IMAGES[3:4], LABELS[3:4] % 2, np.array([5, 1, 1]))
    spacing = Dataset(tmp_path / "x.h5").spacing
    assert spacing.dtype == np.float32
    expected = [[2.5, 0.7, 0.8]] * 2 + [[np.nan] * 3] + [[5, 1, 1]]
    np.testing.assert_array_equal(spacing, np.array(expected, np.float32))


def test_workers_do_not_change_the_file(tmp_path):
    rng = np.random.default_rng(1)
    images = rng.uniform(-1, 1, (40, 6, 8)).astype(np.float16)
    for workers in (1, 3):
        with write_dataset(
            tmp_path / f"{workers}.h5",
            name="x",
            class_names=["background", "yes"],
            window=(0, 1),
            provenance={},
            workers=workers,
        ) as writer:
            for case, split in zip("abc", ("train", "validation", "test"), strict=True):
                writer.append(case, split, range(40), images, (images > 0).astype(np.uint8))
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "3.h5").read_bytes()
    read, _ = Dataset(tmp_path / "3.h5").read(range(120))
    np.testing.assert_array_equal(read[:, 0], np.concatenate([images] * 3))


def test_equal_input_gives_equal_bytes(tmp_path):
    first, second = (write_tiny(tmp_path / name) for name in ("one.h5", "two.h5"))
    assert first.read_bytes() == second.read_bytes()
    assert Dataset(first).digest() == Dataset(second).digest()


def test_digest_changes_with_the_content(tmp_path, tiny):
    other = write_tiny(tmp_path / "other.h5", labels=(LABELS + 1) % 3)
    assert len(Dataset(tiny).digest()) == 64
    assert Dataset(tiny).digest() != Dataset(other).digest()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_reader_works_in_other_processes(tiny, method):
    dataset = Dataset(tiny)
    dataset.read([0])
    with get_context(method).Pool(2) as pool:
        for row, labels in enumerate(pool.map(dataset.read_labels, [[row] for row in range(5)])):
            np.testing.assert_array_equal(labels, LABELS[[row]])


def test_reader_pickles(tiny):
    copy = pickle.loads(pickle.dumps(Dataset(tiny)))
    np.testing.assert_array_equal(copy.read([2])[0], IMAGES[[2], None])


def test_unknown_split(tiny):
    with pytest.raises(ValueError, match="valid"):
        Dataset(tiny).rows("valid")


def test_case_twice_is_refused(tmp_path):
    again = (*CASES[:2], ("b", "test", [8, 9]))
    assert_write_refused(tmp_path, "case 'b'", "twice", "own name", cases=again)


def test_slice_twice_is_refused(tmp_path):
    twice = (("b", "train", [4, 4]), *CASES[1:])
    assert_write_refused(tmp_path, "slice 4", "2 times", "remove", cases=twice)


def test_empty_split_is_refused(tmp_path):
    assert_write_refused(tmp_path, "test split", "add cases", cases=CASES[:2])


@pytest.mark.parametrize(("replace", "name"), [(1, "liver"), (2, "tumour")])
def test_training_set_without_a_class_is_refused(tmp_path, replace, name):
    labels = LABELS.copy()
    labels[:2][labels[:2] == replace] = 0
    assert_write_refused(tmp_path, name, "training split", "check the masks", labels=labels)


def test_other_size_is_refused(tmp_path):
    with (
        pytest.raises(InputError, match=r"case 'c'.*4 x 4.*6 x 8.*set `size`"),
        write_dataset(
            tmp_path / "x.h5",
            name="x",
            class_names=["background", "yes"],
            window=(0, 1),
            provenance={},
        ) as writer,
    ):
        writer.append("b", "train", [0], IMAGES[:1], LABELS[:1] % 2)
        writer.append("c", "train", [0], IMAGES[:1, :4, :4], LABELS[:1, :4, :4] % 2)
    assert list(tmp_path.iterdir()) == []


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.h5 does not exist; let snakemake make it"):
        Dataset(tmp_path / "none.h5")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_file(tiny, share):
    content = tiny.read_bytes()
    tiny.write_bytes(content[: int(share * len(content))])
    assert_refused(Dataset, tiny, "truncated")


def test_foreign_files(tmp_path, tiny):
    text = tmp_path / "notes.h5"
    text.write_text("not HDF5 at all")
    assert_refused(Dataset, text, "not a labelnoise-dataset")
    labels = write_tiny_labels(tmp_path / "labels.h5")
    assert_refused(Dataset, labels, "'labelnoise-labels'", "expected 'labelnoise-dataset'")
    assert_refused(LabelFile, tiny, "'labelnoise-dataset'", "expected 'labelnoise-labels'")


def _remove(key):
    return lambda file: file.__delitem__(key)


def _replace(key, values):
    def change(file):
        del file[key]
        file[key] = values

    return change


def _attr(key, value):
    return lambda file: write_attributes(file, read_attributes(file) | {key: value})


def _no_attr(key):
    def change(file):
        kept = {name: value for name, value in read_attributes(file).items() if name != key}
        del file.attrs[key]
        write_attributes(file, kept)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_attr("format_version", 1), ("version is 1", "expected 2")),
        (_attr("format", "mine"), ("'mine'",)),
        (_attr("provenance", "{"), ("attribute",)),
        (_attr("class_names", ["background", "liver"]), ("classes", "3 foreground fractions")),
        (_attr("class_names", ["liver", "background", "x"]), ("background first",)),
        (_no_attr("intensity"), ("intensity",)),
        (lambda file: file.attrs.__setitem__("name", "other"), ("attributes", "edited")),
        (_remove("labels"), ("no /labels",)),
        (_remove("split"), ("no /split",)),
        (_replace("slice", np.arange(4)), ("/slice has shape (4,)", "(5,)")),
        (_replace("labels", np.zeros((5, 6, 7), np.uint8)), ("/labels (5, 6, 7)",)),
        (_replace("images", np.zeros((5, 6, 8), np.float64)), ("float64", "expected float16")),
        (_replace("spacing", np.ones((5, 2))), ("/spacing has shape (5, 2)", "(5, 3)")),
        (_replace("slice", [4, 4, 0, 7, 3]), ("slice 4 of case b is twice",)),
        (_replace("split", ["train", "test", *["test"] * 3]), ("case b is in two splits",)),
        (_replace("split", ["train", "train", "dev", "test", "test"]), ("split ['dev']",)),
    ],
)
def test_inconsistent_file(tiny, change, words):
    alter(tiny, change)
    assert_refused(Dataset, tiny, *words)


def test_label_outside_the_classes(tiny):
    alter(tiny, lambda file: file["labels"].__setitem__((3, 0, 0), 9))
    dataset = Dataset(tiny)
    dataset.read([0, 1, 2, 4])
    assert_refused(lambda _: dataset.read([3]), tiny, "label is 9")


def test_damaged_chunk(tiny):
    with h5py.File(tiny) as file:
        chunk = file["images"].id.get_chunk_info(0)
    content = bytearray(tiny.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    tiny.write_bytes(content)
    assert_refused(lambda path: Dataset(path).read([0]), tiny, "cannot be read")


@pytest.mark.parametrize("draws", [1, 2, "per_epoch"])
def test_labels_come_back(tmp_path, draws):
    path = write_tiny_labels(tmp_path / "rep0.h5", draws)
    with LabelFile(path) as labels:
        assert (labels.dataset, labels.perturbation, labels.kind) == (
            "tiny",
            "choppy-0.90",
            "choppy",
        )
        assert (labels.draws, labels.seed) == (draws, 2**62 + 1)
        assert labels.severities == {1: 2.5, 2: 0.5}
        assert labels.foreground_fractions == {1: 0.1, 2: 0.2}
        assert labels.rows.tolist() == [4, 0, 2] and labels.shape == (6, 8)
        for draw in range(labels.stored_draws):
            expected = (LABELS[[2, 4, 2]] + draw) % 3
            np.testing.assert_array_equal(labels.read([2, 4, 2], draw), expected)
        with pytest.raises(IndexError, match="draw 2"):
            labels.read([2], 2)


def test_labels_are_bits_that_numpy_unpacks(tmp_path):
    with h5py.File(write_tiny_labels(tmp_path / "rep0.h5")) as file:
        low_HW, high_HW = np.unpackbits(file["labels"][1, 2], axis=-1, count=file.attrs["width"])
    np.testing.assert_array_equal(low_HW + 2 * high_HW, (LABELS[2] + 1) % 3)


def test_labels_of_version_2_are_bytes(tmp_path):
    path = write_tiny_labels(tmp_path / "rep0.h5")
    with LabelFile(path) as labels:
        drawn = np.stack([labels.read(labels.rows, draw) for draw in range(2)])
    with h5py.File(path, "r+") as file:
        attributes = read_attributes(file)
        del attributes["width"], file.attrs["width"], file["labels"]
        write_array(file, "labels", drawn)
        write_attributes(file, attributes | {"format_version": 2})
    with LabelFile(path) as labels:
        assert labels.shape == (6, 8)
        np.testing.assert_array_equal(labels.read([2, 4], 1), (LABELS[[2, 4]] + 1) % 3)


def test_a_label_that_is_no_class_is_not_written(tmp_path):
    path = tmp_path / "x.h5"
    with (
        pytest.raises(ValueError, match="class index 4"),
        write_labels(path, rows=[0], shape=(6, 8), draws=1, **ATTRS) as writer,
    ):
        writer.write(0, 0, LABELS[:1] + 2)
    assert list(tmp_path.iterdir()) == []


def test_equal_labels_give_equal_bytes(tmp_path):
    first, second = (write_tiny_labels(tmp_path / name) for name in ("one.h5", "two.h5"))
    assert first.read_bytes() == second.read_bytes()


def test_forgotten_slice_leaves_no_file(tmp_path):
    path = tmp_path / "x.h5"
    with (
        pytest.raises(RuntimeError, match="1 slices"),
        write_labels(path, rows=[0, 1], shape=(6, 8), draws=1, **ATTRS) as writer,
    ):
        writer.write(0, 0, LABELS[:1])
    assert list(tmp_path.iterdir()) == []


def test_row_without_labels(tmp_path):
    path = write_tiny_labels(tmp_path / "rep0.h5")
    assert_refused(lambda _: LabelFile(path).read([0, 3], 0), path, "no labels for row 3")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_attr("format_version", 4), ("version is 4", "expected 2 or 3")),
        (_attr("draws", 5), ("2 draws of 3 slices", "expected 5 draws")),
        (_attr("seed", "abc"), ("attribute",)),
        (_attr("severities", "[1]"), ("truncated or not a",)),
        (_remove("row"), ("no /row",)),
        (_replace("row", np.array([1, 1, 2])), ("each row once",)),
        (_replace("labels", np.zeros((2, 3, 6, 8), np.uint8)), ("expected (D, M, P, H, B)",)),
    ],
)
def test_inconsistent_labels(tmp_path, change, words):
    path = write_tiny_labels(tmp_path / "rep0.h5")
    alter(path, change)
    assert_refused(LabelFile, path, *words)


def test_truncated_labels(tmp_path):
    path = write_tiny_labels(tmp_path / "rep0.h5")
    path.write_bytes(path.read_bytes()[:-200])
    assert_refused(LabelFile, path, "truncated")


TWO = np.stack([IMAGES, IMAGES[:, ::-1] / 2], axis=1)
CHANNELS = {"T1": Intensity.of_window(0, 400), "FLAIR": Intensity("zscore", "case")}


def write_two(path, images=TWO):
    about = {"name": "tiny", "class_names": ["background", "liver", "tumour"], "provenance": {}}
    with write_dataset(path, intensities=CHANNELS, **about) as writer:
        start = 0
        for case, split, numbers in CASES:
            rows = slice(start, start + len(numbers))
            scales = [CHANNELS["T1"].scale, Scale(mean=float(start), sd=2.0)]
            writer.append(case, split, numbers, images[rows], LABELS[rows], scales=scales)
            start = rows.stop
    return path


def test_channels_come_back_in_their_order(tmp_path):
    path = write_two(tmp_path / "two.h5")
    with h5py.File(path) as file:
        assert file["images"].shape == (5, 2, 6, 8)
        # One read, and one compressed block, is a slice with all that it shows.
        assert file["images"].chunks == (1, 2, 6, 8)
    with Dataset(path) as dataset:
        assert dataset.channels == ["T1", "FLAIR"] == list(dataset.intensities)
        assert dataset.intensities == CHANNELS and dataset.shape == (6, 8)
        images, labels = dataset.read([4, 1])
        assert dataset.scales(2) == [Scale(0.0, 400.0), Scale(mean=2.0, sd=2.0)]
        np.testing.assert_array_equal(dataset.grey(images), TWO[[4, 1], 0])
    np.testing.assert_array_equal(images, TWO[[4, 1]])
    np.testing.assert_array_equal(labels, LABELS[[4, 1]])


def test_one_channel_is_stored_as_before_there_were_several(tiny):
    with h5py.File(tiny) as file:
        assert set(file) == {"images", "labels", "case", "slice", "split", "spacing"}
        assert file["images"].shape == (5, 6, 8) and file["images"].chunks == (1, 6, 8)
        assert set(file.attrs) == {
            *("format", "format_version", "name", "class_names", "intensity"),
            *("foreground_fraction", "provenance", "attributes_sha256"),
        }
        assert set(json.loads(file.attrs["intensity"])) == {
            *("method", "by", "over", "percentiles", "scale")
        }
    assert Dataset(tiny).channels == ["image"]


def test_colour_is_shown_as_its_luminance(tmp_path):
    about = {"name": "tiny", "class_names": ["background", "liver", "tumour"], "provenance": {}}
    colours = dict.fromkeys(("red", "green", "blue"), Intensity.of_window(0, 255))
    with write_dataset(tmp_path / "x.h5", intensities=colours, **about) as writer:
        for case, split, _ in CASES:
            writer.append(case, split, [0], np.zeros((1, 3, 6, 8)), LABELS[:1] % 2 + 1)
    images = np.array([1, 0.5, -1]).reshape(1, 3, 1, 1)
    assert Dataset(tmp_path / "x.h5").grey(images).item() == pytest.approx(0.299 + 0.2935 - 0.114)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.attrs.__delitem__("channels"), ()),
        (lambda file: file.attrs.__setitem__("channels", ["T1", "FLAIR", "T2"]), ()),
        (lambda file: file.__delitem__("scale"), ("scale",)),
    ],
)
def test_a_file_whose_channels_do_not_fit_is_refused(tmp_path, change, words):
    alter(write_two(tmp_path / "two.h5"), change)
    assert_refused(Dataset, tmp_path / "two.h5", *words)


def test_another_number_of_channels_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="3 channels, expected 2"):
        write_two(tmp_path / "two.h5", np.repeat(IMAGES[:, None], 3, axis=1))
    assert list(tmp_path.iterdir()) == []
