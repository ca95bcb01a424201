"""CT or MR as DICOM, one series per case and channel, with labels as volume files or DICOM-SEG.

Files are found by their headers, anywhere below `folder`; names and order of files do not matter.
Slices are sorted by position along the slice normal, and values rescaled as the headers say. Labels
come onto the image's grid by their positions in the patient: a volume (NIfTI, NRRD, MetaImage) may
be flipped, permuted and in another slice order, a DICOM-SEG may lack frames. The series of several
channels share one grid. Slices lie as `volumes` says, in the plane that `plane` names.

Volumes find their case by name: the group of `labels` in the file's name equals the group of
`case` in the PatientID (or folder). Pancreas-CT has patients PANCREAS_0001 and files
label0001.nii.gz, so `case` is PANCREAS_(\\d+). A DICOM-SEG names the series it was drawn on.
"""

import logging
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from labelnoise.config.given import label_settings
from labelnoise.data.sources import Case, Settings, folders
from labelnoise.data.sources.dicom_headers import scan
from labelnoise.data.sources.dicom_seg import read_segmentation, referenced_series
from labelnoise.data.sources.dicom_series import arrange, read_series
from labelnoise.data.sources.folders import describe_folder, find_files, shown_folder
from labelnoise.data.sources.patterns import match_all
from labelnoise.data.sources.volume_files import read_volume
from labelnoise.data.sources.volumes import (
    ORIENTATIONS,
    Volume,
    channel_slices,
    labelled_slices,
    resolve_plane,
    slices_of,
)
from labelnoise.errors import InputError

logger = logging.getLogger(__name__)

class_names = folders.class_names


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return one case per name that `case` finds, in the order of names; the seed is not used.

    Reads headers alone, and checks them, before any case is prepared.

    Raises:
        InputError: a folder is missing or holds no series, a case has no series or several, a
            series has a gap or two kinds of slices, or a case has no label or several.
    """
    settings, folder = label_settings(settings), Path(settings["folder"])
    found = scan(folder)
    series = _series(folder, found, settings)
    labels = _labels(folder, found, settings, series)
    series = _labelled(folder, series, labels, settings)
    return [
        Case(name, partial(_read, series[name], labels[name], settings)) for name in sorted(series)
    ]


def describe(settings: Settings) -> dict:
    """Return the provenance: the folders as the config names them, and how slices lie."""
    folder = settings["folder"]
    what = (
        f"DICOM series in {shown_folder(folder)}, labels as {settings['label_kind']} in "
        f"{shown_folder(settings['labels_folder'] or folder)}"
    )
    return describe_folder(settings, what, orientation=ORIENTATIONS[settings["plane"]])


def _series(folder, found, settings):
    """Return {case: [Series]}, the one series of each case that `series_description` matches.

    Of several channels, that is one for each.
    """
    if not found.slices:
        raise InputError(
            f"{folder} holds no DICOM slice ({found.words()}), expected a series per case; "
            "correct `folder`."
        )
    by_case = defaultdict(lambda: defaultdict(list))
    names = _case_names(folder, found.slices, settings["case_by"], settings["case"])
    for name, slice_ in zip(names, found.slices, strict=True):
        by_case[name][slice_.series].append(slice_)
    patterns, series = {"`series_description`": settings["series_description"]}, {}
    if isinstance(settings["series_description"], dict):
        given = settings["series_description"].items()
        patterns = {f"`series_description.{channel}`": each for channel, each in given}
    wanted = {key: _wanted(found.slices, key, each) for key, each in patterns.items()}
    for name in sorted(by_case):
        candidates, chosen = list(by_case[name].values()), {}
        for key, description in patterns.items():
            slices = _choose(name, candidates, wanted[key], key, description)
            uid = slices[0].series
            if uid in chosen:
                raise InputError(
                    f"case {name}: {key} and {chosen[uid]} both match the series in "
                    f"{slices[0].path.parent}, expected one each; correct the patterns."
                )
            chosen[uid] = key
            series.setdefault(name, []).append(arrange(slices, found.unplaced[uid]))
    return series


def _case_names(folder, slices, case_by, pattern):
    """Yield the name of the case of each slice."""

    def text(slice_):
        within = slice_.path.parent.relative_to(folder).as_posix()
        return {
            "PatientID": slice_.patient,
            "SeriesInstanceUID": slice_.series,
            "folder": folder.resolve().name if within == "." else within,
        }[case_by]

    matches = match_all(pattern, map(text, slices), "`case`")
    for slice_ in slices:
        match = matches[text(slice_)]
        if match is None or not match.case:
            raise InputError(
                f"{slice_.path}: `case` {pattern!r} does not match its {case_by} "
                f"{text(slice_)!r}, expected a name for the case; correct `case`, or set "
                "`case_by` to another of PatientID, SeriesInstanceUID, folder."
            )
        yield match.case


def _wanted(slices, key, description):
    """Return the descriptions of series that a pattern, `key`'s, finds; None if it is None."""
    if description is None:
        return None
    texts = (slice_.description for slice_ in slices)
    matches = match_all(description, texts, key)
    return {text for text, match in matches.items() if match}


