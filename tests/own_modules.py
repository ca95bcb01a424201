"""Python files of a user's own, for the tests of kinds of error and networks that are not ours."""

import textwrap

from labelnoise import own_code

SHAVE = """
    import numpy as np
    from scipy import ndimage

    def shave(mask, severity, rng):
        depth = ndimage.distance_transform_edt(mask)
        return mask & (depth > severity * (0.5 + rng.random(mask.shape)))
"""
NET = """
    from torch import nn

    class Net(nn.Module):
        stride = 2

        def __init__(self, in_channels, classes, width=4):
            super().__init__()
            self.down = nn.Conv2d(in_channels, width, 2, stride=2)
            self.up = nn.ConvTranspose2d(width, classes, 2, stride=2)

        def forward(self, images):
            return self.up(self.down(images).relu())
"""


def write(folder, name, text):
    """Write <name>.py, without the indentation of its text; return the file."""
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(text))
    return path


def use(folder, name, text):
    """Write a file, let this process use it, and return its digest."""
    path = write(folder, name, text)
    own_code.use_own_code({name: path})
    return own_code.digest_of(path)
