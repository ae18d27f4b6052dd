from collections.abc import Awaitable, Callable
from typing import Any, Literal

from reactivex import Observable, abc

from rxllm._accumulators._rewriting import ChunkRewriter
from rxllm._accumulators._windows import WindowCutter
from rxllm._guarding import Guard
from rxllm.exceptions import GuardrailError
from rxllm.operators._shared import check_count, request_of
from rxllm.types import ModelResponseStream

__all__ = ["guard"]


def guard(
    check: Callable[[str], bool | str | Awaitable[bool | str]],
    window: int | Literal["sentence"] = "sentence",
    *,
    replacement: str | None = None,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    r"""Holds text back until ``check`` has passed it; if it does not, the request is cancelled and an error ends all.

    ::

        chunks  --"It is "--"5. The pa"--"ssword is"--" x. So"--
                          guard(check)
        chunks  ------------"It is 5. "-----------------------X

    ``check(text)`` is asked about one window of text after the other: each sentence, as ``split_sentences()`` tells
    them, or so many characters. True lets it pass; False or a string, the reason, refuses it. Nothing is delivered that
    was not passed, reasoning and refusals included, and log probabilities, which spell the text out, never are. A
    window comes as one chunk. All else keeps its order: a tool call comes after the text before it was passed, and ends
    the window, as does a finish reason. What is left at the end of the stream, or before an error, is checked too.

    Once a window is refused, nothing after it is delivered, and the request is cancelled before the ``GuardrailError``,
    which holds the text; or, with ``replacement``, before a chunk with that text and the finish reason
    ``content_filter``. With ``n > 1`` each choice is cut into windows by itself, an error ends all of them, and a
    replacement its own choice: the request is cancelled once all have ended, and a chunk of several choices becomes
    several. Where the answer begins anew (``chunk.restart``), what is held back is void: it is not delivered, nor is a
    verdict on it waited for. An empty stream completes empty, and ``check`` is not asked. Held are the windows that are
    being checked.

    A plain function is called where the chunks come, and the stream waits for it: on an event loop let it be a
    coroutine function. A check that is awaited runs beside the stream, on the event loop that consumes it, where one
    does, else on one of its own in a thread; several run side by side, and the windows keep their order. Leaving the
    stream cancels them. What a check raises, and a verdict of another kind, cancels the request and is the error.

    Args:
        check: takes the text of a window, and gives True, or False or a reason, or an awaitable of one of these.
        window: ``"sentence"``, or how many characters at most; windows end behind white space where they have any.
        replacement: the text that stands for what was refused and all that would follow; by default an error.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind; raised when the operator is made.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(*(ModelResponseStream.of(text) for text in ("It is ", "5. The pa", "ssword is", " x. So")))
    >>> guarded = chunks.pipe(guard(lambda text: "it tells secrets" if "password" in text else True))
    >>> _ = guarded.subscribe(lambda chunk: print(repr(chunk.choices[0].delta.content)), print)
    'It is 5. '
    The guard refused the answer: it tells secrets
    """
    given: Any = check
    if not callable(given):
        raise TypeError(f"check is a function that takes text, not {given!r}")
    if window != "sentence":
        check_count("window", window)
        if window < 1:
            raise ValueError(f"window is 1 character or more, not {window}")
    given = replacement
    if not isinstance(given, str | None):
        raise TypeError(f"replacement is a text, not {given!r}")
    characters = None if window == "sentence" else window

    def guarded(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)

        def refusal() -> GuardrailError:
            provider, model = (request.provider, request.model) if request else (None, None)
            return GuardrailError("The guard refused the answer", llm_provider=provider, model=model)

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            windows = ChunkRewriter(
                lambda field: WindowCutter(field, characters),
                joins=False,
                keeps_logprobs=False,
                expected=request.n if request else 1,
            )
            return Guard(check, windows, refusal, replacement, observer, scheduler).subscribe(source)

        return Observable(subscribe)

    return guarded
