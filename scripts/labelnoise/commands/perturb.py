"""`labelnoise perturb`: label files with an error of known size."""

import argparse
from pathlib import Path
from typing import Any

from labelnoise.errors import InputError

DESCRIPTION = """\
Write label files with an error: of a kind, and of the size of a label Dice (the Dice of wrong
against given labels) or a severity. NIfTI, NRRD, MetaImage, PNG, TIFF and BMP keep header, number
type and label values. A folder's files, or the training labels of a raw dataset of nnU-Net, get
one severity for each structure, at which all of them together have the label Dice; with --each
every file has it. A record of what was done is written beside them, labelnoise.json.
"""
EXAMPLES = """\
examples:
  labelnoise perturb labels.nii.gz -o wrong.nii.gz --kind rater --dice 0.85 --seed 3
  labelnoise perturb labels.nrrd -o thick.nrrd --kind bias --severity 1.5 --set sign=1
  labelnoise perturb masks/ -o wrong/ --kind rater --dice 0.9 --spacing 0.25 0.25
  labelnoise perturb Dataset007_Liver -o Dataset107_Wrong --kind rater --dice 0.85
  labelnoise perturb masks/ -o wrong/ --error raters.yaml --each
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of `labelnoise`."""
    parser = commands.add_parser(
        "perturb",
        help="write label files with an error",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    argument = parser.add_argument
    argument("labels", type=Path, metavar="LABELS", help="file, folder, or dataset of nnU-Net")
    output = "file of the same format; or a folder, existing or with / at its end"
    argument("-o", "--output", required=True, metavar="OUTPUT", help=output)
    kinds = "rater, bias, translation, polygon, interpolated, omission, spurious, natural, choppy"
    argument("--kind", help=f"{kinds} or random")
    error = "kind, settings and size of a perturbation in a config instead, such as of fit-raters"
    argument("--error", nargs="+", metavar=("FILE.yaml", "NAME"), help=error)
    argument("--dice", type=float, metavar="D", help="label Dice of each structure, above 0 to 1")
    argument("--severity", type=float, metavar="S", help="the kind's own parameter, instead")
    argument("--seed", type=int, default=0, metavar="N", help="equal seeds give equal files (0)")
    argument("--draw", type=int, default=0, metavar="N", help="number of an independent draw (0)")
    settings = "settings of the kind, as in a study's config: bias_share=1 length=4"
    argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=settings)
    spacing = "mm between rows and between columns of pictures, which say none"
    argument("--spacing", type=float, nargs=2, metavar=("ROWS", "COLUMNS"), help=spacing)
    image = "image of the labels, or folder of images, for spurious with where=intensity"
    argument("--image", type=Path, metavar="IMAGE", help=image)
    ignore = "label values that nobody annotated: left as they are, no structures"
    argument("--ignore", type=int, nargs="+", default=[], metavar="VALUE", help=ignore)
    planes = ("acquired", "axial", "sagittal", "coronal")
    plane = "plane of a volume's slices (acquired: that of its two finest axes)"
    argument("--plane", choices=planes, default="acquired", help=plane)
    argument("--each", action="store_true", help="give each file of a folder the label Dice")
    pattern = "files of a folder to take, as in a shell: 'segmentation-*.nii'"
    argument("--pattern", default="*", metavar="GLOB", help=pattern)
    parser.set_defaults(command=perturb)


