"""Names, order and palette of conditions."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from labelnoise.errors import InputError
from labelnoise.report import style


@pytest.mark.parametrize("styles", [style.kinds, style.networks, style.recipes])
def test_unknown_names_have_stable_styles_of_their_own(styles):
    names = ["mine", "yours", "theirs"]
    together = styles(names)
    assert styles(reversed(names)) == together
    assert list(together) == sorted(names)
    assert len(set(together.values())) == 3
    many = styles(f"name-{number}" for number in range(10))
    assert len(set(many.values())) == 10


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
        ("natural", 0.95, "0.95"),
        ("natural", 0.9, "0.90"),
        ("random", 0.925, "0.925"),
        ("random", 0.8, "0.80"),
        ("random", None, "no target"),
        ("random", float("nan"), "no target"),
    ],
)
def test_sizes_are_named_by_their_target(kind, target, name):
    assert style.size_name(kind, target) == name


def test_sizes_are_shown_from_small_to_large():
    names = ["0.85", "0.80", "no target", "0.98", "control", "0.95"]
    shown = ["control", "0.98", "0.95", "0.85", "0.80", "no target"]
    assert list(style.sizes(names)) == shown


def test_display_names():
    assert style.display("unet") == "U-Net"
    assert style.display("smp.Unet") == "smp.Unet"
    assert style.display_perturbation("natural-0.95") == "natural 0.95"
    assert style.display_perturbation("my-own") == "my-own"
    assert style.display_panel("lis", "liver") == "Liver CT"
    assert style.display_panel("phantom", "liver") == "Phantom, liver"
    assert style.display_panel("mni152", "white_matter") == "MNI152, white matter"


FIXED, FRESH, CYCLED = "1", "per_epoch", "10"


def test_draws_are_told_where_those_of_a_kind_differ():
    errors = [
        ("control", "control", FIXED),
        ("natural-0.90", "natural", FIXED),
        ("natural-0.90-fresh", "natural", FRESH),
        ("mine", "natural", CYCLED),
        ("choppy-0.90", "choppy", FRESH),
    ]
    names = ["control", "natural 0.90, fixed", "natural 0.90-fresh", "mine, 10 cycled"]
    assert list(style.perturbations(errors).values()) == [*names, "choppy 0.90"]
    table = pd.DataFrame(errors, columns=["perturbation", "kind", "draws"])
    assert style.perturbations_of(table) == style.perturbations(errors)
    assert style.errors(table) == {
        ("natural", FIXED): "natural, fixed",
        ("natural", CYCLED): "natural, 10 cycled",
        ("natural", FRESH): "natural, fresh",
        ("choppy", FRESH): "choppy",
    }
    for looks in (style.draws_fills(table), style.draws_lines(table)):
        assert list(looks) == [FIXED, CYCLED, FRESH] and len(set(looks.values())) == 3


def test_draws_are_not_spoken_of_where_those_of_each_kind_are_alike():
    errors = [("a", "control", FIXED), ("natural-0.90", "natural", FRESH), ("b", "choppy", CYCLED)]
    assert list(style.perturbations(errors).values()) == ["a", "natural 0.90", "b"]
    table = pd.DataFrame(errors, columns=["perturbation", "kind", "draws"])
    assert list(style.errors(table).values()) == ["natural", "choppy"]
    assert style.draws_fills(table) == style.draws_lines(table) == {}


def test_a_table_of_an_older_version_is_refused():
    table = pd.DataFrame({"perturbation": ["control"], "kind": ["control"]})
    for read in (style.errors, style.perturbations_of, style.draws_fills):
        with pytest.raises(InputError, match=r"column 'draws'.*--forcerun summarise_runs"):
            read(table)
