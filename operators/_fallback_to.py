from collections.abc import Callable, Iterable, Mapping
from typing import Any

from reactivex import Observable, abc

from rxllm._fallback import Chunks, Fallback, Make, OnPartial
from rxllm.exceptions import APIError
from rxllm.operators._shared import request_of
from rxllm.types import ModelResponseStream

__all__ = ["fallback_to"]


def fallback_to(
    *streams: Chunks | Make,
    on_partial: OnPartial = "fail",
    messages: Iterable[Mapping[str, Any]] | None = None,
    when: Callable[[Exception], bool] | None = None,
) -> Callable[[Chunks], Chunks]:
    """Goes over to the next of ``streams`` where one fails.

    ::

        chunks  --role--X
        other              --role--"Hel"--"lo"--stop--|
                 fallback_to(other)
        chunks  --------------role,"Hel"--"lo"--stop--|

    Before any content (text, reasoning, a refusal, a tool call, audio, of any choice) nobody notices: the chunks of the
    one that failed are not seen. After content ``on_partial`` says what to do. ``"fail"`` lets the error pass.
    ``"restart"`` gives a chunk without choices whose ``restart`` says why, and then the next stream from its beginning:
    what came before is void. Accumulators heed that, ``build_response()`` as well as ``accumulate_text()``; a loop that
    prints has to look at ``chunk.restart``, or the text stands there twice. ``"continue"`` asks the next one to go on
    from the text so far, and gives what is new alone. For that each of ``streams`` has to be a function, which gets the
    messages with the partial answer as the last one; where what came is no text alone, it restarts. Not every model
    goes on from it: Ollama does, vLLM with ``continue_final_message``, DeepSeek and Mistral with ``"prefix": True`` in
    that message, Claude without thinking and before 4.6, which refuses it; OpenAI's models begin anew.

    Where the last one fails as well, its error passes; notes on it tell of the others. An error that no other model
    could help, which is any but an ``APIError``, passes at once. Usage is that of the answer that stands: with
    ``"continue"`` the sum of all requests that gave a part of it, ``estimated`` where one broke off before it had told;
    what was paid for what is void is not in it, and counts for ``take_until_budget()`` alone. An empty stream is an
    answer. Holds the chunks before the content; with ``"continue"`` the text too.

    Args:
        streams: a Stream or any Observable of chunks, or a function from messages to one, which is called when its turn
            comes, as ``functools.partial(completion, "gpt-4o", stream=True)``.
        on_partial: what to do after content.
        messages: what such functions are given; by default the messages of the request that the source sends.
        when: which errors are worth another stream, by default every ``APIError``: what one model refuses, another may
            take. What it raises ends the stream.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made. A ValueError is
            raised where it is applied, too, if nobody knows the messages for a function.

    >>> import reactivex as rx
    >>> from rxllm.exceptions import RateLimitError
    >>> from rxllm.types import ModelResponseStream
    >>> busy = rx.throw(RateLimitError("Too many requests"))
    >>> busy.pipe(fallback_to(rx.of(ModelResponseStream.of("Hello")))).run().choices[0].delta.content
    'Hello'
    """
    _check(streams, on_partial, when)
    worth_it = when or _is_api_error
    given_messages = None if messages is None else list(messages)

    def falling_back(source: Chunks) -> Chunks:
        request = request_of(source)
        asked = given_messages or (request.messages if request else ())
        if not asked and any(not isinstance(stream, Observable) for stream in streams):
            raise ValueError(
                "fallback_to() has no messages for its functions: its source has no request; pass messages="
            )

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            fallback = Fallback(streams, on_partial, asked, worth_it, observer, scheduler)
            fallback.follow(source, asked)
            return fallback.current

        return Observable(subscribe)

    return falling_back


def _is_api_error(error: Exception) -> bool:
    return isinstance(error, APIError)


def _check(streams: Any, on_partial: Any, when: Any) -> None:
    if not streams:
        raise TypeError("fallback_to() takes one stream or more")
    if on_partial not in {"fail", "restart", "continue"}:
        raise ValueError(f'on_partial is "fail", "restart" or "continue", not {on_partial!r}')
    for stream in streams:
        if not isinstance(stream, Observable) and not callable(stream):
            raise TypeError(f"fallback_to() takes Streams, Observables and functions that give one, not {stream!r}")
        if isinstance(stream, Observable) and on_partial == "continue":
            raise TypeError('with on_partial="continue" fallback_to() takes functions from messages to a stream')
    if when is not None and not callable(when):
        raise TypeError(f"when is a function of an error, not {when!r}")
