"""Write small data of every kind that docs/your-data.md is about, and draw what is made of them.

    python docs/your_data.py

Takes each dataset of the page, writes slices of the phantom as files of its kind into a folder that
is removed afterwards, prepares them as the page says, and writes docs/your-data/<dataset>.png.
"""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

import matplotlib
import nibabel
import numpy as np
import pydicom
import yaml
from matplotlib.figure import Figure
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from labelnoise.config import load_config  # noqa: E402
from labelnoise.config.channels import RGB  # noqa: E402
from labelnoise.data.prepare import prepare_dataset  # noqa: E402
from labelnoise.data.sources import phantom  # noqa: E402
from labelnoise.data.storage import Dataset  # noqa: E402
from labelnoise.report.figures.canvas import PAGE_WIDTH, RC, save  # noqa: E402
from labelnoise.report.figures.overlay import Overlay, crop_window, draw_overlay  # noqa: E402

PAGE = ROOT / "docs" / "your-data.md"
PICTURES = ROOT / "docs" / "your-data"
CASES = 6
# mm between slices, rows and columns.
SPACING = (5.0, 3.0, 3.0)
SIZE, SHOWN = 96, 4


def main():
    PICTURES.mkdir(exist_ok=True)
    for name in WRITERS:
        with tempfile.TemporaryDirectory() as scratch:
            os.chdir(scratch)
            with Dataset(prepare(name)) as data, matplotlib.rc_context(RC):
                save(draw(data), PICTURES / f"{name}.png")
        print(f"drawn: {name}")


def draw(data):
    """Draw some slices as they are stored, with the outline of their labels.

    Of several channels each is shown, but colour as its luminance.
    """
    channels = [""] if len(data.channels) == 1 or tuple(data.channels) == RGB else data.channels
    number = SHOWN // len(channels)
    rows = data.rows("train")[:: max(1, len(data.rows("train")) // number)][:number]
    images_NKHW, labels_NHW = data.read(rows)
    figure = Figure(figsize=(PAGE_WIDTH / 2, PAGE_WIDTH / 8 + 0.15))
    left = 0.0
    for row, image_KHW, labels_HW in zip(rows, images_NKHW, labels_NHW, strict=True):
        for place, channel in enumerate(channels):
            grey_HW = image_KHW[place] if channel else data.grey(image_KHW[None])[0]
            name = channel or f"slice {data.slice[row]}"
            panel = figure.add_axes((left + 0.005, 0.01, 1 / SHOWN - 0.01, 0.84))
            overlay = Overlay("", grey_HW, labels_HW > 0, None)
            draw_overlay(panel, overlay, crop_window(overlay.reference_HW, None))
            panel.set_title(f"{data.case[row]}, {name}", fontsize=6, pad=2)
            left += 1 / SHOWN
    return figure


def datasets():
    """Return {dataset: settings} of all examples on the page."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    found = {}
    for content in map(yaml.safe_load, blocks):
        found |= content.get("datasets", {})
    return found


def prepare(name, **changes):
    """Write data for an example into data/, and prepare them as the page says; return the file."""
    given = datasets()[name]
    WRITERS[name](Path(given["folder"]))
    return prepare_only(name, **changes)


def prepare_only(name, **changes):
    """Prepare the data that are there."""
    settings = {**datasets()[name], **changes}
    Path("study.yaml").write_text(yaml.safe_dump({"datasets": {name: settings}}, sort_keys=False))
    config = load_config(ROOT / "config.yaml", "study.yaml")
    path = Path(f"{name}.h5")
    prepare_dataset(name, config["datasets"][name], config["seed"], path)
    return path


def scans():
    """Yield HU, int16, and labels, 1 in the liver, of each case: (S, H, W), from below."""
    settings = {"target": "liver", "cases": CASES, "slices": 4, "size": SIZE}
    for case in phantom.cases(settings, 0):
        images_SHW, labels_SHW, *_ = case.read()
        yield np.rint(images_SHW).astype(np.int16), labels_SHW.astype(np.uint8)


def grey(images_SHW):
    """Return HU as 8-bit grey."""
    return np.clip((images_SHW + 160) / 400 * 255, 0, 255).astype(np.uint8)


def write_pictures(folder):
    for case, (images_SHW, labels_SHW) in enumerate(scans()):
        for number, (image_HW, label_HW) in enumerate(zip(images_SHW, labels_SHW, strict=True)):
            for part, pixels in (("images", grey(image_HW)), ("masks", 255 * label_HW)):
                path = folder / part / f"p{case:02d}_s{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)


def write_frames(folder):
    folder.mkdir(parents=True)
    for case, (images_SHW, labels_SHW) in enumerate(scans()):
        for number, (image_HW, label_HW) in enumerate(zip(images_SHW, labels_SHW, strict=True)):
            tinted = np.stack([grey(image_HW), grey(image_HW) // 2, grey(image_HW) // 3], axis=-1)
            stem = f"v{case:02d}_f{number:03d}"
            Image.fromarray(tinted).save(folder / f"{stem}.png")
            Image.fromarray(np.repeat(255 * label_HW[..., None], 3, axis=-1)).save(
                folder / f"{stem}_mask.png"
            )


def save_nifti(path, array_SHW):
    """Write slices from below, rows from the front and columns from the right, as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Columns run to the left, rows to the back: both against NIfTI's axes.
    affine = np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1])
    nibabel.save(nibabel.Nifti1Image(array_SHW.transpose(2, 1, 0), affine), path)


