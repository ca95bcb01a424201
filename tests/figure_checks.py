"""What the figures' tests read off a figure, and checks of its layout."""

import numpy as np
from matplotlib.text import Text

from labelnoise.evaluation.histograms import read_scores


def texts(figure):
    """Words of the legend, without the blanks that fill its columns."""
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def lines(panel):
    """Lines of a panel by label; `errorbar` labels its container, not the line."""
    named = {line.get_label(): line for line in panel.lines}
    return named | {bars.get_label(): bars.lines[0] for bars in panel.containers}


def check_layout(figure):
    """Nothing leaves the figure or lies on the legend; no panels, and no two texts, overlap."""
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    boxes = [panel.get_tightbbox() for panel in figure.axes]
    for box in [legend, *boxes]:
        assert box.x0 >= -1 and box.y0 >= -1
        assert box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1
    assert not any(legend.overlaps(box) for box in boxes)
    panels = [panel.get_window_extent() for panel in figure.axes]
    assert not any(one.overlaps(other) for i, one in enumerate(panels) for other in panels[:i])
    # Less would not be read.
    assert min(min(panel.width, panel.height) for panel in panels) > 0.3 * figure.dpi
    _check_texts(figure)
    check_legends(figure)


def check_texts(figure):
    """No text leaves the page and no two texts overlap, as Agg draws them."""
    # Twice would lay it out twice, which is what takes long.
    figure.draw_without_rendering()
    _check_texts(figure)


def _check_texts(figure):
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown_texts(figure)]
    for text, box in boxes:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width, (text, box)
        assert box.y0 >= 0 and box.y1 <= figure.bbox.height, (text, box)
    # By more than a hair: the boxes of lines of a legend touch.
    low_N2, high_N2 = (np.array([getattr(box, end) for _, box in boxes]) for end in ("min", "max"))
    low_N2, high_N2 = low_N2 + 0.7, high_N2 - 0.7
    over_NN = (low_N2[:, None] < high_N2).all(axis=-1) & (low_N2 < high_N2[:, None]).all(axis=-1)
    pairs = [(boxes[one][0], boxes[other][0]) for one, other in np.argwhere(np.triu(over_NN, 1))]
    assert not pairs, pairs


def shown_texts(figure):
    """All texts of a drawn figure that are seen: ticks outside an axis are not."""
    hidden = set()
    for panel in figure.axes:
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low <= tick.get_loc() <= high or not tick.label1.get_visible():
                    hidden |= {tick.label1}
                hidden |= {tick.label2}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and text not in hidden
    ]


def check_legends(figure):
    """No legend covers a panel, so none covers data."""
    legends = [panel.get_legend() for panel in figure.axes]
    for legend in filter(None, [*figure.legends, *legends]):
        box = legend.get_window_extent()
        assert not any(box.overlaps(panel.get_window_extent()) for panel in figure.axes)


def curves_of_first(runs):
    """The first dataset's control and largest error of each kind, as `draw_roc` takes them."""
    runs = runs[runs["dataset"] == runs["dataset"].iloc[0]]
    largest = runs.groupby("kind")["target_dice"].transform("min")
    runs = runs[(runs["kind"] == "control") | (runs["target_dice"] == largest)]
    histograms = [
        read_scores(f"{run.folder}/scores.h5").histogram(run.structure) for run in runs.itertuples()
    ]
    return runs.assign(histogram=histograms)