def _choose(name, candidates, wanted, key, description):
    """Return the slices of the one series of a case whose description is wanted."""
    listed = "; ".join(
        f"{slices[0].description or 'no description'!r}, {len(slices)} slices in "
        f"{slices[0].path.parent}"
        for slices in sorted(candidates, key=lambda slices: str(slices[0].path))
    )
    if wanted is not None:
        candidates = [slices for slices in candidates if slices[0].description in wanted]
    if len(candidates) != 1:
        how = "" if description is None else f" that match {key} {description!r}"
        raise InputError(
            f"case {name} has {len(candidates)} series{how}, expected one; set {key} to a pattern "
            f"that only one of its series matches: {listed}."
        )
    return candidates[0]


def _labels(folder, found, settings, series):
    """Return {case: path of its label}; labels without a case are counted and ignored."""
    place = Path(settings["labels_folder"] or folder)
    if settings["label_kind"] == "seg":
        candidates = _segmentations(place, found if place == folder else scan(place), series)
    else:
        candidates = find_files(place, settings["labels"], "`labels`", "`labels_folder`")
    labels = {}
    for name, path in candidates:
        if name in labels and name in series:
            raise InputError(
                f"{path} and {labels[name]} are both labels of case {name}, expected one; keep one "
                "of them below `labels_folder`, or correct `labels`."
            )
        labels[name] = path
    unused = set(labels) - set(series)
    if unused:
        logger.info("%d labels belong to no case", len(unused))
    return labels


def _segmentations(place, found, series):
    if not found.segmentations:
        raise InputError(
            f"{place} holds no DICOM-SEG file, expected one per case; correct `labels_folder` "
            "or `label_kind`."
        )
    name_of = {one.uid: name for name, several in series.items() for one in several}
    for path in found.segmentations:
        for uid in sorted(referenced_series(path)):
            yield name_of.get(uid, uid), path


def _labelled(folder, series, labels, settings):
    """Return the cases that have a label; others are refused or skipped, as `unlabelled` says."""
    without = sorted(set(series) - set(labels))
    skips = "given" in settings or settings["unlabelled"] == "skip"
    if without and (not skips or len(without) == len(series)):
        spare = ", ".join(sorted(set(labels) - set(series))) or "none"
        raise InputError(
            f"{folder}: {len(without)} of {len(series)} cases have no label ({', '.join(without)}; "
            f"labels left over: {spare}), expected one each; add the labels, let `case` and "
            "`labels` give both the same name, or set `unlabelled: skip`."
        )
    if without and "given" not in settings:
        # Logs name no patient.
        logger.warning(
            "%d cases have no label and are left out; `unlabelled: refuse` names them", len(without)
        )
    return {name: series[name] for name in series if name in labels}


def _read(series, label_path, settings):
    """Read one case: images, labels, slice numbers and spacing, as `Case.read` does."""
    volumes, places = [read_series(one) for one in series], [str(one.folder) for one in series]
    image = volumes[0]
    plane = resolve_plane(image, settings["plane"], places[0])
    meaning = {key: settings[key] for key in ("classes", "ignore", "others")}
    if settings["label_kind"] == "volumes":
        label = read_volume(label_path, settings["label_channel"], "label_channel")
        where = f"{label_path} for {places[0]}"
        images_SHW, *more = labelled_slices(image, label, where=where, plane=plane, **meaning)
    else:
        frame = series[0].slices[0].frame
        labels_IJK = read_segmentation(label_path, image, frame, **meaning)
        images_SHW, spacing_3 = slices_of(image, plane)
        labels_SHW, _ = slices_of(Volume(labels_IJK, image.affine), plane)
        more = [labels_SHW, np.arange(len(images_SHW)), spacing_3]
    if isinstance(settings["series_description"], dict):
        _check_frames(series)
        return channel_slices(volumes, places, plane), *more
    return images_SHW, *more


def _check_frames(series):
    """Refuse channels whose positions are relative to different origins."""
    first = series[0]
    for one in series[1:]:
        frames = one.slices[0].frame, first.slices[0].frame
        if all(frames) and frames[0] != frames[1]:
            raise InputError(
                f"{one.folder} has FrameOfReferenceUID {frames[0]}, but the first channel's series "
                f"in {first.folder} {frames[1]}, so their positions cannot be compared; choose "
                "series of one session, or give both as NIfTI images."
            )
