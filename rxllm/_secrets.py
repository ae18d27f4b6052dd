"""Keeping keys out of what people see: errors, log lines, tracebacks, ``repr``.

One ``Secrets`` holds what must not be seen of one call, for as long as the call is under way::

    secrets = Secrets()                     # from here on, log lines are scrubbed of what it holds
    secrets.add_key(key)                    # each as soon as it is known: before anything is done with it
    secrets.add_headers(extra_headers)
    secrets.add_address(base_url)
    secrets.add_parameters(request.params)
    secrets.add_headers(http.headers)       # of the finished request: signatures too
    secrets.add_address(http.url)

    headers = secrets.clean(headers)        # any JSON-like value that came from outside
    raise secrets.scrub(error)              # an error made of what came from outside

A traceback holds the locals of every frame, and rich and pytest print them. So whoever calls httpx lets nothing pass
that still leads to its frames, Ctrl-C included::

    except BaseException as error:
        raise unframed(error)

What counts as a secret is said at ``Secrets``. What a model answers is never touched: only what is said about it.
"""

import base64
import binascii
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qsl, unquote
from weakref import WeakValueDictionary

from rxllm.exceptions import APIError

__all__ = ["HIDDEN", "Secrets", "hidden_parameters", "hidden_url", "unframed"]

HIDDEN: Final = "***"
"""What stands where a secret stood."""

_T = TypeVar("_T")
_Error = TypeVar("_Error", bound=BaseException)

# Shorter ones would tear ordinary words apart.
_SHORTEST: Final = 4
# Of a text that was cut off inside a secret: how much of its beginning is one at the end of a text, and anywhere. What
# all keys of a provider begin with ("sk-ant-api03-") is shorter.
_SHORTEST_AT_END: Final = 8
_SHORTEST_CUT: Final = 16

# What people give where a server wants some key and looks at none, and what is said of keys.
_NO_SECRETS: Final = frozenset(
    "anything basic bearer dummy empty fake false lm-studio none not-needed null ollama placeholder test true"
    " vllm".split()
)

_SECRET_NAME: Final = re.compile(
    r"authori[sz]ation|authenticat|(?:^|-)auth(?:-|$)|key(?:-?id)?(?:-|$)|token(?:-|$)|secret|passw|credential|cookie"
    r"|signature|(?:^|-)sig(?:-|$)"
)
# Names that look like it, and are not; and the headers whose values everybody may know.
_HARMLESS_NAMES: Final = frozenset(
    "accept accept-encoding accept-language anthropic-beta anthropic-version cache-control cache-key connection"
    " content-encoding content-length content-type date host http-referer idempotency-key openai-beta"
    " openai-organization openai-project origin prompt-cache-key referer request-id stop-token traceparent tracestate"
    " user-agent x-amz-content-sha256 x-amz-date x-client-request-id x-request-id x-title".split()
)
# Beside the secrets in a key that is JSON (AWS's, a service account's): words that errors are full of.
_HARMLESS_MEMBER: Final = re.compile(r"region|profile|project|email|uri|url|domain|^type$")
# In a value under any other name: sixteen letters and digits in a row, both of them.
_RANDOM: Final = re.compile(r"(?=[a-zA-Z0-9]*[0-9])(?=[a-zA-Z0-9]*[a-zA-Z])[a-zA-Z0-9]{16}")
# Also where the scheme is missing, or the password has a slash in it: errors complain of that.
_USER_INFO: Final = re.compile(r"\A((?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//|)([^/?#]*|[^/?#@:]*:(?!//|[0-9]+(?:/|\Z))[^?#@]*)@")
# Python's, JSON's, HTML's and URLs' ways to write a character, also on top of one another.
_ESCAPED: Final = re.compile(
    r"(?:\\|%(?:25)*5[cC])+(?:u(?P<unicode>[0-9a-fA-F]{4})|x(?P<hex>[0-9a-fA-F]{2})|(?P<letter>[nrt]))?|%(?:25)*(?P<percent>[0-9a-fA-F]{2})"
    r"|&(?:amp;)*(?P<html>amp|lt|gt|quot|apos|#[0-9]{1,6}|#[xX][0-9a-fA-F]{1,5});|(?P<plus>\+)"
)
_MAY_BE_ESCAPED: Final = re.compile(r"[\\%&+]")
_DEEPEST: Final = 6
_CUT_OFF: Final = re.compile(r"\W{0,2}\Z|\.\.|\u2026")
_SCHEME: Final = re.compile(r"(?i)(?:bearer|basic|digest|token|apikey|api-key|key|aws4-hmac-sha256)\s+")


