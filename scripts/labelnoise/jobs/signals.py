"""Signals that end a process in good order."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def ended_by(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals end the process with exit code 128 + number, cleaning up on the way out.

    Outside the main thread, where Python handles no signals, this does nothing.

    Raises:
        SystemExit: such a signal came. It is raised at once or, where it was lost, at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    asked: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    except Exception as error:
        # Compiled code may make an error of its own of what is raised in there.
        if asked:
            raise SystemExit(128 + asked[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # Python lets no exception out of where an object is destroyed.
    if asked:
        raise SystemExit(128 + asked[0])
