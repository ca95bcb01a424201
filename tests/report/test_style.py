"""Names, order and palette of conditions."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from labelnoise.report import style


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
