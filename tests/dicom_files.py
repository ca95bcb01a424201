"""Small scans in true formats: DICOM series (pydicom), NIfTI labels (SimpleITK), SEG (highdicom).

A scan is stated in the project's orientation, slices inferior to superior, rows anterior to
posterior, columns right to left, and stored along any other axes. Axes are three letters that say
where columns, rows and slices run, such as "LPS"; DICOM and SimpleITK count mm in LPS.
"""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

# Distance of slices, rows and columns in mm, and where the first voxel lies (left, posterior, up).
SPACING = (2.5, 0.7, 0.8)
ORIGIN = np.array([-10.0, -20.0, 30.0])
RNG = np.random.default_rng(0)
HU = RNG.integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
# An L in one slice and a single voxel in the next: no turn or mirror of it is itself.
LABEL = np.zeros(HU.shape, np.uint8)
LABEL[1, 1:4, 1] = LABEL[1, 3, 2] = LABEL[2, 1, 5] = 1
UPRIGHT = np.eye(3)
# About 12 degrees around x, then 7 around z.
COS_X, SIN_X, COS_Z, SIN_Z = np.cos(0.2), np.sin(0.2), np.cos(0.12), np.sin(0.12)
TILTED = np.array([[COS_Z, -SIN_Z, 0], [SIN_Z, COS_Z, 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, COS_X, -SIN_X], [0, SIN_X, COS_X]]
)


def store(stack_SHW, axes, turn=UPRIGHT):
    """A stack along other axes.

    Returns:
        stored_KJI, directions (3, 3) with a row for i, j and k in LPS, spacing of i, j and k, and
        the position of the first stored voxel.
    """
    # The stack's own axes S, P, L hold LPS coordinates 2, 1 and 0.
    coordinates = ["LR", "PA", "SI"]
    kept = [next(n for n, pair in enumerate(coordinates) if axis in pair) for axis in axes]
    signs = [1 if axis in "LPS" else -1 for axis in axes]
    directions, spacing, first = np.zeros((3, 3)), [], np.zeros(3)
    for number, (coordinate, sign) in enumerate(zip(kept, signs, strict=True)):
        directions[number, coordinate] = sign
        spacing.append(SPACING[2 - coordinate])
        length = stack_SHW.shape[2 - coordinate]
        first[coordinate] = 0 if sign > 0 else (length - 1) * spacing[-1]
    stored = stack_SHW.transpose([2 - coordinate for coordinate in kept[::-1]])
    stored = stored[tuple(slice(None, None, sign) for sign in signs[::-1])]
    return stored, directions @ turn.T, spacing, turn @ (ORIGIN + first)


def write_series(folder, hu=HU, axes="LPS", turn=UPRIGHT, patient="P1", slope=1, intercept=-1024):
    """Write a CT series, the file names in another order than the slices; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stored, directions, spacing, first = store(hu, axes, turn)
    uids = {name: generate_uid() for name in ("study", "series", "frame")}
    order = np.random.default_rng(len(hu)).permutation(len(stored))
    paths = []
    for number, pixels in enumerate(stored):
        path = folder / f"IM{order[number]:04d}"
        dataset = slice_dataset(path, uids, patient)
        dataset.ImagePositionPatient = _text(first + number * spacing[2] * directions[2])
        dataset.ImageOrientationPatient = _text(directions[:2].ravel())
        dataset.PixelSpacing = _text([spacing[1], spacing[0]])
        dataset.SliceThickness = str(spacing[2])
        # Numbered against the order of positions, which must not matter.
        dataset.InstanceNumber = str(int(order[number]) + 1)
        dataset.RescaleSlope, dataset.RescaleIntercept = str(slope), str(intercept)
        set_pixels(dataset, np.round((pixels - intercept) / slope).astype(np.uint16))
        dataset.save_as(path)
        paths.append(path)
    return paths


def slice_dataset(path, uids, patient):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.PatientID, dataset.PatientName = patient, "A^B"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uids["study"], uids["series"]
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uids["frame"], ""
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.StudyID = ""
    dataset.ReferringPhysicianName, dataset.Manufacturer = "", "labelnoise"
    dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber = "CT", "portal venous", "1"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    return dataset


def set_pixels(dataset, pixels):
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = pixels.tobytes()


def _text(numbers):
    return [f"{number:.10g}" for number in numbers]


def edit(path, **values):
    """Change elements of a DICOM file; None removes one."""
    dataset = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def write_nifti(path, stack=LABEL, axes="RAS", turn=UPRIGHT, shift=0.0):
    """Write a label through SimpleITK, along axes of its own; `shift` moves it in mm."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored, directions, spacing, first = store(stack, axes, turn)
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored))
    image.SetDirection(directions.T.ravel())
    image.SetSpacing(spacing)
    image.SetOrigin(first + shift)
    sitk.WriteImage(image, str(path))
    return path


def write_itk_series(folder, hu=HU, axes="LPS", turn=UPRIGHT, patient="P1"):
    """Write a CT series through SimpleITK's own DICOM writer."""
    folder.mkdir(parents=True, exist_ok=True)
    stored, directions, spacing, first = store(hu, axes, turn)
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored.astype(np.int16)))
    image.SetDirection(directions.T.ravel())
    image.SetSpacing(spacing)
    image.SetOrigin(first)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    uid = generate_uid()
    for number in range(len(stored)):
        slice_ = image[:, :, number]
        position = image.TransformIndexToPhysicalPoint((0, 0, number))
        for tag, value in (
            ("0008|0060", "CT"),
            ("0010|0020", patient),
            ("0020|000e", uid),
            ("0020|0032", "\\".join(_text(position))),
            ("0020|0037", "\\".join(_text(directions[:2].ravel()))),
            ("0020|0013", str(number)),
            ("0018|0050", str(spacing[2])),
        ):
            slice_.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{number * 5 % 7}.dcm"))
        writer.Execute(slice_)


def write_seg(path, series, segments=LABEL[..., None], names=("liver",), **changes):
    """Write a DICOM-SEG through highdicom.

    Args:
        series: files of the series in the order of the frames.
        segments: (frames, rows, columns, segments) on the grid of the files.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptions = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(names, start=1)
    ]
    segmentation = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(file) for file in series],
        pixel_array=np.asarray(segments),
        segmentation_type=changes.pop("segmentation_type", "BINARY"),
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="labelnoise",
        manufacturer_model_name="tests",
        software_versions="1",
        device_serial_number="1",
        **changes,
    )
    segmentation.save_as(path)
    return path
