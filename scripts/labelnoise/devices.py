"""One process, one device: leases a free GPU for as long as the process lives, or takes the CPU."""

import fcntl
import logging
import os
import platform
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from labelnoise.errors import InputError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """Where a run computes: `kind` is "cuda" or "cpu", `label` names it for people and tables."""

    kind: str
    label: str


@dataclass(frozen=True)
class Card:
    """A GPU of this host, as its driver numbers and names it."""

    index: int
    uuid: str
    name: str


@contextmanager
def lease_device(gpus, cards=None, folder=None, patience=24 * 3600, pause=1.0):
    """Hold a GPU of this host alone, or the CPU, inside the `with` block.

    Must be entered before CUDA starts, since the choice is made known through
    CUDA_VISIBLE_DEVICES. The lock belongs to the process, so a killed job frees its card.

    Args:
        gpus: GPUs the rule was granted; 0 means the CPU.
        cards: the host's cards; None asks the driver.
        folder: where the locks lie; None takes one shared by all of the user's workflows.
        patience: seconds to wait for a free card.
        pause: seconds between tries.

    Yields:
        The Device.

    Raises:
        InputError: no card came free in time.
    """
    if not gpus:
        yield _cpu("as asked (gpu=0)")
        return
    cards = visible(installed_cards() if cards is None else cards)
    if not cards:
        yield _cpu("since this host has no GPU that may be used")
        return
    with ExitStack() as stack:
        card = _wait_for_card(stack, cards, folder or _lock_folder(), patience, pause)
        os.environ["CUDA_VISIBLE_DEVICES"] = card.uuid
        log.info("device: %s, %s, on %s", card.name, card.uuid, platform.node())
        yield Device("cuda", f"{card.name} {card.uuid}")


def installed_cards():
    """List the host's GPUs without starting CUDA; none where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        return [
            Card(index, pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle))
            for index, handle in enumerate(handles)
        ]
    finally:
        pynvml.nvmlShutdown()


def visible(cards):
    """Keep the cards that CUDA_VISIBLE_DEVICES allows, by index or by (start of) UUID."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return list(cards)
    names = [name.strip() for name in allowed.split(",") if name.strip()]
    return [
        card
        for name in names
        for card in cards
        if (name.isdigit() and int(name) == card.index)
        or (not name.isdigit() and card.uuid.startswith(name))
    ]


def _cpu(why):
    # torch must not find a card that nobody leased.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    log.info("device: CPU of %s, %s", platform.node(), why)
    return Device("cpu", "cpu")


def _lock_folder():
    folder = Path(tempfile.gettempdir()) / f"labelnoise-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _wait_for_card(stack, cards, folder, patience, pause):
    deadline, told = time.monotonic() + patience, False
    while True:
        for card in cards:
            if _lock(stack, Path(folder) / f"{card.uuid}.lock"):
                return card
        if not told:
            log.info("waiting: all of %s are taken", ", ".join(card.uuid for card in cards))
            told = True
        if time.monotonic() > deadline:
            raise InputError(
                f"no GPU of {platform.node()} came free within {patience:g} seconds; run fewer "
                "jobs at once (--resources gpu=N) or end the processes that hold the cards."
            )
        time.sleep(pause)


def _lock(stack, path):
    """Take the file's lock if it is free, until the stack closes or the process dies."""
    handle = open(path, "a+")  # noqa: SIM115 - the stack closes it
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return False
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    stack.callback(handle.close)
    # A forked loader shares the lock with its parent and would hold the card beyond its death.
    os.register_at_fork(after_in_child=handle.close)
    return True
