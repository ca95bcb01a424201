"""The legend below the panels of a figure."""

from matplotlib.lines import Line2D


def grouped_legend(figure, groups, loc="outside lower center"):
    """Put one legend below all panels, a column for each group of (text, handle) pairs."""
    groups = [group for group in groups if group]
    length = max(len(group) for group in groups)
    # matplotlib fills a legend column by column, so short groups are filled up with blanks.
    blank = ("", Line2D([], [], linestyle=""))
    entries = [entry for group in groups for entry in [*group, *[blank] * (length - len(group))]]
    texts, handles = zip(*entries, strict=True)
    return figure.legend(
        handles,
        texts,
        loc=loc,
        ncols=len(groups),
        columnspacing=1.6,
        handlelength=2.6,
        borderpad=0.7,
    )