def perturb(arguments: argparse.Namespace) -> None:
    """Write wrong labels, and print label Dice and severity of each structure.

    Raises:
        InputError: see `generator.define_error` and the functions of `label_sets`.
    """
    # Imported here, so that other commands and --help do without.
    from labelnoise.data.label_files import output_name
    from labelnoise.labels import label_sets
    from labelnoise.labels.generator import check_whole, define_error

    given = arguments.labels
    entry = _entry(arguments)
    error = define_error(entry.pop("kind"), entry.pop("dice"), entry.pop("severity"), entry)
    request = label_sets.Request(
        error,
        check_whole("seed", arguments.seed),
        check_whole("draw", arguments.draw),
        arguments.plane,
        arguments.spacing and tuple(arguments.spacing),
        [check_whole("value of --ignore", value) for value in arguments.ignore],
        arguments.each,
        progress=_progress,
    )
    output = Path(arguments.output)
    if not given.exists():
        raise InputError(f"there is no {given}; name a label file, or a folder of them.")
    if not given.is_dir():
        if output.is_dir() or arguments.output.endswith("/"):
            output = output / output_name(given.name)
        task = label_sets.Task(given.name, given, output, arguments.image)
        print(f"{output}: {_said(label_sets.perturb_file(task, request))}")
        return
    if label_sets.is_dataset(given):
        if arguments.image is not None:
            raise InputError("--image is not for a dataset, whose images are in imagesTr.")
        record = label_sets.perturb_dataset(given, output, request)
    else:
        record = label_sets.perturb_folder(
            given, output, request, arguments.pattern, arguments.image
        )
    print(f"{output}: {len(record['cases'])} files; {_said(record['structures'])}")


def _entry(arguments):
    """Return kind, dice, severity and settings that are asked for."""
    settings = parse_settings(arguments.set)
    size = {"dice": arguments.dice, "severity": arguments.severity}
    if (arguments.kind is None) == (arguments.error is None):
        raise InputError("the error is to be named by one of --kind and --error; give one of them.")
    if arguments.kind is not None:
        return {"kind": arguments.kind, **size, **settings}
    if len(arguments.error) > 2:
        raise InputError("--error takes a file and at most one name; remove the others.")
    entry = read_error(*arguments.error)
    if size == {"dice": None, "severity": None}:
        size = {"dice": entry.get("target_dice"), "severity": entry.get("severity")}
    kept = {key: entry[key] for key in entry if key not in ("target_dice", "severity", "draws")}
    return {**kept, **size, **settings}


def read_error(path: str, name: str | None = None) -> dict[str, Any]:
    """Return an entry of the `perturbations` of a config, or of a file that holds them alone.

    Raises:
        InputError: the file cannot be read, or has no such entry, or several and none is named.
    """
    from labelnoise.config.reading import read_file

    content = read_file(path)
    content = content.get("perturbations", content)
    if not isinstance(content, dict):
        content = {}
    if "kind" in content:
        content = {name or "": content}
    defined = {
        key: dict(entry)
        for key, entry in content.items()
        if isinstance(entry, dict) and "kind" in entry
    }
    if name in defined:
        return defined[name]
    if name is None and len(defined) == 1:
        return next(iter(defined.values()))
    listed = ", ".join(map(str, defined)) or "none"
    found = f"no perturbation {name!r}" if name else f"{len(defined)} perturbations"
    raise InputError(f"{path} defines {found}, expected one; name one of: {listed}.")


def parse_settings(texts: list[str]) -> dict[str, Any]:
    """Return settings given as NAME=VALUE, values as YAML reads them.

    Raises:
        InputError: a text is no such pair, or a name comes twice.
    """
    import yaml

    settings: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"--set got {text!r}, expected NAME=VALUE, such as bias_share=1.")
        if name in settings:
            raise InputError(f"--set names {name} twice; name it once.")
        try:
            settings[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set got {text!r}, whose value is not YAML; correct it.") from None
    return settings


def _said(structures):
    return (
        "; ".join(
            f"{name} label Dice {each['label_dice']:.3f}"
            + (f" (severity {each['severity']:.4g})" if "severity" in each else "")
            for name, each in structures.items()
        )
        or "no structure"
    )


def _progress(tasks, word):
    from tqdm import tqdm

    # Quiet where nobody watches, and for one file.
    return tqdm(tasks, word, leave=False, disable=None if len(tasks) > 1 else True)
