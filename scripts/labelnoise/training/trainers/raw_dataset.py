"""A run's data as a raw dataset of nnU-Net: images, wrong training labels, and no others.

The layout is that of nnU-Net's documentation/dataset_format.md, in NIfTI.

Shape legend: N rows, S slices of a part, K channels, H height, W width.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelnoise.data.storage import Dataset, LabelFile
from labelnoise.files import whole_folder, write_json

# As nnU-Net asks for: a number of three digits, then a name.
NAME = "Dataset001_study"
ENDING = ".nii.gz"
# mm between slices of which one is alone, so far that nothing takes them for a volume; nnU-Net's.
ALONE = 999.0


@dataclass(frozen=True, eq=False)
class Part:
    """One image of the raw dataset.

    Attributes:
        name: its identifier, `case0003` for a volume, `case0003_s012` for a slice that is alone.
        rows: (S,) rows of the dataset, in the order of the slices.
        spacing_3: mm between slices, rows and columns; 1 for what is not known.
    """

    name: str
    rows: np.ndarray
    spacing_3: np.ndarray

    @property
    def case(self) -> str:
        """The part of the name that all parts of a case share."""
        return self.name.partition("_")[0]

    @property
    def is_volume(self) -> bool:
        """Whether it has several slices."""
        return len(self.rows) > 1


def parts_of(data: Dataset, rows: Sequence[int] | np.ndarray) -> list[Part]:
    """Return the parts that rows of a dataset become: whole cases where that is possible.

    A case is a volume if its slices follow on each other and how far they are apart is known;
    else each slice is a part of its own. Cases are numbered as they come in the dataset, whatever
    they are called.

    Args:
        data: the dataset.
        rows: (N,) rows, with all rows of their cases.
    """
    numbers = {case: place for place, case in enumerate(dict.fromkeys(data.case))}
    rows_N, parts = np.asarray(rows), []
    for case in dict.fromkeys(data.case[rows_N]):
        of_case_S = rows_N[data.case[rows_N] == case]
        of_case_S = of_case_S[np.argsort(data.slice[of_case_S])]
        name = f"case{numbers[case]:04d}"
        spacing_3 = data.spacing[of_case_S[0]]
        known_3 = np.isfinite(spacing_3) & (spacing_3 > 0)
        spacing_3 = np.where(known_3, spacing_3, 1.0)
        gapless = bool((np.diff(data.slice[of_case_S]) == 1).all())
        if len(of_case_S) > 1 and gapless and known_3[0]:
            parts.append(Part(name, of_case_S, spacing_3))
        else:
            apart_3 = np.array([ALONE, *spacing_3[1:]])
            parts += [
                Part(f"{name}_s{data.slice[row]:03d}", np.array([row]), apart_3)
                for row in of_case_S
            ]
    return parts


def asked_parts(data: Dataset) -> list[Part]:
    """Return the parts that a trainer has to predict: those of validation and test slices."""
    return [part for split in ("validation", "test") for part in parts_of(data, data.rows(split))]


def write_raw_dataset(folder: Path, data: Dataset, labels: LabelFile) -> None:
    """Write the raw dataset of a run; the folder appears whole or not at all.

    It has dataset.json; imagesTr/ and labelsTr/, the training images and their wrong labels;
    imagesTs/, the images of validation and test slices, without labels. Images are float32 as the
    networks of the study see them, see `Dataset.read`, one file for each channel; labels are class
    indices, uint8.

    Args:
        folder: the folder, named NAME.
        data: the dataset file.
        labels: the run's label file; its first draw is taken.

    Raises:
        InputError: a file cannot be read.
    """
    training = parts_of(data, data.rows("train"))
    with whole_folder(folder) as temporary:
        for part in training:
            _write_images(temporary / "imagesTr", data, part)
            _write(temporary / "labelsTr", part.name, labels.read(part.rows, 0), part)
        for part in asked_parts(data):
            _write_images(temporary / "imagesTs", data, part)
        description = {
            "channel_names": {str(place): name for place, name in enumerate(data.channels)},
            "labels": {name: index for index, name in enumerate(data.class_names)},
            "numTraining": len(training),
            "file_ending": ENDING,
        }
        write_json(temporary / "dataset.json", description)


def _write_images(folder: Path, data: Dataset, part: Part) -> None:
    images_SKHW = data.read_images(part.rows).astype(np.float32)
    for channel in range(images_SKHW.shape[1]):
        _write(folder, f"{part.name}_{channel:04d}", images_SKHW[:, channel], part)


def _write(folder: Path, name: str, values_SHW: np.ndarray, part: Part) -> None:
    import nibabel

    os.makedirs(folder, exist_ok=True)
    # NIfTI counts columns, rows, slices.
    affine = np.diag([*part.spacing_3[::-1], 1.0])
    image = nibabel.Nifti1Image(values_SHW.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / f"{name}{ENDING}")
