"""`labelnoise predict`: masks of new images by a trained network."""

import argparse
from pathlib import Path

from labelnoise.errors import InputError

DESCRIPTION = """\
Segment images with the network of a finished run, or of one checkpoint file, prepared as its
training images were. Volumes are NIfTI, NRRD or MetaImage files, or folders with one DICOM series
each, and masks NIfTI files of exactly their grid; pictures (a dataset of `source: images`) give PNG
masks. A pixel is of the most probable structure if its probability is over the threshold.
"""
EXAMPLES = """\
examples:
  labelnoise predict results/runs/lits/unet/plain/control/rep0 ct.nii.gz -o mask.nii.gz
  labelnoise predict RUN scans/*.nii.gz -o masks/ --device cuda
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of `labelnoise`."""
    parser = commands.add_parser(
        "predict",
        help="segment images with a trained network",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    argument = parser.add_argument
    argument(
        "run", type=Path, metavar="RUN", help="folder of a finished run, or a checkpoint (.pt)"
    )
    argument("images", type=Path, nargs="+", metavar="IMAGE", help="image files, or DICOM folders")
    output = "the mask of one image; or a folder, existing or with / at its end, for one mask each"
    argument("-o", "--output", required=True, metavar="MASK", help=output)
    argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where the network runs (cpu)"
    )
    threshold = "probability over which a pixel is of a structure (0.5, as in every score)"
    argument("--threshold", type=float, default=0.5, metavar="P", help=threshold)
    argument("--batch-size", type=int, default=8, metavar="N", help="slices at a time (8)")
    parser.set_defaults(command=predict)


def predict(arguments: argparse.Namespace) -> None:
    """Segment each image, and print a line on what was found.

    Raises:
        InputError: see `load_run` and `predict_file`; two images would have one mask, or the
            device is not there.
    """
    # Imported here, so that other commands and --help need no torch.
    import torch

    from labelnoise.evaluation.predict import check_mask, predict_file, suffixes
    from labelnoise.training.checkpoints import load_run

    if arguments.batch_size < 1:
        raise InputError(f"--batch-size is {arguments.batch_size}, expected at least 1.")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device is cuda, but torch finds no such GPU here; leave it out.")
    network = load_run(arguments.run)
    masks = choose_masks(arguments.images, arguments.output, suffixes(network))
    for image, mask in masks.items():
        check_mask(network, image, mask)
    network.network.to(arguments.device)
    for image, mask in masks.items():
        found = predict_file(
            network,
            image,
            mask,
            threshold=arguments.threshold,
            batch_size=arguments.batch_size,
        )
        said = "; ".join(
            f"{each.structure} (value {each.value}) {each.pixels} pixels"
            if each.millilitres is None
            else f"{each.structure} (value {each.value}) {each.pixels} voxels, "
            f"{each.millilitres:.2f} ml"
            for each in found
        )
        print(f"{mask}: {said}", flush=True)


def choose_masks(images: list[Path], output: str, suffixes: tuple[str, ...]) -> dict[Path, Path]:
    """Return the mask of each image: the output itself, or a file of the image's name inside.

    Args:
        images: the image files, or folders.
        output: a file, or a folder: for several images, or where it exists or ends in a slash.
        suffixes: those of masks; one that an image's name has is kept, else it is the first.

    Raises:
        InputError: there are several images and the output is a file, or names come twice.
    """
    folder = Path(output)
    if not (folder.is_dir() or output.endswith("/")):
        if len(images) == 1:
            return {images[0]: folder}
        if folder.exists() or folder.name.endswith(suffixes):
            raise InputError(
                f"-o is the file {output}, but several images need a folder; name one."
            )
    masks = {image: folder / _mask_name(image, suffixes) for image in images}
    names = [mask.name for mask in masks.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or len(masks) < len(images):
        raise InputError(
            f"several images would have the mask {folder / (twice or names)[0]}; predict them into "
            "folders of their own."
        )
    return masks


def _mask_name(image, suffixes):
    # A link keeps its own name; a path such as "." has none.
    name = image.name if image.name.strip(".") else image.resolve().name
    if name.endswith(suffixes):
        return name
    return (name if image.is_dir() else image.stem) + suffixes[0]
