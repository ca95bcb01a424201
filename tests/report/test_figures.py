"""Figures: what is plotted equals the tables, nothing overlaps, equal input gives equal files."""

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgba
from PIL import Image

from labelnoise.errors import InputError
from labelnoise.evaluation.histograms import BINS, ScoreHistogram, read_scores
from labelnoise.evaluation.tables import degradation_table, runs_table
from labelnoise.report import style
from labelnoise.report.figures.degradation import degradation
from labelnoise.report.figures.overlay import colour_errors, crop_window
from labelnoise.report.figures.perturbations import disc, gallery
from labelnoise.report.figures.predictions import examples
from labelnoise.report.figures.roc import GRID, mean_curve, roc
from labelnoise.report.figures.runs import scatter
from labelnoise.report.figures.slopes import draw_slopes
from labelnoise.report.paper import slopes
from synthetic_runs import matrix, write_tree

SMALL = {"recipes": ("labels18", "plain"), "kinds": ("natural", "choppy", "random")}
STUDIES = {
    "one run": {"repeats": 1},
    "control only": {"kinds": ()},
    "small": {**SMALL, "sizes": (0.95, 0.85), "repeats": 2},
    "full": {
        **SMALL,
        "datasets": ("psd", "lis"),
        "models": ("unet", "segnet", "fcn32"),
        "sizes": (0.95, 0.90, 0.85),
    },
    "unknown names": {
        "datasets": ("my data",),
        "models": ("unet", "smp.Unet", "smp.Linknet"),
        "recipes": ("labels18", "focal", "dice"),
        "kinds": ("natural", "dilated"),
        "sizes": (0.98, 0.8),
        "repeats": 2,
    },
}


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Function that makes the runs table of a study, once."""

    @cache
    def make(name):
        folder, listed = tmp_path_factory.mktemp("results"), matrix(**STUDIES[name])
        structures = ("left kidney", "tumour") if name == "unknown names" else ("liver",)
        write_tree(folder, listed, structures=structures)
        return runs_table(listed, folder)

    return make


@pytest.fixture(params=STUDIES)
def runs(request, load):
    """The runs table of each study."""
    return load(request.param)


@pytest.fixture
def full(load):
    """The runs table of three networks, two recipes and two datasets."""
    return load("full")


@pytest.fixture(scope="module")
def full_figure(load):
    """The degradation figure of that study, to look at."""
    return degradation(load("full"))


def overlays():
    """Two rows of two perturbed masks, on the disc and on an image."""
    reference = disc(32)
    moved = np.roll(reference, 3, axis=1)
    image = np.linspace(-1, 1, 32 * 32).reshape(32, 32).astype(np.float16)
    titles = ["natural 0.95", "choppy 0.95"]
    return [
        [(title, None, reference, moved) for title in titles],
        [(title, image, reference, moved) for title in titles],
    ]


def texts(figure):
    """Words of the legend, without the blanks that fill its columns."""
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def lines(panel):
    """Lines of a panel by label; `errorbar` labels its container, not the line."""
    named = {line.get_label(): line for line in panel.lines}
    return named | {bars.get_label(): bars.lines[0] for bars in panel.containers}


def slope_dots(runs):
    """The slopes figure, from runs."""
    return draw_slopes(slopes(runs))


def roc_of_first(runs):
    """The ROC figure of the first dataset: control and the largest error of each kind."""
    return roc(roc_curves_of_first(runs))


def roc_curves_of_first(runs):
    """What that figure shows."""
    runs = runs[runs["dataset"] == runs["dataset"].iloc[0]]
    largest = runs.groupby("kind")["target_dice"].transform("min")
    runs = runs[(runs["kind"] == "control") | (runs["target_dice"] == largest)]
    histograms = [
        read_scores(f"{run.folder}/scores.h5")[run.checkpoint_rank][run.structure]
        for run in runs.itertuples()
    ]
    return runs.assign(histogram=histograms)


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


@pytest.mark.parametrize("draw", [degradation, scatter, slope_dots, roc_of_first])
def test_nothing_is_clipped_and_nothing_overlaps(runs, draw):
    if draw is slope_dots and (runs["kind"] == "control").all():
        pytest.skip("a study without errors has no slopes")
    figure = draw(runs)
    assert figure.get_figwidth() in (style.COLUMN_WIDTH, style.PAGE_WIDTH)
    check_layout(figure)


@pytest.mark.parametrize("draw", [degradation, scatter, slope_dots, roc_of_first])
@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_equal_runs_give_equal_files(load, draw, suffix, tmp_path):
    paths = [tmp_path / f"{name}{suffix}" for name in ["one", "two"]]
    for path in paths:
        style.save(draw(load("small")), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_files_are_whole_and_of_the_stated_size(full_figure, tmp_path):
    style.save_all(full_figure, [tmp_path / name for name in ["a.png", "a.pdf", "b.png"]])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    image = Image.open(tmp_path / "a.png")
    image.load()
    assert image.width == style.PAGE_WIDTH * style.RESOLUTION
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF") and content.rstrip().endswith(b"%%EOF")
    assert b"CreationDate" not in content
    assert b"/Type3" not in content


def test_other_suffixes_are_refused_and_leave_nothing(full_figure, tmp_path):
    with pytest.raises(InputError, match=r"a\.jpg: a figure is written as \.pdf or \.png"):
        style.save(full_figure, tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


def test_drawing_leaves_the_global_style_alone(load):
    before = dict(rcParams)
    degradation(load("small"))
    assert dict(rcParams) == before


def test_degradation_plots_the_table(full, full_figure):
    table = degradation_table(full)
    # Rows: liver, then pancreas; columns: natural, choppy, random.
    for row, dataset in enumerate(["lis", "psd"]):
        for column, kind in enumerate(["natural", "choppy", "random"]):
            panel = full_figure.axes[3 * row + column]
            cells = table[(table["dataset"] == dataset) & table["kind"].isin(["control", kind])]
            for (model, recipe), line in cells.groupby(["model", "recipe"]):
                expected = line.sort_values("label_dice_mean", ascending=False)
                plotted = lines(panel)[f"{model} {recipe}"]
                assert plotted.get_xdata() == pytest.approx(expected["label_dice_mean"].to_numpy())
                assert plotted.get_ydata() == pytest.approx(expected["dice_mean"].to_numpy())
                assert plotted.get_xdata()[0] == 1


def test_degradation_draws_the_t_interval(full, full_figure):
    panel = full_figure.axes[0]
    (bars,) = (bars for bars in panel.containers if bars.get_label() == "unet labels18")
    (ends,) = (part for part in bars.lines[2] if isinstance(part, LineCollection))
    table = degradation_table(full)
    cells = table[(table["dataset"] == "lis") & table["kind"].isin(["control", "natural"])]
    cells = cells[(cells["model"] == "unet") & (cells["recipe"] == "labels18")]
    found = sorted(tuple(segment[:, 1]) for segment in ends.get_segments())
    assert np.array(found) == pytest.approx(
        cells[["dice_low", "dice_high"]].sort_values("dice_low")
    )


def test_degradation_draws_every_run_once_a_panel(full, full_figure):
    shown = full[(full["dataset"] == "psd") & full["kind"].isin(["control", "random"])]
    panel = full_figure.axes[5]
    found = [line.get_xydata() for name, line in lines(panel).items() if name.startswith("_runs")]
    expected = shown[["label_dice", "dice"]].to_numpy()
    assert sorted(map(tuple, np.concatenate(found))) == sorted(map(tuple, expected))


def test_degradation_reads_from_clean_labels_to_worse(full_figure):
    panel = full_figure.axes[0]
    left, right = panel.get_xlim()
    assert left > 1 > 0.85 > right
    assert panel.get_title() == "natural"
    assert panel.get_ylabel() == "Liver CT\ntest Dice"


def test_degradation_shows_every_mean_and_interval(runs):
    table = degradation_table(runs)
    panels = degradation(runs).axes
    low = min(panel.get_ylim()[0] for panel in panels)
    assert low <= max(0, np.nanmin(table[["dice_low", "dice_mean"]].to_numpy()))
    assert max(panel.get_ylim()[1] for panel in panels) >= min(1, table["dice_mean"].max())


def test_degradation_legend(load, full_figure):
    expected = ["U-Net", "SegNet", "FCN-32s", "labels18", "plain cross-entropy"]
    expected += ["test Dice = label Dice", "single run", "95 % t-interval of the mean"]
    assert texts(full_figure) == expected
    # A single repeat has no interval to explain.
    assert texts(degradation(load("one run"))) == ["U-Net", "labels18", *expected[5:-1]]


def test_styles_tell_all_series_of_a_panel_apart(runs):
    panel = degradation(runs).axes[0]
    looks = [bars.lines[0] for bars in panel.containers]
    seen = {
        (to_hex(look.get_color()), look.get_marker(), look.get_linestyle(), look.get_fillstyle())
        for look in looks
    }
    assert len(seen) == len(looks) == len(runs[["model", "recipe"]].drop_duplicates())


def test_scatter_plots_every_run(runs):
    figure = scatter(runs)
    found = [
        (line.get_label()[1:], dice)
        for panel in figure.axes
        for line in panel.lines
        if line.get_marker() != "None"
        for dice in line.get_ydata()
    ]
    expected = zip(runs["model"] + " " + runs["perturbation"], runs["dice"], strict=True)
    assert sorted(found) == sorted(expected)


def test_scatter_keeps_networks_and_perturbations_apart(full):
    panel = scatter(full).axes[0]
    dots = [line for line in panel.lines if line.get_marker() != "None"]
    places = sorted((min(dot.get_xdata()), max(dot.get_xdata()), dot.get_label()) for dot in dots)
    assert all(one[1] < two[0] for one, two in pairwise(places))
    centres = {"unet": 0, "segnet": 1, "fcn32": 2}
    assert all(round(low) == centres[label[1:].split()[0]] for low, _, label in places)


def test_scatter_legend(full):
    kinds = ["control", "natural", "choppy", "random"]
    assert texts(scatter(full)) == [
        *kinds,
        "s (0.95)",
        "m (0.90)",
        "l (0.85)",
        "mean of the control",
    ]


def test_scatter_without_control_has_no_control_line(full):
    panels = scatter(full[full["kind"] != "control"]).axes
    assert not [line for panel in panels for line in panel.lines if line.get_label() == "_control"]


def test_scatter_names_errors_given_by_severity_by_their_label_dice(full):
    short = {"-0.95": "-s", "-0.90": "-m", "-0.85": "-l"}
    renamed = full["perturbation"].replace(short, regex=True)
    by_severity = full.assign(perturbation=renamed, target_dice=np.nan)
    assert texts(scatter(by_severity)) == texts(scatter(full))


def test_slopes_plots_the_table_and_the_papers(full):
    table, figure = slopes(full), draw_slopes(slopes(full))
    recipes = ["labels18", "plain"]
    for panel, (dataset, recipe) in zip(
        figure.axes, [(d, r) for d in ["lis", "psd"] for r in recipes], strict=True
    ):
        assert panel.get_ylim() == (2.5, -0.5)
        low, high = panel.get_xlim()
        here = table[(table["dataset"] == dataset) & (table["recipe"] == recipe)]
        for row in here.itertuples():
            ours = lines(panel)[f"_{row.model} {row.kind}"]
            paper = lines(panel)[f"_paper {row.model} {row.kind}"]
            assert ours.get_xdata() == [row.slope]
            assert paper.get_xdata() == [row.paper_liver_slope]
            assert low < min(0, row.slope) and max(1, row.slope) < high
            assert paper.get_ydata() == ours.get_ydata()
    expected = ["natural", "choppy", "random", "95 % t-interval", "the paper's Table 1, liver CT"]
    assert texts(figure) == expected


def test_a_study_without_errors_says_so(load):
    figure = slope_dots(load("control only"))
    assert not figure.axes
    assert "no slopes" in figure.texts[0].get_text()


def test_slopes_stay_readable_beside_a_huge_interval(full):
    table = slopes(full).assign(slope_low=-40.0, slope_high=40.0)
    low, high = draw_slopes(table).axes[0].get_xlim()
    assert low > -1.5 and high < 3


def test_mean_curve_of_curves_drawn_by_hand():
    def steps(below, between, above):
        counts_2B = np.zeros((2, BINS), np.int64)
        counts_2B[:, 0], counts_2B[:, 5], counts_2B[:, 9] = below, between, above
        return ScoreHistogram(counts_2B)

    # The first finds 60 % of positives before any negative, the second 100 %.
    first, second = steps((99, 0), (1, 40), (0, 60)), steps((100, 0), (0, 0), (0, 100))
    mean, sd = mean_curve([first, second])
    half = np.searchsorted(GRID, 0.005)
    assert mean[half] == pytest.approx((0.6 + 0.4 * GRID[half] / 0.01 + 1) / 2)
    assert sd[half] == pytest.approx((1 - (0.6 + 0.4 * GRID[half] / 0.01)) / np.sqrt(2))
    assert mean[-1] == 1 and sd[-1] == 0
    assert np.isnan(mean_curve([first])[1]).all()
    empty = ScoreHistogram(np.zeros((2, BINS), np.int64))
    np.testing.assert_array_equal(mean_curve([first, empty])[0], mean_curve([first])[0])


def test_roc_plots_means_bands_and_decisions(full):
    curves = roc_curves_of_first(full)
    panel = roc(curves).axes[1]  # U-Net, plain
    here = curves[(curves["model"] == "unet") & (curves["recipe"] == "plain")]
    assert panel.get_xscale() == "log"
    for name, runs in here.groupby("perturbation"):
        histograms = runs["histogram"].tolist()
        mean, sd = mean_curve(histograms)
        np.testing.assert_array_equal(lines(panel)[f"_{name}"].get_ydata(), mean)
        (band,) = (part for part in panel.collections if part.get_label() == f"_band {name}")
        edges = band.get_paths()[0].vertices[:, 1]
        assert edges.max() == pytest.approx(min((mean + sd).max(), 1))
        decision = lines(panel)[f"_decision {name}"].get_xydata()[0]
        expected = np.mean([histogram.decision() for histogram in histograms], axis=0)
        assert decision == pytest.approx(expected)
        # The synthetic scores are made so that the decision gives the counted masks.
        assert decision[1] == pytest.approx(runs["recall"].mean())


def test_roc_prints_the_auc_of_the_table(full, load):
    curves = roc_curves_of_first(full)
    panel = roc(curves).axes[0]
    here = curves[(curves["model"] == "unet") & (curves["recipe"] == "labels18")]
    auc = here.loc[here["kind"] == "control", "auc"]
    found = [text.get_text() for text in panel.get_legend().get_texts()]
    assert found[0] == f"{auc.mean():.4f} ± {auc.std():.4f}  control"
    assert [text.split("  ")[1] for text in found[1:]] == [
        f"{kind} 0.85" for kind in ["natural", "choppy", "random"]
    ]
    single = roc_of_first(load("one run"))
    assert "±" not in single.axes[0].get_legend().get_texts()[0].get_text()
    assert texts(single) == ["single run", "at probability 0.5"]


def test_gallery_prints_the_label_dice_of_the_whole_slice():
    figure = gallery(overlays(), ["disc", "slice A"])
    reference, moved = disc(32), np.roll(disc(32), 3, axis=1)
    dice = 2 * (reference & moved).sum() / (reference.sum() + moved.sum())
    assert {panel.get_xlabel() for panel in figure.axes} == {f"{dice:.3f}"}
    assert [panel.get_title() for panel in figure.axes[:2]] == ["natural\n0.95", "choppy\n0.95"]
    assert [panel.get_ylabel() for panel in figure.axes] == ["disc", "", "slice A", ""]
    assert texts(figure) == ["reference outline", "added", "missed"]


@pytest.mark.parametrize("columns", [1, 2, 9])
def test_gallery_layout(columns):
    rows = [(row * 5)[:columns] for row in overlays()]
    figure = gallery(rows, ["disc", "slice A"])
    assert figure.get_figwidth() == (style.PAGE_WIDTH if columns > 4 else style.COLUMN_WIDTH)
    check_layout(figure)


@pytest.mark.parametrize("suffix", [".png", ".pdf"])
def test_equal_overlays_give_equal_files(suffix, tmp_path):
    paths = [tmp_path / f"{name}{suffix}" for name in ["one", "two"]]
    for path in paths:
        style.save(gallery(overlays(), ["disc", "slice A"]), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_examples_show_reference_then_each_prediction():
    reference, image = disc(32), np.zeros((32, 32), dtype=np.float16)
    empty = np.zeros_like(reference)
    full_row = (image, reference, [("control", reference), ("natural 0.85", empty)])
    blank_row = (image, empty, [("control", empty), ("natural 0.85", reference)])
    figure = examples([full_row, blank_row], ["a, 1", "b, 2"])
    check_layout(figure)
    titles = [panel.get_title() for panel in figure.axes[:3]]
    assert titles == ["reference", "control", "natural 0.85"]
    # Without foreground in either mask there is no Dice.
    labels = [panel.get_xlabel() for panel in figure.axes]
    assert labels == ["", "1.000", "0.000", "", "–", "0.000"]
    assert texts(figure) == ["reference outline", "false positive", "false negative"]


def test_errors_are_coloured_by_what_they_are():
    reference = np.array([[1, 1, 0, 0]])
    mask = np.array([[1, 0, 1, 0]])
    agreed, missed, added, neither = colour_errors(reference, mask)[0]
    assert to_hex(missed) == style.MISSED.lower()
    assert to_hex(added) == style.ADDED.lower()
    assert agreed[3] == neither[3] == 0
    grey = colour_errors(reference, mask, show_agreement=True)[0, 0]
    assert tuple(grey) == to_rgba(style.AGREED)


def test_crop_is_a_square_around_the_reference_inside_the_slice():
    mask = np.zeros((100, 80), dtype=np.uint8)
    mask[0:20, 70:80] = 1
    rows, columns = crop_window(mask, 0.5)
    assert (rows, columns) == (slice(0, 40), slice(40, 80))
    assert mask[rows, columns].sum() == mask.sum()
    assert crop_window(mask, None) == (slice(None), slice(None))
    assert crop_window(mask * 0, 0.5) == (slice(None), slice(None))
    mask[:] = 1
    assert mask[crop_window(mask, 0.5)].shape == (100, 80)


def test_disc_is_round_and_centred():
    mask = disc(64, radius=20)
    assert mask.dtype == np.uint8
    assert mask.sum() == pytest.approx(np.pi * 20**2, rel=0.01)
    for turned in [mask[::-1], mask[:, ::-1], mask.T]:
        np.testing.assert_array_equal(turned, mask)


@pytest.mark.parametrize("styles", [style.kinds, style.networks, style.recipes])
def test_unknown_names_have_stable_styles_of_their_own(styles):
    names = ["mine", "yours", "theirs"]
    together = styles(names)
    assert styles(reversed(names)) == together
    assert list(together) == sorted(names)
    assert len(set(together.values())) == 3


def test_known_styles_do_not_depend_on_who_else_is_shown():
    alone, among = style.networks(["segnet"]), style.networks(["zzz", "segnet", "unet"])
    assert among["segnet"] == alone["segnet"]
    assert list(among) == ["unet", "segnet", "zzz"]


def test_colours_differ_in_lightness():
    def luminance(colour):
        red, green, blue, _ = to_rgba(colour)
        return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2

    for colours in [style.KINDS.values(), [color for color, _ in style.NETWORKS.values()][:3]]:
        values = [luminance(colour) for colour in colours]
        assert (np.diff(values) > 0.08).all()
    # Errors stand out from soft tissue (mid grey) and from the grey of the disc.
    for colour in [style.ADDED, style.MISSED]:
        assert luminance("0.5") + 0.1 < luminance(colour) < luminance(style.AGREED) - 0.1


@pytest.mark.parametrize(
    "kind, target, name",
    [
        ("control", None, "control"),
        ("natural", 0.95, "s"),
        ("natural", 0.9, "m"),
        ("random", 0.85, "l"),
        ("random", 0.8, "0.80"),
        ("random", None, "no target"),
        ("random", float("nan"), "no target"),
    ],
)
def test_sizes_are_named_by_their_target(kind, target, name):
    assert style.size_name(kind, target) == name


def test_sizes_are_shown_from_small_to_large():
    names = ["l", "0.80", "no target", "0.98", "control", "s"]
    assert list(style.sizes(names)) == ["control", "0.98", "s", "l", "0.80", "no target"]


def test_display_names():
    assert style.display("unet") == "U-Net"
    assert style.display("smp.Unet") == "smp.Unet"
    assert style.display_perturbation("natural-0.95") == "natural 0.95"
    assert style.display_perturbation("my-own") == "my-own"
    assert style.display_panel("lis", "liver") == "Liver CT"
    assert style.display_panel("phantom", "liver") == "Phantom, liver"
    assert style.display_panel("mni152", "white_matter") == "MNI152, white matter"
