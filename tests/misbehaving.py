"""Servers that misbehave, and what a user should see of each: the right text, or one typed error after what had come.

``CASES`` is the table, and ``wrong()`` says what of a case does not hold if the answer is consumed in one of ``WAYS``.
Each needs a server of its own::

    for case in CASES:
        for way in case.ways:
            with Server() as server:
                print(case.name, way, wrong(case, server, way) or "held")
            rxllm.close()
"""

import asyncio
import gzip
import json
import queue
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import rxllm
from rxllm import Timeouts
from rxllm import operators as ops
from rxllm.exceptions import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadGatewayError,
    IncompleteStreamError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    RequestTooLargeError,
    ServiceUnavailableError,
    Timeout,
)
from tests.misdeeds import (
    ANSWER,
    BODY,
    CHUNKED,
    COMPLETION,
    COUNTED,
    DONE,
    FINISH,
    HELLO,
    LONG_PROMPT,
    MEBIBYTE,
    OK_HEAD,
    OVERLOADED,
    PAGE,
    SEPARATORS,
    TEXT,
    UMLAUTS,
    WORLD,
    answer,
    answer_before_reading,
    as_chunk,
    bytewise,
    chunked,
    cut_inside_a_chunk,
    drop_a_bomb,
    echo_the_key,
    end_and_close,
    end_with_a_farewell,
    event,
    flushed,
    for_ever,
    good,
    hang_up,
    in_turn,
    nothing,
    raw,
    raw_deflate,
    read_nothing,
    redirect_elsewhere,
    refusal,
    refuse_before_reading,
    reset,
    reset_once_taken,
    stay,
    stream,
    whole,
    with_text,
)
from tests.server import PATIENCE, Script, Server, chunk, texts

__all__ = ["CASES", "WAYS", "Case", "wrong"]

WAYS: Final = ("for", "async for", "pipeline", "whole")
STREAMING: Final = WAYS[:3]

KEY: Final = "sk-secret-key"
ON_THE_WAY: Final = MEBIBYTE + sum(
    int(path.read_text().split()[-1]) if path.exists() else 8 * MEBIBYTE
    for path in map(Path, ("/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem"))
)  # bytes of a sender's that the system's buffers may hold on their way, at the utmost
PATIENT: Final = 0.5  # seconds of a timeout that is to pass
BRIEF: Final = 0.2  # the same, where the server does not rest meanwhile
PACE: Final = 0.01  # seconds between the pieces of what dribbles


@dataclass(frozen=True, kw_only=True)
class Case:
    """A server that misbehaves, and what a user should see.

    Attributes:
        name: what it does.
        script: how it does it.
        text: what comes, all of it or before the error; ``None`` where that depends on time.
        error: the class of the error, exactly; ``None`` where all ends well.
        words: what the error's message has in it.
        having: what its attributes are.
        requests: how many requests the server is to see.
        parameters: what ``completion()`` is called with; ``max_retries`` is 0 where it is not among them.
        rounds: how often it is called, over the same connections. The last time counts. Before each but the first, the
            script puts something into the server's ``events``.
        reads_bodies: whether the server reads the request's body before it runs the script.
        closes: whether the server is to see that the client closes the connection.
        most_sent: how many bytes the server may get rid of at most.
        waits: whether both sides do little but wait for time to pass, so that many can be held side by side.
        ways: in which of ``WAYS`` it can be consumed.
    """

    name: str
    script: Script
    text: str | None = ""
    error: type[APIError] | None = None
    words: tuple[str, ...] = ()
    having: dict[str, Any] = field(default_factory=dict[str, Any])
    requests: int = 1
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    rounds: int = 1
    reads_bodies: bool = True
    closes: bool = False
    most_sent: int | None = None
    waits: bool = False
    ways: tuple[str, ...] = WAYS


class _Seen:
    """What a consumer sees."""

    def __init__(self, server: Server) -> None:
        self.texts: list[str] = []
        self.chunks = 0
        self.error: BaseException | None = None
        self._taken = server.taken.open

    def take(self, item: Any) -> None:
        """A chunk, or a text of one."""
        self.chunks += 1
        self.texts += [item] if isinstance(item, str) else texts([item])
        self._taken()


