"""A provider for tests: a real server on loopback that plays what it was given."""

import asyncio
import json
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from rxllm.testing._answers import Answer, Fault, Part
from rxllm.testing._http import LAST_PIECE, RequestHead, piece, read_body, read_head, response_head
from rxllm.testing._loopback import PATIENCE, LoopbackServer, reset
from rxllm.types import Usage

__all__ = ["LLMRequest", "LLMServer"]


class LLMRequest:
    """What a client asked an ``LLMServer``.

    Attributes:
        method: ``"POST"``.
        path: what was asked for, such as ``"/v1/chat/completions"``, with its query.
        headers: by name in small letters, the key among them.
        body: the body's bytes.

    >>> import rxllm
    >>> with LLMServer() as server:
    ...     server.answer("Hello")
    ...     _ = rxllm.completion("gpt-4", [{"role": "user", "content": "Hi"}], api_base=server.url, api_key="test")
    >>> request = server.requests[0]
    >>> request.path, request.headers["authorization"], request.json["messages"]
    ('/v1/chat/completions', 'Bearer test', [{'role': 'user', 'content': 'Hi'}])
    """

    def __init__(self, head: RequestHead, body: bytes, left: "Future[bool]") -> None:
        self.method = head.method
        self.path = head.path
        self.headers = head.headers
        self.body = body
        self._left = left

    @property
    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.body)

    def cancelled(self, timeout: float = PATIENCE) -> bool:
        """Whether the client closed the connection before the answer's end, as leaving a stream does.

        Waits until it did, or all was sent. What is sent within one moment, as an answer without a pause, is over
        before any client can leave: let it end in ``fault="stalled"``. Ask while the server runs: its end
        is none of the client's.

        Args:
            timeout: how many seconds to wait at most.

        Raises:
            TimeoutError: neither happened by then.
        """
        try:
            return self._left.result(timeout)
        except TimeoutError:
            pass
        raise TimeoutError(f"after {timeout:g} s the answer is not over, and the client is still there")

    def __repr__(self) -> str:
        # Without the headers, where a key may be.
        return f"<LLMRequest {self.method} {self.path}>"


