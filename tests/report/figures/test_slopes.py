"""Slopes: what is plotted equals the table and the paper's."""

from figure_checks import lines, texts
from labelnoise.report.figures.slopes import draw_slopes


def test_slopes_plots_the_table_and_the_papers(slopes):
    table, figure = slopes("full"), draw_slopes(slopes("full"))
    recipes = ["labels18", "plain"]
    for panel, (dataset, recipe) in zip(
        figure.axes, [(d, r) for d in ["lis", "psd"] for r in recipes], strict=True
    ):
        assert panel.get_ylim() == (2.5, -0.5)
        low, high = panel.get_xlim()
        here = table[(table["dataset"] == dataset) & (table["recipe"] == recipe)]
        for row in here.itertuples():
            ours = lines(panel)[f"_{row.model} {row.kind}"]
            paper = lines(panel).get(f"_paper {row.model} {row.kind}")
            assert ours.get_xdata() == [row.slope]
            assert low < min(0, row.slope) and max(1, row.slope) < high
            # The paper's numbers are of liver CT.
            assert (paper is not None) == (dataset == "lis")
            if paper:
                assert paper.get_xdata() == [row.paper_liver_slope]
                assert paper.get_ydata() == ours.get_ydata()
    expected = ["natural", "choppy", "random", "95 % interval (repeats, cases)"]
    assert texts(figure) == [*expected, "the paper's Table 1, liver CT"]


def test_a_study_without_errors_says_so(slopes):
    figure = draw_slopes(slopes("control only"))
    assert not figure.axes
    assert "no slopes" in figure.texts[0].get_text()


def test_slopes_stay_readable_beside_a_huge_interval(slopes):
    table = slopes("full").assign(slope_low=-40.0, slope_high=40.0)
    low, high = draw_slopes(table).axes[0].get_xlim()
    assert low > -1.5 and high < 3
