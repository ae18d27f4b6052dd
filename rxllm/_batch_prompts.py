"""The input of ``rxllm batch``: lines of JSON, a request each.

::

    "A prompt"
    {"prompt": "A prompt", "temperature": 0, "id": "any text or number"}
    {"messages": [{"role": "user", "content": "A prompt"}], "model": "gpt-4o", "custom_id": "..."}
    {"custom_id": "...", "method": "POST", "url": "/v1/chat/completions", "body": {"model": ..., "messages": [...]}}

The last is that of OpenAI's batches. Whatever else stands beside a prompt or messages is an argument of
``completion()``. A request that has no name of its own is called after its line, ``line-7``.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, cast

from rxllm._completion import completion
from rxllm._plain import canonical_json

__all__ = ["Prompt", "PromptFile"]

_FAULTS_SHOWN: Final = 10
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DIGEST: Final = hashlib.sha256
_DIGEST_SIZE: Final = _DIGEST().digest_size
# How a request is sent, and not what is asked: the answer is the same wherever it comes from.
_SENDING: Final = frozenset(
    {
        *("api_base", "api_key", "base_url", "extra_headers"),
        *("max_event_bytes", "max_retries", "num_retries", "timeout"),
    }
)
# So that a request's own comes before the one for all, by whichever of its names.
_OTHER_NAMES: Final = {"base_url": "api_base", "num_retries": "max_retries"}


@dataclass(frozen=True)
class Prompt:
    """A request of the file: its place among them from 0 on, its line from 1 on, and what ``completion()`` is given."""

    place: int
    line: int
    custom_id: str
    arguments: dict[str, Any]


class PromptFile:
    """A file of prompts, all of them looked at, and none of them kept.

    It is read twice: as a whole when it is made, of which there stays where each prompt is, its name and its
    fingerprint; and prompt by prompt when they are sent.

    Args:
        path: the file.
        common: arguments for all; a request's own come first.
        system: the system message of those that have none.
        name: what the file is called where something is wrong with it; by default its path.

    Raises:
        OSError: it cannot be read.
        ValueError: something in it is no request that could be sent; a line for each, with the file's and its number.
    """

    def __init__(
        self, path: Path, common: Mapping[str, Any], system: str | None = None, *, name: str | None = None
    ) -> None:
        self.path = path
        self.name = str(path) if name is None else name
        self._common = common
        self._system = system
        self._starts = array("Q")
        self._lines = array("Q")
        self._fingerprints = bytearray()
        self._places: dict[str, int] = {}
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is no regular file, which prompts have to be in: it is read twice")
        with path.open("rb") as file:
            self._look_through(file)

    def __len__(self) -> int:
        return len(self._starts)

    def place_of(self, custom_id: str) -> int | None:
        """Where the prompt of that name is among the others; ``None`` where there is none."""
        return self._places.get(custom_id)

    def line_of(self, place: int) -> int:
        """The line of a prompt."""
        return self._lines[place]

    def fingerprint(self, place: int) -> str:
        """What is asked, model and options included, as a SHA-256 in hexadecimal digits."""
        return self._fingerprint(place).hex()

    def read(self, places: Iterable[int]) -> Iterator[Prompt]:
        """The prompts at these places, as they are asked for.

        Raises:
            OSError: the file cannot be read, or is not what it was.
        """
        with self.path.open("rb") as file:
            for place in places:
                file.seek(self._starts[place])
                prompt = self._prompt(file.readline(), place)
                if prompt is None:
                    line = self._lines[place]
                    raise OSError(f"{self.name}, line {line}: the file was changed while its prompts were asked")
                yield prompt

    def _prompt(self, text: bytes, place: int) -> Prompt | None:
        """The prompt that is to be at ``place``; ``None`` where this is another."""
        line = self._lines[place]
        try:
            custom_id, arguments = self._request(text, line)
        except ValueError:
            return None
        same = self._places.get(custom_id) == place and _fingerprint_of(arguments) == self._fingerprint(place)
        return Prompt(place, line, custom_id, arguments) if same else None

    def _fingerprint(self, place: int) -> bytes:
        return bytes(self._fingerprints[place * _DIGEST_SIZE : (place + 1) * _DIGEST_SIZE])

    def _look_through(self, file: BinaryIO) -> None:
        faults: list[str] = []
        more = start = 0
        for line, text in enumerate(file, 1):
            if _without_mark(text, line).strip():
                try:
                    self._note(text, line, start)
                except ValueError as error:
                    if len(faults) < _FAULTS_SHOWN:
                        faults.append(f"{self.name}, line {line}: {' '.join(str(error).split())}")
                    else:
                        more += 1
            start += len(text)
        if more:
            faults.append(f"{self.name}: {more} more line{'s are' if more > 1 else ' is'} no request")
        if not (faults or self._starts):
            faults.append(f"{self.name}: there is no prompt in it")
        if faults:
            raise ValueError("\n".join(faults))

    def _note(self, text: bytes, line: int, start: int) -> None:
        custom_id, arguments = self._request(text, line)
        _check(arguments)
        if custom_id in self._places:
            other = self._lines[self._places[custom_id]]
            raise ValueError(f"line {other} is called {custom_id!r:.100} as well")
        self._places[custom_id] = len(self._starts)
        self._starts.append(start)
        self._lines.append(line)
        self._fingerprints += _fingerprint_of(arguments)

    def _request(self, text: bytes, line: int) -> tuple[str, dict[str, Any]]:
        """The name of a request, and what ``completion()`` is given."""
        given = _parsed(_without_mark(text, line))
        if isinstance(given, str):
            given = {"prompt": given}
        if not isinstance(given, dict):
            raise ValueError("it is neither a text nor an object")  # noqa: TRY004  wrong input, not a wrong type
        members = dict(cast("dict[str, Any]", given))
        custom_id = _name(members)
        own = _body(members) if "body" in members else members
        own.pop("stream", None)  # a response is whole
        for other, name in _OTHER_NAMES.items():
            if other in own and name not in own:
                own[name] = own.pop(other)
        if "prompt" in own:
            prompt = own.pop("prompt")
            if "messages" in own:
                raise ValueError('it has both "prompt" and "messages"')
            if not isinstance(prompt, str) or not prompt.strip():
                raise ValueError('its "prompt" is no text, or an empty one')
            own["messages"] = [{"role": "user", "content": prompt}]
        elif "messages" not in own:
            raise ValueError('it has neither "prompt" nor "messages"')
        arguments = {**self._common, **own}
        if self._system is not None and not _has_system(arguments["messages"]):
            arguments["messages"] = [{"role": "system", "content": self._system}, *arguments["messages"]]
        return (f"line-{line}" if custom_id is None else custom_id), arguments


def _without_mark(text: bytes, line: int) -> bytes:
    return text.removeprefix(_BYTE_ORDER_MARK) if line == 1 else text


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text.decode(), parse_constant=_no_number)
    except UnicodeDecodeError:
        reason = "it is not UTF-8"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = f"it is not JSON: {error}"
    raise ValueError(reason)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _name(members: dict[str, Any]) -> str | None:
    """The name that a request has, which is taken out of its members."""
    names: set[str] = set()
    for member in ("custom_id", "id"):
        name = members.pop(member, None)
        if isinstance(name, bool) or not isinstance(name, str | int | None):
            raise ValueError(f'its "{member}" is neither a text nor a whole number')  # noqa: TRY004  wrong input
        if name is not None:
            names.add(str(name))
    if len(names) > 1:
        raise ValueError('its "custom_id" and its "id" differ')
    return names.pop() if names else None


def _body(members: dict[str, Any]) -> dict[str, Any]:
    """The request in OpenAI's form of batches."""
    body, method, url = members.pop("body"), members.pop("method", "POST"), members.pop("url", "/v1/chat/completions")
    if not isinstance(body, dict):
        raise ValueError('its "body" is no object')  # noqa: TRY004  wrong input
    if method != "POST" or not isinstance(url, str) or not url.endswith("/chat/completions"):
        raise ValueError(f"it is for {method} {url}, and this asks for chat completions")
    if members:
        raise ValueError(f'beside its "body" there is "{next(iter(members))}", which means nothing there')
    return dict(cast("dict[str, Any]", body))


def _has_system(messages: Any) -> bool:
    """Whether there is a system message; what is no list of messages is refused elsewhere, as it is."""
    if not isinstance(messages, list):
        return True
    return any(
        isinstance(message, dict) and cast("dict[str, Any]", message).get("role") in ("system", "developer")
        for message in cast("list[Any]", messages)  # type: ignore[redundant-cast]
    )


def _check(arguments: dict[str, Any]) -> None:
    """Raises ValueError where ``completion()`` would not take the arguments; it sends nothing."""
    model = arguments.get("model")
    if model is None:
        raise ValueError('no model is given, neither by its "model" nor by -m')
    if not isinstance(model, str):
        raise ValueError('its "model" is no text')  # noqa: TRY004  wrong input
    try:
        completion(stream=True, **arguments)
    except Exception as error:  # noqa: BLE001  the arguments are a stranger's: whatever comes of them is his to hear
        reason = str(error)
    else:
        return
    raise ValueError(reason)


def _fingerprint_of(arguments: dict[str, Any]) -> bytes:
    asked = {name: value for name, value in arguments.items() if name not in _SENDING and value is not None}
    return _DIGEST(canonical_json(asked).encode()).digest()
