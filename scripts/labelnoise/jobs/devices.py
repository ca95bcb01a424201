"""One process, one device: a GPU, or a slot of one, leased while the process lives, or the CPU.

A GPU is a card, or an instance of a card that is divided by MIG. Its lock file stands for all of
it: a process that takes one of k slots locks one of k equal parts of SIZE bytes, so that slots of
different sizes exclude each other exactly where they overlap.
"""

import json
import logging
import os
import platform
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from labelnoise.errors import InputError
from labelnoise.files import is_alive, whole_file
from labelnoise.jobs.locks import lock_holders, try_lock, unlock

log = logging.getLogger(__name__)

# Divisible by 1 to 8, the numbers of slots that the config allows.
SIZE = 840
# Set in a job by Slurm, PBS, LSF and Flux.
SCHEDULER_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID")
GIB = 2**30
# What Snakemake sets in a script to the number of its rule's threads.
THREADS = (
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
# Seconds between attempts to take a slot.
PAUSE = 0.5
# Lock files that this process holds parts of: path -> (file, parts). They stay open, see `locks`.
_held: dict[Path, tuple[IO[Any], list[range]]] = {}


@dataclass(frozen=True)
class Card:
    """A GPU of this host, as its driver numbers and names it.

    Attributes:
        index: the card's number in the order of the PCI bus; MIG instances have their card's.
        uuid: such as GPU-... or MIG-...
        name: the product.
        memory: bytes, 0 where unknown.
    """

    index: int
    uuid: str
    name: str
    memory: int = 0


@dataclass(frozen=True)
class Device:
    """Where a run computes.

    Attributes:
        kind: "cuda" or "cpu".
        label: its name in tables and messages.
        card: the GPU, if it is one.
        slots: how many runs share the card; each may use that part of its memory.
        slot: which of them this is, from 0.
    """

    kind: str
    label: str
    card: Card | None = None
    slots: int = 1
    slot: int = 0

    def limit_memory(self) -> None:
        """Limit this process to its part of a shared card's memory, before any is allocated."""
        if self.kind == "cuda" and self.slots > 1:
            import torch

            torch.cuda.set_per_process_memory_fraction(1 / self.slots)

    def record(self) -> dict[str, Any]:
        """Return its entries of run.json."""
        gpu = self.card and {**asdict(self.card), "slot": self.slot, "slots": self.slots}
        return {"device": self.label, "gpu": gpu, "scheduler": scheduler_variables()}


@contextmanager
def lease_device(
    gpus: int,
    cards: Sequence[Card] | None = None,
    folder: Path | None = None,
    slots: int = 1,
    patience: float = 24 * 3600,
    purpose: str = "a job",
) -> Iterator[Device]:
    """Hold a GPU of this host, or a slot of one, or the CPU, inside the `with` block.

    Enter it before CUDA starts: the choice reaches CUDA through CUDA_VISIBLE_DEVICES. If the user
    or a scheduler has set that already, the GPU is chosen from its list. If a scheduler gave the
    job the one GPU that it asks for, the job takes that without waiting. The lock ends with the
    process, so a killed job frees its GPU.

    Args:
        gpus: GPUs that the rule was granted; 0 means the CPU, more than 1 is refused.
        cards: the host's GPUs, as `installed_cards` lists them; None asks the driver.
        folder: where the locks are; None takes one that all of the user's workflows share.
        slots: processes that may share a GPU, 1 to 8.
        patience: seconds to wait for a free slot.
        purpose: what the lease is for, shown to others that wait.

    Yields:
        The device.

    Raises:
        InputError: more than one GPU is asked for, or none became free in time.
    """
    if not gpus:
        yield _cpu("as asked (gpu=0)")
        return
    if gpus > 1:
        raise InputError(
            f"a run uses one GPU, but its resource gpu is {gpus}; leave it at 1 (runs_per_gpu in "
            "the config lets runs share a GPU)."
        )
    _check_cuda_has_not_started()
    cards = visible(installed_cards() if cards is None else cards)
    if not cards:
        yield _cpu("since this host has no GPU that may be used")
        return
    pool = _Pool(tuple(cards), folder or _lock_folder(), slots, purpose)
    # A scheduler's GPU is used even where another process of this user's holds it.
    lease = pool.take_given() if _is_scheduled() and len(cards) == 1 else pool.wait(patience)
    card, slot = (lease.card, lease.slot) if lease else (cards[0], 0)
    os.environ["CUDA_VISIBLE_DEVICES"] = card.uuid
    where = f"{card.memory / GIB:.0f} GiB, slot {slot + 1} of {slots}, on {platform.node()}"
    log.info("device: %s, %s, %s", card.name, card.uuid, where)
    try:
        yield Device("cuda", f"{card.name} {card.uuid}", card, slots, slot)
    finally:
        if lease:
            lease.give_back()


@contextmanager
def lease_recorded_device(
    record: Mapping[str, Any], slots: int, patience: float, purpose: str
) -> Iterator[Device]:
    """Hold a device of the kind that a run's record names; see `lease_device`.

    Args:
        record: the content of a run.json, with the keys of `Device.record`.
        slots, patience, purpose: see `lease_device`.

    Yields:
        The device: the CPU, or a card of the same product.

    Raises:
        InputError: no such card may be used here, or none became free in time.
    """
    if record["gpu"] is None:
        with lease_device(0) as device:
            yield device
        return
    wanted = record["gpu"]["name"]
    cards = visible(installed_cards())
    chosen = [card.uuid for card in cards if card.name == wanted]
    if not chosen:
        found = ", ".join(sorted({card.name for card in cards})) or "no GPU that may be used"
        raise InputError(
            f"{purpose} would not be byte for byte: device {wanted} in the record, {found} here; "
            "do it on a host with such a card."
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
    with lease_device(1, slots=slots, patience=patience, purpose=purpose) as device:
        yield device


def use_threads(number: int) -> None:
    """Let libraries that are still to be imported compute with this number of threads.

    As in a job of Snakemake's: torch reads it once, when it is imported.
    """
    os.environ.update(dict.fromkeys(THREADS, str(number)))


def installed_cards() -> list[Card]:
    """Return the host's GPUs, the least used first; none without a driver. CUDA is not started."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            card = pynvml.nvmlDeviceGetHandleByIndex(index)
            for handle in _instances(pynvml, card) or [card]:
                used, total = _memory(pynvml, handle)
                uuid, name = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
                # Other programs may use a card without our locks.
                found.append((used // (2 * GIB), Card(index, uuid, name, total)))
        return [card for _, card in sorted(found, key=lambda entry: entry[0])]
    finally:
        pynvml.nvmlShutdown()


def _memory(pynvml: Any, handle: Any) -> tuple[int, int]:
    """Return the bytes in use and in total; 0 where the driver does not say."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except pynvml.NVMLError:
        return 0, 0
    return memory.used, memory.total


def _instances(pynvml: Any, card: Any) -> list[Any]:
    """Return the handles of a card's MIG instances; none where it is not divided."""
    try:
        if pynvml.nvmlDeviceGetMigMode(card)[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return []
        most = pynvml.nvmlDeviceGetMaxMigDeviceCount(card)
    except pynvml.NVMLError:
        return []
    handles = []
    for place in range(most):
        try:
            handles.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, place))
        except pynvml.NVMLError:
            continue
    return handles


def visible(cards: Iterable[Card]) -> list[Card]:
    """Return the GPUs that CUDA_VISIBLE_DEVICES allows, by index or by (start of) UUID.

    Like CUDA, it stops at the first name that fits none.
    """
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = list(cards)
    if allowed is None:
        return cards
    chosen: list[Card] = []
    for name in filter(None, map(str.strip, allowed.split(","))):
        fitting = [card for card in cards if _is_named(card, name)]
        if not fitting:
            break
        chosen += [card for card in fitting if card not in chosen]
    return chosen


def _is_named(card: Card, name: str) -> bool:
    return int(name) == card.index if name.isdigit() else card.uuid.startswith(name)


def scheduler_variables() -> dict[str, str]:
    """Return what is known from a scheduler about the job and its GPUs."""
    names = (*SCHEDULER_JOB, "SLURM_JOB_NODELIST", "SLURM_RESTART_COUNT")
    found = {name: os.environ[name] for name in names if name in os.environ}
    if found and _GIVEN is not None:
        found["CUDA_VISIBLE_DEVICES"] = _GIVEN
    return found


# As the scheduler set it, before a lease narrows it down.
_GIVEN = os.environ.get("CUDA_VISIBLE_DEVICES")


def _is_scheduled() -> bool:
    return "CUDA_VISIBLE_DEVICES" in os.environ and any(map(os.environ.get, SCHEDULER_JOB))


def _check_cuda_has_not_started() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("a GPU can only be leased before CUDA starts")


def _cpu(why: str) -> Device:
    # torch must not find a card that was not leased.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    log.info("device: CPU of %s, %s", platform.node(), why)
    return Device("cpu", "cpu")


def _lock_folder() -> Path:
    """Return a folder that belongs to this user on this host, whatever TMPDIR a job has."""
    folder = Path("/tmp") / f"labelnoise-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise InputError(f"{folder} belongs to another user; ask for its removal.")
    return folder


@dataclass(frozen=True)
class _Pool:
    """GPUs that a process chooses a slot from.

    Attributes:
        cards, folder, slots, purpose: see `lease_device`.
    """

    cards: tuple[Card, ...]
    folder: Path
    slots: int
    purpose: str

    def take(self) -> "Lease | None":
        """Take the first free slot: the first slots of all GPUs are tried before the second."""
        for slot in range(self.slots):
            for card in self.cards:
                lease = Lease(card, self.folder, slot, self.slots, self.purpose)
                if lease.take():
                    return lease
        return None

    def take_given(self) -> "Lease | None":
        """Take a slot of the GPU that a scheduler gave; None where another process holds it."""
        lease = self.take()
        if lease is None:
            log.warning("the scheduler gave a GPU that is in use: %s", self._holders())
        return lease

    def wait(self, patience: float) -> "Lease":
        """Take a slot as soon as one is free; report once who holds them."""
        deadline, told = time.monotonic() + patience, False
        while (lease := self.take()) is None:
            if not told:
                told = True
                sentence = f"{self.purpose} waits for a GPU of {platform.node()}: {self._state()}"
                log.warning(sentence)
                print(sentence, file=sys.stderr, flush=True)
            if time.monotonic() > deadline:
                raise InputError(
                    f"no GPU of {platform.node()} came free within {patience:g} seconds for "
                    f"{self.purpose}: {self._state()}; run no more jobs at once than that "
                    f"(--resources gpu={len(self.cards) * self.slots}), or end the processes that "
                    "hold them."
                )
            time.sleep(PAUSE)
        return lease

    def _state(self) -> str:
        number, slots = len(self.cards), self.slots
        shared = f", with runs_per_gpu: {slots} that is {number * slots} slots" if slots > 1 else ""
        return f"{number} may be used{shared}, held by {self._holders()}"

    def _holders(self) -> str:
        return "; ".join(holders(self.cards, self.folder))


class Lease:
    """A slot of a card, held or not."""

    def __init__(self, card: Card, folder: Path, slot: int, slots: int, purpose: str):
        """Describe the slot.

        Args:
            card: the GPU.
            folder: where the locks are.
            slot, slots: which of how many it is.
            purpose: what it is for.
        """
        self.card, self.folder, self.slot, self.purpose = card, folder, slot, purpose
        length = SIZE // slots
        self.part = range(slot * length, (slot + 1) * length)

    @property
    def path(self) -> Path:
        """The card's lock file."""
        return self.folder / f"{_file_name(self.card)}.lock"

    @property
    def note(self) -> Path:
        """File that tells others what this process is."""
        return self.folder / f"{_file_name(self.card)}.{os.getpid()}.json"

    def take(self) -> bool:
        """Lock the slot if it is free, and return whether it was."""
        file, parts = _held.get(self.path) or (open(self.path, "a+b"), [])  # noqa: SIM115
        free = not any(_overlap(self.part, part) for part in parts)
        if free and try_lock(file, self.part.start, len(self.part)):
            _held[self.path] = (file, [*parts, self.part])
            self._introduce()
            return True
        if not parts:
            file.close()
        return False

    def _introduce(self) -> None:
        """Leave a note for those that wait, and delete those of ended processes."""
        for note in self.folder.glob(f"{_file_name(self.card)}.*.json"):
            if not is_alive(int(note.suffixes[-2][1:])):
                note.unlink(missing_ok=True)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError), whole_file(self.note) as temporary:
            temporary.write_text(json.dumps({"purpose": self.purpose, "since": since}))

    def give_back(self) -> None:
        """Free the slot."""
        file, parts = _held[self.path]
        parts.remove(self.part)
        self.note.unlink(missing_ok=True)
        unlock(file, self.part.start, len(self.part))
        if not parts:
            del _held[self.path]
            file.close()


def _file_name(card: Card) -> str:
    return card.uuid.replace("/", "_")


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def holders(cards: Iterable[Card], folder: Path) -> list[str]:
    """Return who holds slots of some GPUs: one text per GPU that other processes hold."""
    found = []
    for card in cards:
        path = folder / f"{_file_name(card)}.lock"
        if path in _held:
            processes = lock_holders(_held[path][0], 0, SIZE)
        else:
            with open(path, "a+b") as file:
                processes = lock_holders(file, 0, SIZE)
        if processes:
            who = " and ".join(_who(process, card, folder) for process in processes)
            found.append(f"{card.uuid} by {who}")
    return found


def _who(process: int, card: Card, folder: Path) -> str:
    try:
        note = json.loads((folder / f"{_file_name(card)}.{process}.json").read_text())
        return f"process {process} ({note['purpose']}, since {note['since']})"
    except (OSError, ValueError):
        return f"process {process}"
