"""All figures: nothing is clipped or overlaps, equal input gives equal files."""

import pytest
from matplotlib import rcParams
from PIL import Image

from figure_checks import check_layout, curves_of_first
from labelnoise.errors import InputError
from labelnoise.report.figures import canvas
from labelnoise.report.figures.degradation import draw_degradation
from labelnoise.report.figures.roc import draw_roc
from labelnoise.report.figures.runs import draw_runs
from labelnoise.report.figures.slopes import draw_slopes


@pytest.fixture(params=["degradation", "runs", "slopes", "roc"])
def draw(request, load, cells, slopes):
    """Function that draws a figure of a study; the ROC of its first dataset."""
    return {
        "degradation": lambda name: draw_degradation(cells(name), load(name)),
        "runs": lambda name: draw_runs(load(name)),
        "slopes": lambda name: draw_slopes(slopes(name)),
        "roc": lambda name: draw_roc(curves_of_first(load(name))),
    }[request.param]


def test_nothing_is_clipped_and_nothing_overlaps(study, draw):
    figure = draw(study)
    if not figure.axes:
        pytest.skip("a study without errors has no slopes")
    assert figure.get_figwidth() in (canvas.COLUMN_WIDTH, canvas.PAGE_WIDTH)
    check_layout(figure)


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_equal_runs_give_equal_files(draw, suffix, tmp_path):
    paths = [tmp_path / f"{name}{suffix}" for name in ["one", "two"]]
    for path in paths:
        canvas.save(draw("small"), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_files_are_whole_and_of_the_stated_size(full_figure, tmp_path):
    canvas.save_all(full_figure, [tmp_path / name for name in ["a.png", "a.pdf", "b.png"]])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image = Image.open(tmp_path / "a.png")
    image.load()
    assert image.width == canvas.PAGE_WIDTH * canvas.RESOLUTION
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    assert b"CreationDate" not in content
    assert b"/Type3" not in content


def test_other_suffixes_are_refused_and_leave_nothing(full_figure, tmp_path):
    with pytest.raises(InputError, match=r"a\.jpg: a figure is written as \.pdf or \.png"):
        canvas.save(full_figure, tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_the_global_style_alone(load):
    before = dict(rcParams)
    draw_runs(load("small"))
    assert dict(rcParams) == before
