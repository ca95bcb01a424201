"""Networks of the user's own: built as ours, and refused by name where they cannot be used."""

import pytest
import torch

from labelnoise.errors import InputError
from labelnoise.networks import make_network
from labelnoise.networks.own import check_own
from own_modules import NET, use

pytestmark = pytest.mark.usefixtures("no_own_code")


def spec(settings=None, code=None):
    return {"network": "mynets.Net", "settings": settings or {}, "code": code}


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (1, 1)])
def test_an_own_network_takes_slices_of_any_size(tmp_path, size):
    code = use(tmp_path, "mynets", NET)
    check_own(spec({"width": 3}, code))
    network = make_network(spec({"width": 3}, code), in_channels=2, classes=4)
    assert network.stride == 2 and network.network.down.out_channels == 3
    assert network(torch.rand(2, 2, *size)).shape == (2, 4, *size)


def test_a_network_without_a_stride_is_not_padded(tmp_path):
    text = "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self, i, c):\n"
    use(tmp_path, "mynets", text + "        super().__init__(nn.Conv2d(i, c, 3, padding=1))")
    check_own(spec())
    assert make_network(spec()).stride == 1


def changed(old, new):
    assert old in NET
    return NET.replace(old, new)


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        (NET, {"widht": 3}, r"Net of .*mynets\.py cannot be called: .*'widht'"),
        (NET, {"width": -1}, r"mynets\.py, line 9, in __init__: "),
        (
            "def Net(i, c): pass",
            {},
            r"Net of .*mynets\.py is no class derived from torch\.nn\.Module",
        ),
        (changed("stride = 2", "stride = 0.5"), {}, r"has the stride 0\.5; expected a whole"),
        (changed("return self", "return undefined, self"), {}, r"line 13, in forward: NameError"),
        (
            changed("2, stride=2)\n\n", "1)\n\n"),
            {},
            r"a tensor \(2, 3, 8, 9\).*logits \(2, 3, 16, 18\)",
        ),
        (changed("classes, 2", "1, 2"), {}, r"a tensor \(2, 1, 16, 18\) .*; expected logits"),
        (
            changed("return self", "return {}, self"),
            {},
            r"returns tuple for images \(2, 1, 16, 18\)",
        ),
        (
            changed("relu())", "relu()).detach()"),
            {},
            r"without a gradient, so that it cannot learn",
        ),
        (
            changed("super().__init__()", "super().__init__(); self.b = nn.Parameter(noise())")
            + "\n    import numpy, torch\n    noise = lambda: torch.tensor(numpy.random.rand())",
            {},
            r"other weights at an equal torch\.manual_seed",
        ),
        (
            changed("stride = 2", "stride = 1"),
            {},
            r"a tensor .* 16\) for images .* 17\).* `stride`",
        ),
    ],
)
def test_a_network_that_cannot_be_used_is_one_sentence(tmp_path, text, settings, says):
    use(tmp_path, "mynets", text)
    with pytest.raises(InputError, match=says) as raised:
        check_own(spec(settings))
    assert "\n" not in str(raised.value)


def test_another_digest_is_refused(tmp_path):
    use(tmp_path, "mynets", NET)
    with pytest.raises(InputError, match="expected 0123"):
        make_network(spec(code="0123"))
