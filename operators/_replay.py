import math
from os import PathLike
from pathlib import Path
from typing import Any

from reactivex import abc
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable, SingleAssignmentDisposable
from reactivex.scheduler import TimeoutScheduler

from rxllm._recording import Ending, RecordingReader, request_in
from rxllm._stream import Stream
from rxllm.types import ModelResponseStream

__all__ = ["replay"]


def replay(path: str | PathLike[str], speed: float = 1.0) -> Stream[ModelResponseStream]:
    """Gives a recorded stream again: the same chunks at the same pace, and the same end.

    ::

                replay("hello.jsonl")
        chunks  --role--"Hel"--"lo"--stop--|

    This makes a Stream; ``record()`` writes what it reads. Each consumer reads the file by itself, from the beginning
    and line by line; whoever is late gets the next chunk at once. Its ``request`` is the recorded one, without what was
    hidden. An error of this library's comes as what it was, any other as a ``RuntimeError`` that tells of it. A
    recording without the answer's end gives what it has and ends with an ``IncompleteStreamError``, whose ``code`` is
    ``"left"`` where its consumer had left, and ``"abandoned"`` where the file breaks off, as when the process was
    killed; a line that is none of a recording is a ``ValueError`` that names it and says why. Holds one line.

    Args:
        path: the file.
        speed: how many times as fast as recorded; with 0 or ``math.inf`` at once.

    Raises:
        OSError: the file cannot be read.
        TypeError: an argument is of the wrong kind.
        ValueError: the file is no recording, or ``speed`` is negative.

    >>> import tempfile
    >>> from rxllm import completion, operators as ops
    >>> folder = tempfile.TemporaryDirectory()
    >>> hi = [{"role": "user", "content": "Hi"}]
    >>> stream = completion("sim/echo", hi, stream=True, extra_body={"delay": 0})
    >>> _ = stream.pipe(ops.record(f"{folder.name}/hi.jsonl")).run()
    >>> again = ops.replay(f"{folder.name}/hi.jsonl", speed=0)
    >>> again, again.pipe(ops.accumulate_text()).run()
    (<Stream of sim/echo>, 'Hi')
    >>> folder.cleanup()
    """
    given: Any = speed
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise TypeError(f"speed is a number, not {given!r}")
    if not speed >= 0:
        raise ValueError(f"speed is a number, 0 or more, not {speed}")
    source = Path(path)
    pace = 1 / speed if 0 < speed < math.inf else 0.0

    def subscribe(
        observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        reader = RecordingReader(source)
        clock = scheduler or TimeoutScheduler.singleton()
        begun = clock.now
        waiting = SerialDisposable()

        def wait_for_next() -> None:
            try:
                at, what = reader.next()
            except (OSError, ValueError) as error:
                if not waiting.is_disposed:
                    end(error)
                return
            seconds = at * pace - (clock.now - begun).total_seconds()

            def give(_: abc.SchedulerBase, __: Any = None) -> None:
                if isinstance(what, ModelResponseStream):
                    observer.on_next(what)
                    wait_for_next()
                else:
                    end(what)

            # Set first: a scheduler with threads may be at the next one before it has returned.
            turn = waiting.disposable = SingleAssignmentDisposable()
            turn.disposable = clock.schedule_relative(seconds, give) if seconds > 0 else clock.schedule(give)

        def end(how: Ending) -> None:
            reader.close()
            if how is None:
                observer.on_completed()
            else:
                observer.on_error(how)

        wait_for_next()
        return CompositeDisposable(waiting, Disposable(reader.close))

    return Stream(subscribe, request=request_in(source))
