"""What the figures' tests read off a figure, and a check of its layout."""

from labelnoise.evaluation.histograms import read_scores


def texts(figure):
    """Words of the legend, without the blanks that fill its columns."""
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def lines(panel):
    """Lines of a panel by label; `errorbar` labels its container, not the line."""
    named = {line.get_label(): line for line in panel.lines}
    return named | {bars.get_label(): bars.lines[0] for bars in panel.containers}


def check_layout(figure):
    """Nothing leaves the figure or lies on the legend; no panels or row names overlap."""
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    boxes = [panel.get_tightbbox() for panel in figure.axes]
    for box in [legend, *boxes]:
        assert box.x0 >= -1 and box.y0 >= -1
        assert box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1
    assert not any(legend.overlaps(box) for box in boxes)
    panels = [panel.get_window_extent() for panel in figure.axes]
    names = [panel.yaxis.label.get_window_extent() for panel in figure.axes if panel.get_ylabel()]
    for group in (panels, names):
        assert not any(one.overlaps(other) for i, one in enumerate(group) for other in group[:i])


def curves_of_first(runs):
    """The first dataset's control and largest error of each kind, as `draw_roc` takes them."""
    runs = runs[runs["dataset"] == runs["dataset"].iloc[0]]
    largest = runs.groupby("kind")["target_dice"].transform("min")
    runs = runs[(runs["kind"] == "control") | (runs["target_dice"] == largest)]
    histograms = [
        read_scores(f"{run.folder}/scores.h5").histogram(run.structure) for run in runs.itertuples()
    ]
    return runs.assign(histogram=histograms)