class Secrets:
    """The secrets of one call. Neither ``repr`` nor a debugger's view of it shows one, and a pickle holds none.

    A secret is

    - the key, and where it is a JSON object (AWS's credentials) each member of it, but such as the region;
    - the value of a header whose name says so: ``authorization`` without its scheme, ``x-api-key``, ``cookie``,
      whatever has a key, a token, a password, a signature in its name. Under another name, a value with a scheme such
      as ``Bearer`` before it, or with sixteen letters and digits in a row; under a name that everybody uses openly,
      such as ``user-agent``, none. So ``x-app: chat`` takes the word "chat" out of no error;
    - in an address the user's name and password, and the values of query parameters whose names say so;
    - among the parameters, however deep, a text of eight characters or more under a name that says so, as the
      ``authorization`` of an MCP server.

    Texts of less than four characters are none, nor are words that stand for no key, such as "EMPTY" or "ollama". Each
    is found as it is, and as servers and libraries echo it: escaped in ``repr``, in JSON, in HTML, percent-encoded, or
    several of these. Its beginning counts as well where a text was cut off inside it.

    >>> secrets = Secrets("sk-1234567890")
    >>> secrets.clean({"said": ["Incorrect key: sk-1234567890."]})
    {'said': ['Incorrect key: ***.']}
    >>> secrets
    Secrets(***)
    """

    __slots__ = ("__weakref__", "forms")

    def __init__(self, *secrets: str | None) -> None:
        self.forms: frozenset[str] = frozenset()
        self.add(*secrets)
        _watch(self)

    def __repr__(self) -> str:
        return f"Secrets({HIDDEN})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Secrets, ())

    def add(self, *secrets: str | None) -> None:
        """These texts are secrets."""
        found = {form for secret in secrets if secret for form in _forms(secret)}
        # Replaced and not changed: log lines of other threads are being scrubbed of it.
        self.forms |= found

    def add_key(self, key: str | None) -> None:
        """A key; the members too of one that is a JSON object."""
        self.add(key)
        if key and key.lstrip().startswith("{"):
            try:
                said: Any = json.loads(key)
            except (ValueError, RecursionError):
                return
            self.add(*(text for name, text in _texts(said) if not _HARMLESS_MEMBER.search(name)))

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """What is secret among the headers of a request."""
        for name, value in headers.items():
            scheme = _SCHEME.match(value)
            named = _plain_name(name)
            if _is_secret_name(named) or (named not in _HARMLESS_NAMES and (scheme or _RANDOM.search(value))):
                bare = value[scheme.end() :] if scheme else value
                self.add(bare, *_inside(scheme[0].strip().lower() if scheme else named, bare))

    def add_address(self, url: str | None) -> None:
        """What is secret in an address, of a provider or a proxy."""
        self.add(*_secrets_of_url(url or ""))

    def add_parameters(self, parameters: Any) -> None:
        """What is secret among the parameters of a request."""
        self.add(*(text for name, text in _texts(parameters) if _is_secret_parameter(name, text)))

    def clean(self, value: _T) -> _T:
        """``value`` with ``***`` for every secret in it: a text, bytes, or a dictionary, list or tuple of such."""
        return cast(_T, _cleaned(value, self.forms) if self.forms else value)

    def scrub(self, error: APIError) -> APIError:
        """``error`` itself with every secret in it replaced, in whatever it says and holds.

        It loses the frames that it came through and what it was raised from: they hold the request.
        """
        error.args = self.clean(error.args)
        error.__dict__.update(self.clean(error.__dict__))  # its notes are among it
        return unframed(error)


def unframed(error: _Error) -> _Error:
    """``error`` itself without its traceback so far and without what it was raised from.

    What is raised again begins a traceback of its own. Of an error that nobody foresaw a note says where it came from.
    """
    if isinstance(error, Exception) and not isinstance(error, APIError):
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        if trace is not None:
            code = trace.tb_frame.f_code
            note = f'Raised in "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}'
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
    error.__cause__ = error.__context__ = None
    error.__suppress_context__ = False  # what it is raised in later is the user's, and shown
    return error.with_traceback(None)


