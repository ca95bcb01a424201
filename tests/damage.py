"""Damages a file a byte at a time, as disks and networks do, and sees what reading it says."""

import random
from collections import Counter

from labelnoise.errors import InputError


def damage(path, read, count=150, mend="delete"):
    """Change one byte of a file at random, `count` times, and read what needs it.

    Args:
        path: the file, whole again in the end.
        read: a function of the path that returns all that is in the file.
        mend: what every sentence has to say, beside the file's name.

    Returns:
        How many times reading came to "sentence", to the "same" content and to "other" content.
        Anything but an InputError is raised.
    """
    content, truth, rng, found = path.read_bytes(), read(path), random.Random(0), Counter()
    for _ in range(count):
        place, mask = rng.randrange(len(content)), rng.randrange(1, 256)
        path.write_bytes(content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :])
        try:
            found["same" if read(path) == truth else "other"] += 1
        except InputError as error:
            assert path.name in str(error) and mend in str(error), error
            found["sentence"] += 1
    path.write_bytes(content)
    return found
