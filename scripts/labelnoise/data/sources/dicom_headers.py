"""What a folder of DICOM files holds, by the headers of its files alone."""

import logging
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from labelnoise.data.sources.folders import check_file, walk
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)

GEOMETRY = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
TAGS = (
    *GEOMETRY,
    "SOPClassUID",
    "ImageType",
    "PatientID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "NumberOfFrames",
    "SliceThickness",
)
# What pydicom and its decoders raise on damaged files.
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    struct.error,
)


@dataclass(frozen=True)
class Slice:
    """What the header of one image file says; lengths in mm, vectors in LPS."""

    path: Path
    patient: str
    series: str
    description: str
    frame: str
    syntax: pydicom.uid.UID
    shape: tuple[int, int, int]
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    thickness: float


@dataclass
class Scan:
    """What a folder holds: slices, images without a position, DICOM-SEG files, and the rest."""

    slices: list[Slice] = field(default_factory=list)
    unplaced: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    segmentations: list[Path] = field(default_factory=list)
    skipped: Counter = field(default_factory=Counter)

    def words(self) -> str:
        """Return in words how many files of which kind are not slices."""
        found = ", ".join(f"{number} {kind}" for kind, number in sorted(self.skipped.items()))
        return found or "nothing else"


def scan(folder: Path) -> Scan:
    """Read the headers of all files below a folder, whatever their names.

    Raises:
        InputError: a DICOM file is damaged or has several frames, or there is a pipe or the like.
    """
    found = Scan()
    for path in walk(folder):
        check_file(path)
        _add(found, path)
    if found.skipped:
        logger.info("besides %d slices, %s", len(found.slices), found.words())
    return found


def _add(found, path):
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
        kind = pydicom.uid.UID(header.get("SOPClassUID") or _media_class(header)).name
        if kind == "Segmentation Storage":
            found.segmentations.append(path)
        elif "Image Storage" not in kind:
            found.skipped[f"DICOM files without an image ({kind})"] += 1
        elif "LOCALIZER" in (header.get("ImageType") or ()):
            found.skipped["localizers"] += 1
        else:
            _add_image(found, path, header, kind)
    except InvalidDicomError:
        found.skipped["files that are not DICOM"] += 1
    except InputError:
        raise
    except DAMAGED as error:
        raise damaged(path, f"its header is damaged: {error}") from None


def _media_class(header):
    return header.file_meta.get("MediaStorageSOPClassUID", "")


def damaged(path: Path, what: object) -> InputError:
    """Return the error for a DICOM file that is truncated or broken."""
    return InputError(
        f"{path} cannot be read ({' '.join(str(what).split())}), expected a whole DICOM file; "
        "download or export it again."
    )


def _add_image(found, path, header, kind):
    # All images have these two; headers are stored in the order of tags, and Rows comes late.
    if "SeriesInstanceUID" not in header or "Rows" not in header:
        raise damaged(path, "its header ends too early")
    if all(header.get(name) for name in GEOMETRY):
        found.slices.append(_slice(path, header))
    elif "Enhanced" in kind:
        raise InputError(
            f"{path} is {kind.removesuffix(' Storage')} of {header.get('NumberOfFrames', 1)} "
            "frames, expected one slice per file; convert it to single-frame DICOM, or to NIfTI "
            "and use `source: volumes`."
        )
    else:
        found.skipped["images without a position"] += 1
        found.unplaced[str(header.SeriesInstanceUID)].append(path)


def _slice(path, header):
    return Slice(
        path=path,
        patient=str(header.get("PatientID") or ""),
        series=str(header.SeriesInstanceUID),
        description=str(header.get("SeriesDescription") or ""),
        frame=str(header.get("FrameOfReferenceUID") or ""),
        syntax=header.file_meta.TransferSyntaxUID,
        shape=(int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1)),
        position=_numbers(header, "ImagePositionPatient", 3),
        orientation=_numbers(header, "ImageOrientationPatient", 6),
        spacing=_numbers(header, "PixelSpacing", 2),
        thickness=float(header.get("SliceThickness") or 1),
    )


def _numbers(header, name, count):
    values = np.array([float(value) for value in header[name].value])
    if len(values) != count or not np.isfinite(values).all():
        raise ValueError(f"{name} is {header[name].value}, expected {count} numbers")
    return values