def hidden_url(url: str) -> str:
    """``url`` without what is secret in it, for people to read.

    >>> hidden_url("https://me:pa55word@llm.example/v1?api-version=3&key=AIza0")
    'https://***@llm.example/v1?api-version=3&key=***'
    """
    url = _USER_INFO.sub(rf"\g<1>{HIDDEN}@", url)
    return re.sub(
        r"([?&])([^=&#]+)=([^&#]+)",
        lambda part: f"{part[1]}{part[2]}={HIDDEN}" if _is_secret_query(part[2]) else part[0],
        url,
    )


def hidden_parameters(parameters: Any) -> Any:
    """Parameters, or anything in them, with ``***`` for what is secret, for people to read.

    >>> hidden_parameters({"tools": [{"type": "mcp", "authorization": "tok_123456"}], "n": 1})
    {'tools': [{'type': 'mcp', 'authorization': '***'}], 'n': 1}
    """
    secrets = [text for name, text in _texts(parameters) if _is_secret_parameter(name, text)]
    forms = frozenset(form for secret in secrets for form in _forms(secret))
    return _cleaned(parameters, forms) if forms else parameters


# -- what is secret


def _plain_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _is_secret_name(plain_name: str) -> bool:
    return plain_name not in _HARMLESS_NAMES and _SECRET_NAME.search(plain_name) is not None


def _is_secret_query(name: str) -> bool:
    plain = _plain_name(unquote(name))
    return plain == "code" or _is_secret_name(plain)  # ?code= is the key of an Azure function


def _is_secret_parameter(name: str, text: str) -> bool:
    return len(text) >= 8 and _is_secret_name(_plain_name(name))


def _inside(kind: str, value: str) -> Iterator[str]:
    """The secrets that a header of this scheme, or name, has inside."""
    if kind == "aws4-hmac-sha256":
        yield from re.findall(r"(?:Credential|Signature)=([^\s,/]+)", value)
    elif kind == "basic":
        try:
            yield base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return
    elif kind == "cookie":
        yield from (text for pair in value.split(";") if len(text := pair.partition("=")[2].strip()) >= 8)


def _secrets_of_url(url: str) -> Iterator[str]:
    user_info = _USER_INFO.match(url)
    if user_info:
        user, colon, password = user_info[2].partition(":")
        plain = f"{unquote(user)}:{unquote(password)}"
        yield user_info[2]
        yield plain
        yield base64.b64encode(plain.encode()).decode()
        # A name beside a password is a word such as "admin"; a name alone is a token.
        for secret in (password,) if colon else (user,):
            yield secret
            yield unquote(secret)
    query = url.partition("?")[2].partition("#")[0]
    for name, value in parse_qsl(query):
        if _is_secret_query(name):
            yield value