def wrong(case: Case, server: Server, way: str) -> str:
    """What is not as it should be; empty where the case is held.

    Args:
        case: what to do.
        server: a server that has done nothing yet.
        way: ``"for"``, ``"async for"``, ``"pipeline"`` (``subscribe()`` to an operator's output) or ``"whole"``
            (``stream=False``).
    """
    server.script, server.reads_bodies = case.script, case.reads_bodies
    rounds: list[_Seen] = []
    # A consumer that hangs is to be told of, and waited for no longer.
    consumer = threading.Thread(target=_consume, args=(case, server, way, rounds), name="consumer", daemon=True)
    consumer.start()
    consumer.join(PATIENCE)
    if consumer.is_alive():
        return f"neither an end nor an error within {PATIENCE:g} s"
    return "; ".join([*_wrong_outcome(case, rounds[-1], way), *_wrong_server(case, server)])


def _consume(case: Case, server: Server, way: str, rounds: list[_Seen]) -> None:
    complete: Callable[..., Any] = rxllm.completion

    def ask(**more: Any) -> Any:
        settings: dict[str, Any] = {"max_retries": 0, "api_base": server.url, "api_key": KEY, **case.parameters, **more}
        messages = settings.pop("messages", [{"role": "user", "content": "Hello"}])
        return complete("gpt-4", messages, **settings)

    def each_round() -> Iterable[_Seen]:
        for number in range(case.rounds):
            if number:
                server.next_event()
            rounds.append(_Seen(server))
            yield rounds[-1]

    async def by_async_for() -> None:
        for seen in each_round():
            try:
                async for item in ask(stream=True):
                    seen.take(item)
            except Exception as error:  # noqa: BLE001  whatever comes is what a user sees
                seen.error = error

    if way == "async for":
        asyncio.run(by_async_for())
        return
    for seen in each_round():
        try:
            if way == "for":
                for item in ask(stream=True):
                    seen.take(item)
            elif way == "pipeline":
                _subscribe(ask(stream=True).pipe(ops.text_deltas()), seen)
            else:
                seen.take(ask(stream=False).choices[0].message.content)
        except Exception as error:  # noqa: BLE001  likewise
            seen.error = error


def _subscribe(stream: Any, seen: _Seen) -> None:
    done = threading.Event()

    def on_error(error: Exception) -> None:
        seen.error = error
        done.set()

    stream.subscribe(seen.take, on_error, done.set)
    done.wait(PATIENCE)


def _wrong_outcome(case: Case, seen: _Seen, way: str) -> Iterable[str]:
    text, error = "".join(seen.texts), seen.error
    if case.error is None:
        if error is not None:
            yield f"failed with {error!r}"
    elif type(error) is not case.error:
        yield f"ended with {error!r} instead of {case.error.__name__}"
    if case.text is not None and text != case.text and (way != "whole" or case.error is None):
        yield f"the text was {_short(text)}"
    if not isinstance(error, APIError):
        return
    yield from (f"{words!r} is not in {str(error)!r}" for words in case.words if words not in str(error))
    for name, value in {**case.having, "llm_provider": "openai", "model": "gpt-4"}.items():
        if getattr(error, name, "not there") != value:
            yield f"the error's {name} is {getattr(error, name, 'not there')!r}"
    if isinstance(error, APIConnectionError) and way in ("for", "async for") and error.chunks != seen.chunks:
        yield f"the error says {error.chunks} chunks, and {seen.chunks} came"
    if KEY in f"{error} {error.__dict__!r} {error.__cause__!r} {error.__context__!r}":
        yield "the error shows the key"
    if len(str(error)) > 5000:
        yield f"the error's message has {len(str(error))} characters"


def _wrong_server(case: Case, server: Server) -> Iterable[str]:
    # A server may be late: the client has given up, and what it had sent is still to be read.
    if not server.wait_for_requests(case.requests) or len(server.requests) != case.requests:
        yield f"the server saw {len(server.requests)} requests instead of {case.requests}"
        return
    if case.closes:
        try:
            server.next_closed()
        except queue.Empty:
            yield "the connection stayed open"
    if case.most_sent is not None and (sent := server.requests[-1].sent) > case.most_sent:
        yield f"the server got rid of {sent:,} bytes"


def _short(text: str) -> str:
    return repr(text) if len(text) < 200 else f"{text[:100]!r}... of {len(text):,} characters"


# -- the cases


