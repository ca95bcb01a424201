"""Labels of the kind `given`: from which settings a source reads the user's own wrong labels.

They lie in a folder of their own beside the reference, and are read as it is read. A dataset's
settings with the key `given` are those by which its source reads them; what that key holds stands
in for settings of the same names.
"""

from collections.abc import Mapping
from typing import Any

from labelnoise.errors import InputError

# Settings of a perturbation that say what is read; they are no part of the error itself.
READING_KEYS = (
    "folder",
    "labels",
    "mask_name",
    "label_kind",
    "label_channel",
    "classes",
    "ignore",
    "others",
)
VALUES = ("classes", "ignore", "others")
# Sources of label files, beside which others can lie, and which of these settings they take.
TAKEN = {
    "images": ("mask_name", *VALUES),
    "volumes": ("labels", "label_channel", *VALUES),
    "msd": ("label_channel", *VALUES),
    "dicom": ("labels", "label_kind", "label_channel", *VALUES),
}


def given_settings(
    dataset: str, settings: Mapping[str, Any], name: str, reading: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings by which a dataset's source reads given labels.

    Args:
        dataset, settings: the dataset, without its fold, and its settings in canonical form.
        name, reading: the perturbation, and its settings of READING_KEYS.

    Returns:
        The dataset's settings, and under `given` the folder of the labels, as `labels_folder`, and
        which settings stand in for the dataset's own.

    Raises:
        InputError: the source's labels are no files, or the folder of this dataset is not named.
    """
    if settings["source"] not in TAKEN:
        raise InputError(
            f"config key 'perturbations.{name}' gives labels of its own, but the dataset "
            f"'{dataset}' is of the source {settings['source']}, whose labels are no files; leave "
            f"one of the two out of the matrix (sources that take them: {', '.join(TAKEN)})."
        )
    folder = reading["folder"]
    if isinstance(folder, Mapping):
        if dataset not in folder:
            raise InputError(
                f"config key 'perturbations.{name}.folder' names no folder for the dataset "
                f"'{dataset}', but for {', '.join(folder)}; add it."
            )
        folder = folder[dataset]
    taken = {key: reading[key] for key in TAKEN[settings["source"]] if key in reading}
    return {**settings, "given": {"labels_folder": folder, **taken}}


def label_settings(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings by which labels are read: of given labels theirs over the dataset's."""
    return {**settings, **settings.get("given", {})}