def _texts(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Each text in something JSON-like, with the name of the member that it stands under."""
    if isinstance(value, str):
        yield name, value
    elif depth > 50:
        return
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():  # type: ignore[redundant-cast]
            yield from _texts(item, str(key), depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        for item in cast("Sequence[Any]", value):  # type: ignore[redundant-cast]
            yield from _texts(item, name, depth + 1)


def _forms(secret: str) -> Iterator[str]:
    """A secret as it is looked for."""
    secret = secret.strip()
    if secret.lower() not in _NO_SECRETS:
        for text in {secret, secret.encode("utf-8", "surrogatepass").decode("latin-1")}:  # as bytes are written
            plain, _ = _unescaped(text)
            if len(plain) >= _SHORTEST:
                yield plain


# -- taking it out


def _cleaned(value: Any, forms: frozenset[str]) -> Any:
    if isinstance(value, str):
        return _without(value, forms)
    if isinstance(value, bytes):
        return _without(value.decode("latin-1"), forms).encode("latin-1")
    if isinstance(value, dict):
        members = cast("dict[Any, Any]", value).items()  # type: ignore[redundant-cast]
        return {_cleaned(key, forms): _cleaned(item, forms) for key, item in members}
    if isinstance(value, list):
        return [_cleaned(item, forms) for item in cast("list[Any]", value)]  # type: ignore[redundant-cast]
    if type(cast(object, value)) is tuple:
        return tuple(_cleaned(item, forms) for item in value)
    return value


def _without(text: str, secrets: frozenset[str]) -> str:
    plain, places = _unescaped(text)
    found = [secret for secret in secrets if secret[:_SHORTEST_AT_END] in plain]
    if not found:
        return text
    parts: list[str] = []
    end = 0
    for start, stop in _merged([span for secret in found for span in _spans(plain, secret)]):
        first, last = (places[start][0], places[stop - 1][1]) if places else (start, stop)
        parts += (text[end:first], HIDDEN)
        end = last
    return "".join((*parts, text[end:]))


def _spans(text: str, secret: str) -> Iterator[tuple[int, int]]:
    """Where a secret stands, or the beginning of it where whoever wrote the text has cut it off."""
    start = -1
    while (start := text.find(secret[:_SHORTEST_AT_END], start + 1)) >= 0:
        end = start + _alike(text[start : start + len(secret)], secret)
        if end - start == len(secret) or end - start >= _SHORTEST_CUT or _CUT_OFF.match(text, end):
            yield start, end


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those that overlap as one: a secret may be a part of another."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _unescaped(text: str) -> tuple[str, list[tuple[int, int]] | None]:
    """``text`` without what any escaping has added, of one kind on top of another; and where each character stood."""
    places: list[tuple[int, int]] | None = None
    for _ in range(_DEEPEST):
        if not _MAY_BE_ESCAPED.search(text):
            break
        plain, stood = _unescaped_once(text)
        if plain == text:
            break
        text = plain
        places = stood if places is None else [(places[start][0], places[end - 1][1]) for start, end in stood]
    return text, places


def _unescaped_once(text: str) -> tuple[str, list[tuple[int, int]]]:
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for escape in _ESCAPED.finditer(text):
        start, end = escape.span()
        character = _character(escape)
        parts += (text[at:start], character)
        places += zip(range(at, start), range(at + 1, start + 1), strict=True)
        places += [(start, end)] * len(character)
        at = end
    places += zip(range(at, len(text)), range(at + 1, len(text) + 1), strict=True)
    return "".join((*parts, text[at:])), places


def _character(escape: re.Match[str]) -> str:
    match escape.lastgroup:
        case "percent" | "hex" | "unicode" as kind:
            character = chr(int(escape[kind], 16))
        case "letter":
            character = {"n": "\n", "r": "\r", "t": "\t"}[escape["letter"]]
        case "html":
            import html  # rarely needed

            character = html.unescape(f"&{escape['html']};")
        case "plus":
            character = "+"
        case _:
            character = ""  # the backslash before a character that stands for itself
    return " " if character == "+" else character  # in a query a plus is a space


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


# -- log lines

# Weakly: with the call, what it held is gone. Its values can be listed while other threads add some.
_under_way: "WeakValueDictionary[int, Secrets]" = WeakValueDictionary()

# Those that the libraries beneath us write to; a filter does not see what is logged to a logger's children. HTTP/2 is
# there with a client of the user's own only; botocore shows what it signs.
_LOGGERS: Final = (
    "rxllm",
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
    "hpack.hpack",
    "hpack.table",
    "botocore.auth",
)


class _Scrubbing(logging.Filter):
    """Takes the secrets of all calls under way out of each line that is logged; asked only where the level is on."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass."""
        forms = frozenset[str]().union(*(secrets.forms for secrets in calls_under_way()))
        if forms:
            try:
                message = record.getMessage()
            except Exception:  # noqa: BLE001  a line that cannot be put together: logging says so when it tries
                return True
            cleaned = _without(message, forms)
            if cleaned != message:
                record.msg, record.args = cleaned, ()
        return True


_scrubbing: Final = _Scrubbing()
_installed = False


def calls_under_way() -> list[Secrets]:
    return [secrets for reference in _under_way.valuerefs() if (secrets := reference()) is not None]


def _watch(secrets: Secrets) -> None:
    """From now on, log lines are scrubbed of these, until they are gone."""
    global _installed
    _under_way[id(secrets)] = secrets
    if not _installed:
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_scrubbing)  # one that is there is not added again
        _installed = True