def comes(name: str, script: Script, text: str = TEXT, **more: Any) -> Case:
    """All ends well."""
    return Case(name=name, script=script, text=text, **more)


def fails(name: str, script: Script, error: type[APIError], text: str | None = "", **more: Any) -> Case:
    """What came, and then an error."""
    return Case(name=name, script=script, error=error, text=text, **more)


def cut_off(name: str, script: Script, **more: Any) -> Case:
    """What came is not the whole answer."""
    return fails(name, script, IncompleteStreamError, "Hello", having={"chunks": 1}, **more)


def empty(name: str, script: Script) -> Case:
    """A clean end of nothing at all, which another try would not better."""
    return fails(name, script, IncompleteStreamError, having={"chunks": 0}, parameters={"max_retries": 2})


STREAM: Final[dict[str, Any]] = {"content_type": "text/event-stream"}

TRUNCATED: Final = [
    cut_off("cut off cleanly", answer(HELLO)),
    cut_off("cut off by a close", answer(HELLO, then=hang_up)),
    cut_off("cut off inside a chunk of HTTP's", answer(HELLO, then=cut_inside_a_chunk)),
    cut_off("fewer bytes than announced", whole(stream(HELLO), length=9999, then=hang_up, **STREAM)),
    cut_off("more bytes than announced", whole(BODY, length=len(stream(HELLO)) + 9, **STREAM)),
    cut_off("cut off without a length", answer(HELLO, then=hang_up, transfer_encoding="")),
    cut_off("cut off cleanly within an event", answer(HELLO, event(WORLD)[:-30])),
    cut_off("cut off by a close within an event", answer(HELLO, event(WORLD)[:-30], then=hang_up)),
    cut_off("reset in the middle", answer(HELLO, then=reset_once_taken), ways=STREAMING),
    comes("whole without a length", answer(*ANSWER, then=hang_up, transfer_encoding="")),
    comes("closed after the provider's end", answer(*ANSWER, then=hang_up)),
    comes("a finish reason without [DONE]", answer(HELLO, WORLD, FINISH)),
    comes("[DONE] without a finish reason", answer(HELLO, WORLD, DONE)),
    comes("[DONE] without a blank line", answer(HELLO, WORLD, b"data: [DONE]")),
    comes("cut off within [DONE]", answer(HELLO, WORLD, FINISH, b"data: [DO")),
    comes("data after [DONE]", answer(*ANSWER, chunk("!"), OVERLOADED)),
    comes("data after [DONE] for ever", for_ever(*ANSWER, piece=event(HELLO)), closes=True),
    comes("[DONE], and no end of the body", answer(*ANSWER, then=stay), closes=True),
    empty("an empty body", answer()),
    empty("a body of no bytes", whole(b"")),
    empty("204 No Content", raw(b"HTTP/1.1 204 No Content\r\n\r\n")),
    empty("comments and nothing else", answer(b": hi\n\n", b":\n\n")),
    fails("[DONE] and nothing else", answer(DONE), APIResponseValidationError),
]

FIRST: Final[dict[str, Any]] = {"bound": "first", "seconds": PATIENT, "chunks": 0}
IDLE: Final[dict[str, Any]] = {"bound": "idle", "seconds": PATIENT, "chunks": 1}
TOTAL: Final[dict[str, Any]] = {"bound": "total", "seconds": PATIENT}


def stalled(name: str, script: Script, having: dict[str, Any], text: str | None = "", **more: Any) -> Case:
    """A server that gives nothing any more: a timeout, without another try, and the connection is closed."""
    parameters = {"timeout": Timeouts(**{having["bound"]: having["seconds"]}), "max_retries": 2}
    return fails(name, script, Timeout, text, having=having, closes=True, parameters=parameters, **more)


def waiting(name: str, script: Script, having: dict[str, Any], text: str | None = "") -> Case:
    """The same of one that pauses."""
    return stalled(name, script, having, text, waits=True)


def restless(name: str, script: Script, having: dict[str, Any], text: str | None = "") -> Case:
    """The same of one that sends what is no content, as fast as it can."""
    return stalled(name, script, {**having, "seconds": BRIEF}, text)


SOON_CLOSED: Final[dict[str, Any]] = {"closes": True, "most_sent": MEBIBYTE + ON_THE_WAY}