def write_ct(folder):
    for case, (images_SHW, labels_SHW) in enumerate(scans()):
        save_nifti(folder / f"volume-{case}.nii.gz", images_SHW)
        save_nifti(folder / f"segmentation-{case}.nii.gz", labels_SHW)


def write_total(folder):
    for case, (images_SHW, labels_SHW) in enumerate(scans()):
        organs_SHW = np.where(labels_SHW == 1, 5, (images_SHW > 150).astype(np.uint8) * 26)
        save_nifti(folder / f"s{case:04d}" / "ct.nii.gz", images_SHW)
        save_nifti(folder / f"s{case:04d}" / "organs.nii.gz", organs_SHW.astype(np.uint8))


def write_mr(folder):
    for case, (images_SHW, labels_SHW) in enumerate(scans()):
        # Each scanner has a gain of its own.
        first = (1000 + images_SHW.astype(np.float32)) * (0.5 + case / 4)
        save_nifti(folder / f"p{case}_T1.nii.gz", first)
        save_nifti(folder / f"p{case}_FLAIR.nii.gz", first.max() - first)
        save_nifti(folder / f"p{case}_seg.nii.gz", labels_SHW)


def write_nnunet(folder):
    names = [f"liver_{case:03d}" for case in range(CASES)]
    for name, (images_SHW, labels_SHW) in zip(names, scans(), strict=True):
        save_nifti(folder / "imagesTr" / f"{name}_0000.nii.gz", images_SHW)
        save_nifti(folder / "labelsTr" / f"{name}.nii.gz", labels_SHW)
    about = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1},
        "numTraining": CASES,
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    folds = [{"train": names[2:], "val": names[:2]}, {"train": names[:4], "val": names[4:]}]
    (folder / "splits_final.json").write_text(json.dumps(folds))


def write_dicom(folder):
    for case, (images_SHW, labels_SHW) in enumerate(scans()):
        series, frame = generate_uid(), generate_uid()
        place = folder / f"scan{case}"
        place.mkdir(parents=True)
        for number, image_HW in enumerate(images_SHW):
            meta = FileMetaDataset()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            path = place / f"IM{number:04d}.dcm"
            header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
            header.SOPClassUID = CTImageStorage
            header.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
            header.PatientID, header.Modality = f"P{case:03d}", "CT"
            header.SeriesInstanceUID, header.FrameOfReferenceUID = series, frame
            # DICOM's axes point left, to the back and up.
            header.ImagePositionPatient = ["0", "0", f"{number * SPACING[0]:g}"]
            header.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
            header.PixelSpacing = [f"{side:g}" for side in SPACING[1:]]
            header.SliceThickness = f"{SPACING[0]:g}"
            header.Rows, header.Columns = image_HW.shape
            header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
            header.BitsAllocated = header.BitsStored = 16
            header.HighBit, header.PixelRepresentation = 15, 1
            header.RescaleSlope, header.RescaleIntercept = "1", "0"
            header.PixelData = image_HW.tobytes()
            pydicom.dcmwrite(path, header)
        save_nifti(folder.with_name(f"{folder.name}-labels") / f"P{case:03d}.nii.gz", labels_SHW)


def write_slicer(folder):
    folder.mkdir(parents=True)
    for case, (images_SHW, labels_SHW) in enumerate(scans()):
        save_nrrd(folder / f"p{case}.nrrd", images_SHW, "int16")
        save_nrrd(folder / f"p{case}.seg.nrrd", labels_SHW, "uint8")


def save_nrrd(path, array_SHW, kind):
    sizes = " ".join(map(str, array_SHW.shape[::-1]))
    axes = " ".join(
        f"({', '.join(f'{step if axis == other else 0:g}' for other in range(3))})"
        for axis, step in enumerate(SPACING[::-1])
    )
    lines = ["NRRD0004", f"type: {kind}", "dimension: 3", "space: left-posterior-superior"]
    lines += [f"sizes: {sizes}", f"space directions: {axes}", "space origin: (0, 0, 0)"]
    lines += ["endian: little", "encoding: raw", "", ""]
    path.write_bytes("\n".join(lines).encode() + array_SHW.tobytes())


def write_arrays(folder):
    folder.mkdir(parents=True)
    for case, (images_SHW, labels_SHW) in enumerate(scans()):
        np.save(folder / f"p{case}_image.npy", images_SHW)
        np.save(folder / f"p{case}_label.npy", labels_SHW)


WRITERS = {
    "pictures": write_pictures,
    "frames": write_frames,
    "ct": write_ct,
    "total": write_total,
    "mr": write_mr,
    "nnunet": write_nnunet,
    "dicom": write_dicom,
    "slicer": write_slicer,
    "arrays": write_arrays,
}

if __name__ == "__main__":
    main()
