"""`labelnoise fit-raters`: the label error of people who outlined the same objects."""

import argparse
import sys
from pathlib import Path

from labelnoise.errors import InputError

DESCRIPTION = """\
Learn from masks of the same objects by several people how their outlines differ, and write it as a
perturbation of the kind `rater`. FOLDER holds a folder for each object with rater-1.nii.gz,
rater-2.nii.gz and so on; or a folder for each rater with files of the same names, such as nnU-Net's
labelsTr or BIDS derivatives. Files are NIfTI, NRRD or MetaImage; those of one object lie on one
grid. Some objects are left out of the fit, and tell how far it holds for others.
"""
EXAMPLES = """\
examples:
  labelnoise fit-raters annotators -o raters.yaml
  labelnoise fit-raters annotators -o raters.yaml --sizes 0.95 0.90 0.85
  labelnoise fit-raters derivatives --label 2 -o tumour.yaml --figure tumour.png
"""


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command to those of `labelnoise`."""
    parser = commands.add_parser(
        "fit-raters",
        help="learn the label error of people from masks of the same objects",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    argument = parser.add_argument
    argument("folder", type=Path, metavar="FOLDER", help="folder of the masks")
    output = "the perturbation, for the config"
    argument("-o", "--output", type=Path, required=True, metavar="YAML", help=output)
    figure = "outlines and statistics, people beside simulated (the output's name, as .pdf)"
    argument("--figure", type=Path, metavar="FILE", help=figure)
    name = "name of the perturbation (that of the folder)"
    argument("--name", metavar="NAME", help=name)
    sizes = "also entries of these label Dice, and a matrix of them: a study's overlay"
    argument("--sizes", type=float, nargs="+", default=[], metavar="DICE", help=sizes)
    label = "label value that is the structure (all above 0)"
    argument("--label", type=int, metavar="VALUE", help=label)
    held_out = "share of the objects that is left out of the fit, with 6 objects or more (0.3)"
    argument("--held-out", type=float, default=0.3, metavar="SHARE", help=held_out)
    argument("--seed", type=int, default=0, metavar="N", help="of all random numbers (0)")
    kinds = "leave out which kind of label error is most like these people"
    argument("--no-kinds", dest="kinds", action="store_false", help=kinds)
    parser.set_defaults(command=fit_raters)


def fit_raters(arguments: argparse.Namespace) -> None:
    """Fit, print the tables, and write the perturbation and the figure.

    Raises:
        InputError: an option is out of range, the output is there, or see `reading.read_folder`
            and `judging.judge`.
    """
    # Imported here, so that other commands and --help start without it.
    from labelnoise.files import write_text
    from labelnoise.labels.raters.judging import (
        judge,
        kinds_table,
        name_of,
        parameters_table,
        perturbation_yaml,
        statistics_table,
    )
    from labelnoise.labels.raters.reading import read_folder
    from labelnoise.report.figures.canvas import save
    from labelnoise.report.figures.raters import draw_raters, outline_rows

    if not 0 <= arguments.held_out <= 0.8:
        raise InputError(f"--held-out is {arguments.held_out}, expected a share from 0 to 0.8.")
    for size in arguments.sizes:
        if not 0.01 <= size < 1:
            raise InputError(f"--sizes has {size}, expected label Dice from 0.01 to below 1.")
    if arguments.seed < 0:
        raise InputError(f"--seed is {arguments.seed}, expected 0 or more.")
    if not arguments.folder.is_dir():
        raise InputError(f"{arguments.folder} is no folder; name the folder of the masks.")
    figure_path = arguments.figure or arguments.output.with_suffix(".pdf")
    if figure_path.suffix.lower() not in (".pdf", ".png"):
        raise InputError(f"--figure is {figure_path}, expected a name that ends in .pdf or .png.")
    for path in (arguments.output, figure_path):
        if path.exists():
            raise InputError(f"{path} is there already; remove it, or choose another name.")

    def report(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    outlined = read_folder(arguments.folder, arguments.label)
    found = judge(outlined, arguments.seed, arguments.held_out, arguments.kinds, report)
    figure = draw_raters(found, outline_rows(outlined, found.fit.settings, arguments.seed))
    name = name_of(arguments.name or arguments.folder.resolve().name)
    save(figure, figure_path)
    entries = perturbation_yaml(name, found, arguments.folder.name, arguments.sizes)
    write_text(arguments.output, entries)
    print(parameters_table(found), statistics_table(found), sep="\n\n")
    if found.likenesses:
        print("", kinds_table(found), sep="\n")
    print(f"\n! misses its goal, or the 95 % interval of objects left out\n{arguments.output}")
