from typing import Any

from reactivex import Observable, abc

from rxllm._contest import Contest
from rxllm._stream import Stream
from rxllm.types import ModelResponseStream

__all__ = ["race"]


def race(*streams: Observable[ModelResponseStream]) -> Stream[ModelResponseStream]:
    """Asks all ``streams`` at once, and gives the one that has content first.

    ::

        one      --role---------"Hel"--"lo"--
        another  ----role--"Good"--" day"--stop--|
                     race(one, another)
        chunks   ----------role,"Good"--" day"--stop--|

    This makes a Stream, as ``reactivex.amb`` makes an Observable; but neither a role nor an error wins. Content is
    text, reasoning, a refusal, a tool call or audio, of any choice. Before the winner's first chunk goes down all other
    requests are cancelled, their connections closed; what they have cost by then is not in any usage. Chunks before the
    content come together with it.

    One that fails with an ``APIError`` before its content is out; where all have, the stream fails with the error that
    came last, whose notes tell of the others. After the first content the winner's error passes, as does at any time
    one that is no ``APIError``. One that completes without content wins when all others have ended; so of empty ones
    comes nothing. The Stream has no ``request``: ``attach_usage(model, messages)`` wants to be told. Holds the chunks
    before the content.

    Args:
        streams: one or more Streams, or any Observables of chunks.

    Raises:
        TypeError: one of them is none, or there is none.

    >>> import reactivex as rx
    >>> from rxllm import operators as ops
    >>> from rxllm.types import ModelResponseStream
    >>> ops.race(rx.never(), rx.of(ModelResponseStream.of("Hello"))).pipe(ops.accumulate_text()).run()
    'Hello'
    """
    given: Any = streams
    for stream in given:
        if not isinstance(stream, Observable):
            raise TypeError(f"race() takes Streams or Observables, not {stream!r}")
    if not streams:
        raise TypeError("race() takes one Stream or more")

    def subscribe(
        observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None
    ) -> abc.DisposableBase:
        contest = Contest(streams, observer, scheduler, eager=True)
        while contest.start():
            pass
        return contest

    return Stream(subscribe)
