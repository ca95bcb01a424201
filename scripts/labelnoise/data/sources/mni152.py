"""Real MRI without a download: the MNI152 T1 template, with its white matter as the structure.

It is ONE brain, the average of 152 registered adults, cut into slabs. The slabs are not patients:
the spread of scores over these cases says nothing about their spread over people.
"""

from functools import lru_cache, partial

import numpy as np

from labelnoise.data.sources import Case, Settings

# Millimetres along each side of a voxel.
RESOLUTION = 1
# Axial slices 26 to 148 of the 1 mm template hold enough white matter to see at 48 pixels.
FIRST_SLICE = 26
SLAB_SLICES = 5
# Slices skipped between slabs of two splits: neighbours at 1 mm are nearly the same image.
GAP_SLICES = 4
# Three rounds of this pattern, so each split sees low, middle and high slices.
PATTERN = ("train", "validation", "train", "test", "train")
ROUNDS = 3


def cases(settings: Settings, seed: int) -> list[Case]:
    """Return one case per slab, with its split; the seed is not used."""
    splits = PATTERN * ROUNDS
    slabs, start = [], FIRST_SLICE
    for slab, split in enumerate(splits):
        if slab and split != splits[slab - 1]:
            start += GAP_SLICES
        numbers = np.arange(start, start + SLAB_SLICES)
        slabs.append(Case(f"slab-{slab:02d}", partial(_read, numbers), split))
        start += SLAB_SLICES
    return slabs


def class_names(settings: Settings) -> list[str]:
    """Return "background" and the one structure, white matter."""
    return ["background", "white_matter"]


def describe(settings: Settings) -> dict:
    """Return the provenance: what the images are, their origin, and what they cannot show."""
    import nilearn

    return {
        "what": "MNI152 T1 template at 1 mm and its white-matter map above 0.5, axial slices",
        "warning": "one averaged brain cut into slabs: the spread over cases says nothing about "
        "patients",
        "version": f"nilearn {nilearn.__version__}, file mni_icbm152_t1_tal_nlin_sym_09a",
        "licence": "ICBM 152: copyright 1993-2009 Louis Collins, McConnell Brain Imaging Centre, "
        "McGill University; use, copying and distribution permitted with this notice",
        "citation": "Fonov et al., NeuroImage 54 (2011) 313-327",
    }


def _read(numbers):
    brain_XYZ, white_XYZ = _volumes()
    labels_SHW = (_axial(white_XYZ, numbers) > 0.5).astype(np.uint8)
    return _axial(brain_XYZ, numbers), labels_SHW, numbers, np.full(3, RESOLUTION)


@lru_cache(maxsize=1)
def _volumes():
    """Return T1 and white matter (X, Y, Z) at 1 mm, float32, each scaled to [0, 1] by nilearn."""
    # Both files are in the nilearn wheel and need no resampling at 1 mm: nothing is downloaded.
    from nilearn.datasets import load_mni152_template, load_mni152_wm_template

    volumes = [
        load(resolution=RESOLUTION) for load in (load_mni152_template, load_mni152_wm_template)
    ]
    return tuple(np.asarray(volume.dataobj, np.float32) for volume in volumes)


def _axial(volume_XYZ, numbers):
    # x runs to the right and y to the front: rows become -y, so the front is on top.
    return np.ascontiguousarray(volume_XYZ[:, ::-1, numbers].transpose(2, 1, 0))