class LLMServer(LoopbackServer):
    """A provider on loopback that plays the answers it was given, whole or broken, and keeps what it was asked.

    It is a real server, on a thread of its own: synchronous and asynchronous clients, of this library or another, any
    number at once. Give each provider that the application asks ``server.url`` as its ``api_base``, or set the
    variables of ``environment()``. With pytest the fixture ``llm_server`` is one, started.

    Each request gets the next answer that was given and takes requests like it. Where there is none any more, it gets
    the status 400, which nobody tries again, and the words of what is wrong.

    >>> import rxllm
    >>> from rxllm import operators as ops
    >>> with LLMServer() as server:
    ...     server.answer("Hel", "lo")
    ...     server.answer("Hel", fault="truncated")
    ...     ask = dict(api_base=server.url, api_key="test", stream=True)
    ...     stream = rxllm.completion("gpt-4", [{"role": "user", "content": "Hi"}], **ask)
    ...     print([text for text in stream.pipe(ops.text_deltas())])
    ...     try:
    ...         stream.pipe(ops.text_deltas()).run()
    ...     except rxllm.exceptions.IncompleteStreamError as error:
    ...         print(f"after {error.chunks} chunk")
    ['Hel', 'lo']
    after 1 chunk
    """

    requests: list[LLMRequest]
    """What was asked so far, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = []
        self._answers: list[tuple[Answer, int | None]] = []
        self._lock = threading.Lock()
        self._arrived: queue.SimpleQueue[LLMRequest] = queue.SimpleQueue()

    def answer(
        self,
        *parts: Part,
        status: int = 200,
        finish: str | None = "stop",
        usage: Usage | Mapping[str, Any] | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        delay: float = 0.0,
        pause: float = 0.0,
        cut: int | None = None,
        fault: Fault | None = None,
        when: Callable[[LLMRequest], bool] | None = None,
        times: int | None = 1,
    ) -> None:
        r"""Gives the answer to the next request that has none yet.

        A part is a text, which comes as one chunk; a chunk, a ``ModelResponse``, or a dictionary in the shape of one:
        these are sent as OpenAI sends them, in a stream or, to who asks for none, as one JSON; what is missing of the
        end is added, a finish reason and ``[DONE]``. Any other dictionary is an event of another dialect, sent as it
        is; bytes are a body, or pieces of one, as they were recorded. To these nothing is added.

        With a status from 400 on, the part, if any, is the error: a text is the message of one in OpenAI's shape, a
        dictionary or bytes are the body.

        Args:
            parts: what is said, a piece of the body each.
            status: the HTTP status.
            finish: the finish reason, where no part has one; None to end without.
            usage: what the request is said to have cost, sent last.
            content_type: by default that of an event stream or of JSON; dictionaries are framed accordingly, as lines
                of JSON where it is another.
            headers: further headers of the response.
            retry_after: how many seconds a client is asked to wait until it tries again.
            delay: how many seconds pass before anything is sent, the headers included.
            pause: how many seconds pass before each piece but the first.
            cut: of how many bytes each piece is, whatever the parts are.
            fault: how it breaks off once the parts are sent: ``"truncated"``, the connection is closed; ``"reset"``,
                it is reset; ``"stalled"``, nothing comes any more.
            when: which requests it is for, by default every one.
            times: how many requests get this answer; None for all that come.

        Raises:
            TypeError: a part is none; ValueError: an argument is out of range.

        >>> import rxllm
        >>> from rxllm import operators as ops
        >>> ollama = b'{"message": {"content": "Hi"}}\n{"done": true, "done_reason": "stop"}\n'
        >>> with LLMServer() as server:
        ...     server.answer("Too many requests", status=429, retry_after=0)
        ...     server.answer(ollama, content_type="application/x-ndjson", cut=1)
        ...     hello = [{"role": "user", "content": "Hello"}]
        ...     stream = rxllm.completion("ollama/llama3", hello, stream=True, api_base=server.url)
        ...     print(stream.pipe(ops.accumulate_text()).run(), len(server.requests))
        Hi 2
        """
        said: dict[str, str] = dict(headers or {})
        if retry_after is not None:
            said["retry-after"] = f"{retry_after:g}"
        made = Answer(
            parts=parts,
            status=status,
            finish=finish,
            usage=usage,
            content_type=content_type,
            headers=said,
            delay=delay,
            pause=pause,
            cut=cut,
            fault=fault,
            when=when,
        )
        made.check()
        if times is not None and times < 1:
            raise ValueError(f"an answer is for 1 request or more, not {times}")
        with self._lock:
            self._answers.append((made, times))

    def environment(self, *providers: str) -> dict[str, str]:
        """The variables with which these providers are this server, and have a key.

        Args:
            providers: their prefixes, such as ``"openai"``.

        Raises:
            ValueError: a provider is unknown, or has no variable for its address.

        >>> with LLMServer() as server:
        ...     sorted(server.environment("openai"))
        ['OPENAI_API_KEY', 'OPENAI_BASE_URL']
        """
        from rxllm.providers import PROVIDERS

        variables: dict[str, str] = {}
        for name in providers:
            provider = PROVIDERS.get(name)
            if provider is None or not provider.base_url_variables:
                raise ValueError(f"{name!r} is no provider whose address is in a variable")
            variables[provider.base_url_variables[0]] = self.url
            if provider.key_variables:
                variables[provider.key_variables[0]] = "test"
        return variables

    def next_request(self, timeout: float = PATIENCE) -> LLMRequest:
        """The next request: the first call gives the first, and so on; waits for it.

        Args:
            timeout: how many seconds to wait at most.

        Raises:
            TimeoutError: none came by then.
        """
        try:
            return self._arrived.get(timeout=timeout)
        except queue.Empty:
            pass
        raise TimeoutError(f"no further request came within {timeout:g} s; there were {len(self.requests)}")

    def _next_answer(self, request: LLMRequest) -> Answer:
        with self._lock:
            for place, (answer, times) in enumerate(self._answers):
                try:
                    wanted = answer.when is None or answer.when(request)
                except Exception as error:  # noqa: BLE001  whatever the test's function raises is told to the client
                    return Answer(parts=(f"when() raised {error!r}",), status=400, headers={})
                if wanted:
                    if times == 1:
                        del self._answers[place]
                    elif times is not None:
                        self._answers[place] = (answer, times - 1)
                    return answer
        words = "The test gave its LLMServer no answer to this request"
        return Answer(parts=(words,), status=400, headers={})

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # So that sending waits until the system has taken all.
        writer.transport.set_write_buffer_limits(high=0)
        head = await read_head(reader)
        while head is not None and not writer.is_closing():
            left: Future[bool] = Future()
            request = LLMRequest(head, await read_body(reader, head), left)
            self.requests.append(request)
            self._arrived.put(request)
            answer = self._next_answer(request)
            # Whether the client is still there is seen by waiting for what it says next.
            following = self.loop.create_task(read_head(reader))
            playing = self.loop.create_task(_play(answer, request, writer))
            try:
                await asyncio.wait({following, playing}, return_when=asyncio.FIRST_COMPLETED)
                gone = not playing.done() and following.result() is None
                left.set_result(gone or not await playing)
                head = None if left.result() or answer.fault else await following
            finally:
                following.cancel()
                playing.cancel()
                await asyncio.wait({following, playing})
                if not left.done():
                    left.set_result(False)


async def _play(answer: Answer, request: LLMRequest, writer: asyncio.StreamWriter) -> bool:
    """Sends the answer; false where the client left meanwhile."""
    try:
        asked = request.json
    except ValueError:
        asked = None
    content_type, pieces = answer.content(asked)
    headers = {"content-type": content_type, "transfer-encoding": "chunked", **answer.headers}
    await asyncio.sleep(answer.delay)
    try:
        writer.write(response_head(answer.status, headers.items()))
        await writer.drain()
        for number, data in enumerate(pieces):
            if number:
                await asyncio.sleep(answer.pause)
            writer.write(piece(data))
            await writer.drain()
        if answer.fault is None:
            writer.write(LAST_PIECE)
            await writer.drain()
    except OSError:
        return False
    if answer.fault == "reset":
        reset(writer)
    elif answer.fault == "truncated":
        writer.close()
    elif answer.fault == "stalled":
        await asyncio.Event().wait()
    return True