# The status says what is wrong already; for its words nobody waits for long.
STUCK_REFUSALS: Final = {
    "an error body that does not come": answer(status=500, then=stay),
    "an error body that stalls": answer(b"Out of order", status=500, then=stay),
    "an error body that dribbles for ever": for_ever(b"Out of order", piece=b".", pause=PACE, status=500),
    "an error body for ever": for_ever(b"Out of order", piece=b"." * 65536, status=500),
}

STALLED: Final = [
    waiting("stalled before the headers", raw(then=stay), FIRST),
    waiting("stalled within the headers", raw(OK_HEAD, then=stay), FIRST),
    waiting("headers that dribble for ever", for_ever(head=OK_HEAD + b"x-long: ", piece=b"x", pause=PACE), FIRST),
    restless(
        "early hints for ever", for_ever(head=b"", piece=b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"), FIRST
    ),
    waiting(
        "early hints for ever, with pauses",
        for_ever(head=b"", piece=b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", pause=PACE),
        FIRST,
    ),
    waiting("stalled after the headers", answer(then=stay), FIRST),
    waiting("keep-alive comments before the first event", for_ever(piece=b": keep-alive\n\n", pause=PACE), FIRST),
    waiting("blank lines before the first event", for_ever(piece=b"\n", pause=PACE), FIRST),
    restless("comments without a pause", for_ever(piece=b": keep-alive\n\n" * 100), FIRST),
    waiting("stalled between events", answer(HELLO, then=stay), IDLE, "Hello"),
    waiting("keep-alive comments", for_ever(HELLO, piece=b": keep-alive\n\n", pause=PACE), IDLE, "Hello"),
    restless("comments without a pause between events", for_ever(HELLO, piece=b":\n\n" * 100), IDLE, "Hello"),
    waiting("an event that dribbles for ever", for_ever(HELLO, b"data: ", piece=b"x", pause=PACE), IDLE, "Hello"),
    waiting("fields without data for ever", for_ever(HELLO, piece=b"id: 1\n", pause=PACE), IDLE, "Hello"),
    waiting(
        "a chunk of HTTP's that dribbles for ever",
        for_ever(head=OK_HEAD + CHUNKED + as_chunk(event(HELLO)) + b"5;x=", piece=b"x", pause=PACE),
        IDLE,
        "Hello",
    ),
    waiting(
        "a chunk of HTTP's without its end",
        answer(HELLO, then=raw(b"FFFFFFFFFFFFFFF\r\n: ", then=stay)),
        IDLE,
        "Hello",
    ),
    restless("content for ever", for_ever(piece=event(HELLO) * 100), TOTAL, None),
    waiting("content for ever, with pauses", for_ever(piece=event(HELLO), pause=PACE), TOTAL, None),
    restless("comments for ever, without a pause", for_ever(piece=b": keep-alive\n\n" * 100), TOTAL, None),
    waiting(
        "comments for ever, after some content", for_ever(HELLO, piece=b": keep-alive\n\n", pause=PACE), TOTAL, None
    ),
    waiting("events without content for ever", for_ever(HELLO, piece=event({"choices": []}), pause=PACE), TOTAL, None),
    *(
        fails(
            name,
            script,
            InternalServerError,
            words=("HTTP 500",) if "not come" in name else ("Out of order",),
            having={"status_code": 500},
            parameters={"timeout": Timeouts(first=2 * PATIENT)},
            waits=name != "an error body for ever",
            **SOON_CLOSED,
        )
        for name, script in STUCK_REFUSALS.items()
    ),
    fails(
        "an error body that is cut off",
        answer(b"Out of order", status=500, then=hang_up),
        InternalServerError,
        words=("Out of order",),
        having={"status_code": 500},
    ),
]


def second(name: str, *scripts: Script, requests: int = 2, **parameters: Any) -> Case:
    """The second of two answers over connections that are kept."""
    # What is tried again waits before.
    return comes(
        name, in_turn(*scripts, good), rounds=2, requests=requests, parameters=parameters, waits=bool(parameters)
    )


SOMEBODY_ELSES: Final = chunked(chunk("Somebody else's"), FINISH, DONE)

DISCONNECTED: Final = [
    fails("closed before the headers", raw(), APIConnectionError),
    fails("closed within the headers", raw(OK_HEAD), APIConnectionError),
    fails("closed after the headers", answer(then=hang_up), APIConnectionError),
    fails("reset before the headers", raw(then=reset), APIConnectionError),
    second("a pooled connection closed while it was idle", answer(*ANSWER, then=end_and_close)),
    second("a pooled connection closed as the next request comes", good, raw(), requests=3, max_retries=2),
    second("a farewell on an idle connection", answer(*ANSWER, then=end_with_a_farewell)),
    second("a second answer that nobody asked for", raw(chunked(*ANSWER) + SOMEBODY_ELSES, then=nothing)),
    second("connections that are not kept", answer(*ANSWER, then=end_and_close, connection="close")),
]


def garbage(name: str, script: Script, text: str = "", words: tuple[str, ...] = ()) -> Case:
    """What cannot be read as what it says it is."""
    return fails(name, script, APIResponseValidationError, text, words=words, having={"status_code": 200})


def error_event(name: str, kind: type[APIError], *said: Any, text: str = "", **more: Any) -> Case:
    """An error inside an answer that began well."""
    return fails(name, answer(*said), kind, text, having={"status_code": 200}, **more)


NAMED_ERROR: Final = b"event: error\n" + event(OVERLOADED)

SAYING_SO: Final = [
    error_event("an error event", ServiceUnavailableError, OVERLOADED, words=("Too much to do",)),
    error_event("a named error event", ServiceUnavailableError, NAMED_ERROR, words=("Too much to do",)),
    error_event("an error event after text", ServiceUnavailableError, HELLO, OVERLOADED, text="Hello"),
    error_event("a named error event after text", ServiceUnavailableError, HELLO, NAMED_ERROR, text="Hello"),
    error_event("an error event, and then [DONE]", ServiceUnavailableError, HELLO, OVERLOADED, DONE, text="Hello"),
    error_event("an error event in words", APIStatusError, HELLO, b"event: error\ndata: Broken\n\n", text="Hello"),
    error_event("an error event with a status", RateLimitError, {"error": {"message": "Slow down", "code": 429}}),
    error_event(
        "an error beside a finish reason",
        BadGatewayError,
        HELLO,
        chunk(finish="error", error={"message": "Upstream broke", "code": 502}),
        text="Hello",
    ),
    error_event(
        "an error event after text is not retried",
        ServiceUnavailableError,
        HELLO,
        OVERLOADED,
        text="Hello",
        parameters={"max_retries": 2},
    ),
    fails(
        "a key that is echoed",
        echo_the_key,
        AuthenticationError,
        words=("Bad key: Bearer ***",),
        having={"status_code": 401},
    ),
    fails(
        "a redirect to another host",
        redirect_elsewhere,
        APIStatusError,
        words=("redirects are not followed",),
        having={"status_code": 307},
        parameters={"max_retries": 2},
    ),
]

UNREADABLE: Final = [
    garbage("an event that is not JSON", answer('{"choices": ['), words=("not JSON",)),
    garbage("an event that is not JSON after text", answer(HELLO, "oops"), "Hello"),
    garbage("an event that is a number", answer(HELLO, "5"), "Hello"),
    garbage("an event that is no chunk", answer(HELLO, {"choices": "none"}), "Hello"),
    garbage("an event nested 100,000 deep", answer(HELLO, "[" * 100_000), "Hello"),
    garbage("an event with a number of 5,000 digits", answer(HELLO, "1" * 5000), "Hello"),
    garbage("a page of HTML", whole(PAGE, content_type="text/html"), words=("text/html", "Sign in")),
    garbage("a page of HTML that says it is a stream", answer(PAGE), words=("Sign in",)),
    garbage("plain text", whole(b"It works!", content_type="text/plain"), words=("It works!",)),
    garbage("JSON that is no completion", whole(b'{"hello": "world"}')),
    garbage("a list", whole(b"[1, 2]")),
    garbage("an image", whole(b"\x89PNG\r\n\x1a\n\0\0\xff", content_type="image/png")),
    fails(
        "an error in JSON",
        whole(b'{"error": {"message": "No such model", "code": "model_not_found"}}'),
        NotFoundError,
        words=("No such model",),
        having={"status_code": 200},
    ),
    fails(
        "an error in JSON that says it is a stream", answer(json.dumps(OVERLOADED).encode()), ServiceUnavailableError
    ),
    comes("a whole completion", whole(COMPLETION)),
    comes("a whole completion that says it is a stream", answer(COMPLETION)),
    comes("a whole completion after blank lines", answer(b"\n" * 5000, COMPLETION)),
    comes("a whole completion, byte by byte", answer(*bytewise(COMPLETION))),
    fails("a whole completion that is cut off cleanly", answer(COMPLETION[:-40]), IncompleteStreamError),
    fails(
        "a whole completion that is cut off by a close",
        whole(COMPLETION[:-40], length=len(COMPLETION), then=hang_up),
        APIConnectionError,
    ),
]


def too_large(name: str, script: Script, limit: int | None = None, text: str = "Hello") -> Case:
    """What goes on for ever is given up a little past the limit."""
    most = limit or 32 * MEBIBYTE
    return fails(
        name,
        script,
        APIResponseValidationError,
        text,
        words=(f"{most:,} bytes",),
        parameters={"max_event_bytes": limit} if limit else {},
        closes=True,
        most_sent=most + ON_THE_WAY,
    )


LIMITED: Final = [
    too_large("an endless line", for_ever(HELLO, b"data: ", piece=b"x" * 65536)),
    too_large("an endless line, by a limit of one's own", for_ever(HELLO, b"data: ", piece=b"x" * 65536), MEBIBYTE),
    too_large("an endless event of many lines", for_ever(HELLO, piece=b"data: x\n" * 8192), MEBIBYTE),
    too_large("an endless comment", for_ever(HELLO, b": ", piece=b"x" * 65536), MEBIBYTE),
    too_large("endless JSON", for_ever(piece=b'{"choices": [' * 5000, content_type="application/json"), text=""),
    too_large("an endless page", for_ever(PAGE, piece=b" " * 65536, content_type="text/html"), text=""),
    fails(
        "a bomb",
        drop_a_bomb,
        APIResponseValidationError,
        words=("1,048,576 bytes",),
        parameters={"max_event_bytes": MEBIBYTE},
    ),
    comes("an event of 5 MB", answer(chunk("x" * 5_000_000), COUNTED, DONE), "x" * 5_000_000),
    comes(
        "an event just within the limit",
        answer(chunk("x" * 1_048_000), COUNTED, DONE),
        "x" * 1_048_000,
        parameters={"max_event_bytes": MEBIBYTE},
    ),
]


def framed(name: str, *pieces: Any, text: str = TEXT, **headers: Any) -> Case:
    """Unusual, and whole."""
    return Case(name=name, script=answer(*pieces, **headers), text=text)


LINES: Final = BODY.splitlines(keepends=True)

FRAMED: Final = [
    framed("all in one piece", BODY),
    framed("every byte alone", *bytewise(BODY)),
    framed("a byte order mark", b"\xef\xbb\xbf", BODY),
    framed("a byte order mark, every byte alone", *bytewise(b"\xef\xbb\xbf" + BODY)),
    framed("CRLF", BODY.replace(b"\n", b"\r\n")),
    framed("CRLF, every byte alone", *bytewise(BODY.replace(b"\n", b"\r\n"))),
    framed("bare CR", BODY.replace(b"\n", b"\r")),
    framed("bare CR, every byte alone", *bytewise(BODY.replace(b"\n", b"\r"))),
    framed("line by line", *LINES),
    framed("no space after the colon", BODY.replace(b"data: ", b"data:")),
    framed("several data lines", BODY.replace(b', "', b',\ndata: "')),
    framed("events without data", b"event: ping\n\n", HELLO, b"id: 7\nretry: 10\n\n", b"data\n\n", WORLD, FINISH, DONE),
    framed("named pings", b'event: ping\ndata: {"type": "ping"}\n\n', *ANSWER),
    framed("comments between events", b": hi\n\n", HELLO, b":\n\n: x\n", WORLD, b": y\n\n", FINISH, DONE),
    framed("5,000 blank lines first", b"\n" * 5000, *ANSWER),
    framed("blank lines first, one at a time", *[b"\n"] * 100, *ANSWER),
    framed("events without choices", {"choices": []}, HELLO, {"choices": []}, WORLD, FINISH, DONE),
    framed("characters that are split", *bytewise(with_text(UMLAUTS)), text=UMLAUTS),
    framed("line separators in a string", with_text(SEPARATORS), text=SEPARATORS),
    framed("line separators, every byte alone", *bytewise(with_text(SEPARATORS)), text=SEPARATORS),
    framed("bytes that are no UTF-8", stream(HELLO).replace(b"llo", b"l\xfflo"), FINISH, DONE, text="Hel\ufffdlo"),
    framed("half a surrogate pair", chunk("\ud83d"), chunk("\ude00"), FINISH, DONE, text="\U0001f600"),
    framed("a lone surrogate", chunk("\ud83d"), FINISH, DONE, text="\ufffd"),
    framed("JSON as the content type", *ANSWER, content_type="application/json"),
    framed("HTML as the content type", *ANSWER, content_type="text/html; charset=latin-1"),
    framed("no content type", *ANSWER, content_type=""),
]

COMPRESSED: Final = [
    framed("gzip", gzip.compress(BODY), content_encoding="gzip"),
    framed("gzip, every byte alone", *bytewise(gzip.compress(BODY)), content_encoding="GZip"),
    framed("deflate", zlib.compress(BODY), content_encoding="deflate"),
    framed("deflate without a frame", raw_deflate(BODY), content_encoding="deflate"),
    framed("an encoding that nobody knows, and is none", *ANSWER, content_encoding="rot13"),
    fails(
        "an encoding that nobody knows", answer(BODY.swapcase()[::-1], content_encoding="rot13"), IncompleteStreamError
    ),
    fails("gzip that is cut off", answer(flushed(HELLO), content_encoding="gzip"), IncompleteStreamError, "Hello"),
    fails(
        "gzip that is cut off by a close",
        answer(flushed(HELLO), content_encoding="gzip", then=hang_up),
        IncompleteStreamError,
        "Hello",
    ),
    fails("plain text that says it is gzip", answer(*ANSWER, content_encoding="gzip"), APIResponseValidationError),
    fails(
        "gzip that turns to garbage",
        answer(flushed(HELLO), b"\xff" * 100, content_encoding="gzip"),
        APIResponseValidationError,
        "Hello",
    ),
    fails(
        "an error body in gzip",
        whole(gzip.compress(json.dumps(OVERLOADED).encode()), 503, content_encoding="gzip"),
        ServiceUnavailableError,
        words=("Too much to do",),
    ),
    fails(
        "an error body that says it is gzip",
        whole(b'{"error": {"message": "Too much to do"}}', 503, content_encoding="gzip"),
        ServiceUnavailableError,
        words=("HTTP 503",),
    ),
]


def unspeakable(name: str, *pieces: bytes, **more: Any) -> Case:
    """What is no HTTP: a connection that does not work."""
    return Case(name=name, script=raw(*pieces), error=APIConnectionError, **more)


def spoken(name: str, *pieces: bytes) -> Case:
    """Unusual HTTP, and whole."""
    return Case(name=name, script=raw(*pieces), text=TEXT)


PLAIN: Final = OK_HEAD + CHUNKED + as_chunk(BODY) + b"0\r\n\r\n"
LENGTH: Final = b"content-length: %d\r\n" % len(BODY)

HTTP: Final = [
    unspeakable("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n"),
    unspeakable("bytes at random", bytes(range(256)) * 4),
    unspeakable("a body without a head", BODY),
    unspeakable("two lengths", OK_HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + BODY),
    unspeakable("a length below zero", OK_HEAD + b"content-length: -5\r\n\r\n" + BODY),
    unspeakable("a transfer encoding that nobody knows", OK_HEAD + b"transfer-encoding: rot13\r\n\r\n" + BODY),
    unspeakable("a header of 200 KB", OK_HEAD + b"x-long: " + b"x" * 200_000 + b"\r\n\r\n"),
    unspeakable("a header with a zero byte", OK_HEAD + b"x-odd: \0\r\n" + CHUNKED),
    unspeakable("a chunk of HTTP's whose size is none", OK_HEAD + CHUNKED + b"five\r\n"),
    fails(
        "headers for ever",
        for_ever(head=OK_HEAD, piece=b"x-more: and more\r\n" * 500),
        APIConnectionError,
        closes=True,
        most_sent=ON_THE_WAY,
    ),
    fails(
        "a chunk of HTTP's whose size is none, after text",
        raw(OK_HEAD + CHUNKED + as_chunk(event(HELLO)) + b"five\r\n"),
        IncompleteStreamError,
        "Hello",
    ),
    unspeakable(
        "101 Switching Protocols",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ),
    spoken("100 Continue first", b"HTTP/1.1 100 Continue\r\n\r\n", PLAIN),
    spoken("103 Early Hints first", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 3, PLAIN),
    spoken("every byte of the head alone", *bytewise(PLAIN)),
    spoken("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
    spoken("no reason phrase", PLAIN.replace(b"200 OK", b"200")),
    spoken("bare LF", (OK_HEAD + LENGTH).replace(b"\r\n", b"\n") + b"\n" + BODY),
    spoken(
        "a header that is no ASCII", OK_HEAD + b"x-request-id: \xe9\xff\r\n" + CHUNKED + as_chunk(BODY) + b"0\r\n\r\n"
    ),
    spoken("the same length twice", OK_HEAD + LENGTH + LENGTH + b"\r\n" + BODY),
    spoken("a length beside chunks", OK_HEAD + b"content-length: 3\r\n" + CHUNKED + as_chunk(BODY) + b"0\r\n\r\n"),
    spoken("extensions and trailers", OK_HEAD + CHUNKED + as_chunk(BODY, b";a=b") + b"0;c\r\nx-sum: 5\r\n\r\n"),
    comes(
        "an answer that begins before the request was read",
        answer_before_reading,
        reads_bodies=False,
        parameters={"messages": LONG_PROMPT},
    ),
    fails(
        "a refusal before the request was read",
        refuse_before_reading,
        RequestTooLargeError,
        having={"status_code": 413},
        reads_bodies=False,
        parameters={"messages": LONG_PROMPT},
    ),
    fails(
        "a request that is not read",
        read_nothing,
        Timeout,
        having={**FIRST, "seconds": BRIEF},
        reads_bodies=False,
        parameters={"messages": LONG_PROMPT, "timeout": BRIEF},
    ),
]


def retried(name: str, first: Script, *, times: int = 1) -> Case:
    """What passes: another try, of which the user sees nothing but the answer."""
    return comes(name, in_turn(*[first] * times, good), requests=times + 1, parameters={"max_retries": 2}, waits=True)


def not_retried(name: str, first: Script, error: type[APIError], text: str = "", **parameters: Any) -> Case:
    """What does not pass, or has begun already: one request."""
    return Case(
        name=name,
        script=in_turn(first, good),
        text=text,
        error=error,
        parameters={"max_retries": 2, **parameters},
    )


AT_ONCE: Final[dict[str, Any]] = {"retry_after_ms": "1"}

RETRIED: Final = [
    retried("two refusals, then an answer", refusal(503, **AT_ONCE), times=2),
    *(retried(f"a refusal by {status}", refusal(status, **AT_ONCE)) for status in (408, 409, 429, 500, 502, 504, 529)),
    retried("closed before the headers, then an answer", raw()),
    retried("reset before the headers, then an answer", raw(then=reset)),
    retried("closed before the first event, then an answer", answer(b": hi\n\n", then=hang_up)),
    retried("an error event, then an answer", answer(OVERLOADED, **AT_ONCE)),
    retried("Retry-After in seconds", refusal(429, retry_after="0")),
    retried("Retry-After in parts of a second", refusal(429, retry_after="0.01")),
    retried("Retry-After as a date that has passed", refusal(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")),
    retried("Retry-After beyond all bounds", refusal(429, retry_after="86400")),
    retried("Retry-After that is none", refusal(429, retry_after="soon", retry_after_ms="nan")),
    fails(
        "refused each time",
        refusal(503, "Not today", **AT_ONCE),
        ServiceUnavailableError,
        words=("Not today",),
        requests=3,
        parameters={"max_retries": 2},
    ),
    not_retried("a refusal for good", refusal(404, **AT_ONCE), NotFoundError),
    not_retried("a break after the first chunk", answer(HELLO, then=hang_up), IncompleteStreamError, "Hello"),
    not_retried(
        "a wait that would go beyond the total",
        refusal(503, retry_after="50"),
        ServiceUnavailableError,
        timeout=Timeouts(total=PATIENCE),
    ),
]

CASES: Final = (
    *TRUNCATED,
    *STALLED,
    *DISCONNECTED,
    *SAYING_SO,
    *UNREADABLE,
    *LIMITED,
    *FRAMED,
    *COMPRESSED,
    *HTTP,
    *RETRIED,
)
