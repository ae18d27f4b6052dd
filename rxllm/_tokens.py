"""Token encodings, offline, and what is counted with them.

cl100k_base and o200k_base, which serve the chat models, lie packed in ``rxllm/_encodings`` and are unpacked on first
use. Any other encoding is left to tiktoken, which fetches it.
"""

import lzma
import threading
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, Self, TypeGuard, cast

from pydantic import BaseModel

from rxllm.types import CompletionTokensDetails, ModelResponse, Usage

if TYPE_CHECKING:
    from tiktoken import Encoding

__all__ = [
    "TokenCount",
    "count_completion",
    "count_prompt",
    "count_text",
    "count_tools",
    "encoding_for",
    "estimate_usage",
    "get_encoding",
    "packed_ranks",
    "token_counter",
]

FALLBACK = "o200k_base"
"""What an estimate counts with where the model's own encoding is not known."""

_EMBEDDED = "sim/"
"""The embedded models count with that one too, and are exact."""

_CL100K_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
_O200K_PATTERN = "|".join(  # noqa: FLY002  one alternative a line
    [
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)
_CL100K_SPECIAL = {
    "<|endoftext|>": 100257,
    "<|fim_prefix|>": 100258,
    "<|fim_middle|>": 100259,
    "<|fim_suffix|>": 100260,
    "<|endofprompt|>": 100276,
}
_O200K_SPECIAL = {"<|endoftext|>": 199999, "<|endofprompt|>": 200018}
_HARMONY_SPECIAL = {
    **_O200K_SPECIAL,
    "<|startoftext|>": 199998,
    "<|reserved_200000|>": 200000,
    "<|reserved_200001|>": 200001,
    "<|return|>": 200002,
    "<|constrain|>": 200003,
    "<|reserved_200004|>": 200004,
    "<|channel|>": 200005,
    "<|start|>": 200006,
    "<|end|>": 200007,
    "<|message|>": 200008,
    "<|reserved_200009|>": 200009,
    "<|reserved_200010|>": 200010,
    "<|reserved_200011|>": 200011,
    "<|call|>": 200012,
    **{f"<|reserved_{token}|>": token for token in range(200013, 201088)},
}

# name: the packed ranks, the pattern that splits text into pieces, the special tokens.
_PACKED: dict[str, tuple[str, str, dict[str, int]]] = {
    "cl100k_base": ("cl100k_base", _CL100K_PATTERN, _CL100K_SPECIAL),
    "o200k_base": ("o200k_base", _O200K_PATTERN, _O200K_SPECIAL),
    "o200k_harmony": ("o200k_base", _O200K_PATTERN, _HARMONY_SPECIAL),
}

_lock = threading.Lock()
_ranks: dict[str, dict[bytes, int]] = {}
_encodings: "dict[str, Encoding]" = {}


def get_encoding(name: str) -> "Encoding":
    """The encoding called ``name``, such as ``"o200k_base"``: the same ids as tiktoken's, from any thread, loaded once.

    Raises:
        ValueError: there is no such encoding, or it is not packed and cannot be fetched.

    >>> get_encoding("cl100k_base").encode("Hello world")
    [9906, 1917]
    """
    encoding = _encodings.get(name)
    if encoding is None:
        with _lock:
            encoding = _encodings.get(name)
            if encoding is None:
                encoding = _encodings[name] = _load(name)
    return encoding


def _load(name: str) -> "Encoding":
    import tiktoken

    packed = _PACKED.get(name)
    if packed is not None:
        _, pattern, special = packed
        return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=packed_ranks(name), special_tokens=special)
    if name not in tiktoken.list_encoding_names():
        known = ", ".join(sorted(tiktoken.list_encoding_names()))
        raise ValueError(f"There is no encoding {name!r}; there are {known}")
    try:
        return tiktoken.get_encoding(name)
    except Exception as error:  # noqa: BLE001  whatever its HTTP client, the disk or the file raise
        reason = f"{type(error).__name__}: {error}"
    raise ValueError(
        f"The encoding {name!r} is not among the packed ones ({', '.join(_PACKED)}) and tiktoken could not fetch it; "
        f"where there is no network, point TIKTOKEN_CACHE_DIR to a folder that holds it. {reason}"
    )


def packed_ranks(name: str) -> dict[bytes, int]:
    """The ranks of a packed encoding's tokens, as ``scripts/pack_encodings.py`` packed them.

    They are packed as tokens in the order of ranks, each behind its length.
    """
    file = _PACKED[name][0]
    if file not in _ranks:
        data = lzma.decompress((resources.files("rxllm._encodings") / f"{file}.xz").read_bytes())
        tokens: list[bytes] = []
        position, end = 0, len(data)
        while position < end:
            start = position + 1
            position = start + data[position]
            tokens.append(data[start:position])
        _ranks[file] = {token: rank for rank, token in enumerate(tokens)}
    return _ranks[file]


def _encoding_name_for(model: str) -> str | None:
    """The name of the encoding of ``model``, any provider's prefixes before it left out; None where it is not known."""
    from tiktoken import encoding_name_for_model

    if model.startswith(_EMBEDDED):
        return FALLBACK
    name = model
    while True:
        try:
            return encoding_name_for_model(name)
        except KeyError:
            _, slash, name = name.partition("/")
            if not slash:
                return None


def encoding_for(model: str) -> "Encoding":
    """The encoding that ``model`` counts with; prefixes such as ``openai/`` are left out.

    Raises:
        ValueError: the model is not known, or its encoding cannot be had.

    >>> encoding_for("openai/gpt-4o").name
    'o200k_base'
    """
    name = _encoding_name_for(model)
    if name is None:
        raise ValueError(f"No encoding is known for the model {model!r}: name one, as with encoding={FALLBACK!r}")
    return get_encoding(name)


def count_text(encoding: "Encoding", text: str) -> int:
    """How many tokens ``text`` is; what looks like a special token is text, a lone surrogate counts as U+FFFD.

    Raises:
        RuntimeError: tiktoken gives up, as on a million spaces in a row.

    >>> count_text(get_encoding("cl100k_base"), "Hello world")
    2
    """
    try:
        return len(encoding.encode(text, disallowed_special=()))
    except BaseException as error:
        # Versions of tiktoken differ: a ValueError, or a PanicException, a BaseException that every `except Exception`
        # would let pass.
        if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
            raise
        reason = str(error)
    raise RuntimeError(f"{encoding.name} could not encode a text of {len(text):,} characters: {reason}")


def _about(encoding: "Encoding", text: str) -> int:
    """``count_text`` for estimates, which give a number for any text."""
    try:
        return count_text(encoding, text)
    except RuntimeError:
        size = 10_000
        return sum(count_text(encoding, text[start : start + size]) for start in range(0, len(text), size))


def count_prompt(messages: Iterable[Mapping[str, Any] | BaseModel], encoding: "Encoding") -> int:
    """How many tokens a chat prompt is, as OpenAI's cookbook counts: three a message, one a name, three at the end.

    Text is counted in parts of content and in tool calls too; pictures, sounds and the definitions of tools are not.

    >>> count_prompt([{"role": "user", "content": "Hello world"}], get_encoding("cl100k_base"))
    9
    """
    tokens = 3
    for message in messages:
        fields = message.model_dump(exclude_none=True) if isinstance(message, BaseModel) else message
        tokens += 3 + ("name" in fields)
        tokens += sum(_about(encoding, text) for key in _PROMPT_FIELDS for text in _texts(fields.get(key)))
    return tokens


_PROMPT_FIELDS = ("role", "name", "content", "refusal", "tool_calls", "tool_call_id")
_TEXT_FIELDS = ("text", "refusal", "function", "name", "arguments")


def _texts(value: Any) -> Iterable[str]:
    """The strings of a field that the model reads: the text of content parts, the names and arguments of calls."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        yield from _texts(value.model_dump(exclude_none=True))
    elif isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        for key in _TEXT_FIELDS:
            yield from _texts(fields.get(key))
    elif _is_list(value):
        for part in value:
            yield from _texts(part)


def count_tools(tools: Iterable[Any], encoding: "Encoding") -> int:
    """How many tokens the definitions of tools add to a prompt, as OpenAI's cookbook counts.

    Counted are names, descriptions, and the parameters of the first level with their types and their ``enum``; what has
    not the documented shape counts nothing.
    """
    start_of_function = 10 if encoding.name == "cl100k_base" else 7
    tokens = 0
    for tool in tools:
        function = _fields(_fields(tool).get("function")) or _fields(tool)
        tokens += start_of_function + _about(encoding, f"{function.get('name', '')}:{_description(function)}")
        properties = _fields(_fields(function.get("parameters")).get("properties"))
        tokens += 3 * bool(properties)
        for name, schema in properties.items():
            fields = _fields(schema)
            tokens += 3 + _about(encoding, f"{name}:{fields.get('type', '')}:{_description(fields)}")
            choices = fields.get("enum")
            if _is_list(choices) and choices:
                tokens += sum(3 + _about(encoding, str(choice)) for choice in choices) - 3
    return tokens + 12 * bool(tokens)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _fields(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _description(fields: Mapping[str, Any]) -> str:
    return str(fields.get("description") or "").removesuffix(".")


class TokenCount(int):
    """A number of tokens. ``estimated`` is true where the model may well count otherwise.

    >>> TokenCount(3, estimated=True) + 4, TokenCount(3, estimated=True).estimated
    (7, True)
    """

    estimated: bool

    def __new__(cls, value: int, *, estimated: bool = False) -> Self:
        """The number ``value``, marked."""
        count = super().__new__(cls, value)
        count.estimated = estimated
        return count

    def __getnewargs_ex__(self) -> tuple[tuple[int], dict[str, bool]]:
        return (int(self),), {"estimated": self.estimated}


def token_counter(
    model: str,
    text: str | None = None,
    messages: Sequence[Mapping[str, Any] | BaseModel] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> TokenCount:
    """How many tokens a text, or a prompt that is to be sent, is for a model. No network is needed.

    Messages and tools are counted as OpenAI documents in its cookbook: three tokens a message, one a name and three at
    the end, beside the text itself. It is an estimate, and marked so, for models of other makers, which are counted
    with o200k_base, and for messages that hold what the cookbook does not count: tool calls, which are counted by their
    names and arguments, and pictures, sounds and files, which count nothing.

    Args:
        model: the model, with or without a provider's prefix.
        text: a text to count by itself.
        messages: a prompt to count, dictionaries or messages of an earlier response.
        tools: the definitions of tools that are sent with ``messages``.

    Returns:
        The number, an ``int`` with an attribute ``estimated``.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: not exactly one of ``text`` and ``messages`` is given, tools are given with a text, or the model's
            encoding is none of the packed ones and cannot be had.
        RuntimeError: tiktoken gives up on the text, as on a million spaces in a row.

    >>> token_counter("gpt-4", text="Hello world")
    2
    >>> token_counter("gpt-4", messages=[{"role": "user", "content": "Hello world"}])
    9
    >>> token_counter("anthropic/claude-sonnet-4", text="Hello world").estimated
    True
    """
    _check(model, text, messages, tools)
    name = _encoding_name_for(model)
    encoding = get_encoding(name or FALLBACK)
    if text is not None:
        return TokenCount(count_text(encoding, text), estimated=name is None)
    prompt = messages or ()
    plain = all(_is_plain(message) for message in prompt)
    tokens = count_prompt(prompt, encoding) + count_tools(tools or (), encoding)
    return TokenCount(tokens, estimated=name is None or not plain)


def _check(model: Any, text: Any, messages: Any, tools: Any) -> None:
    """Raises unless the arguments are those of ``token_counter``."""
    if not isinstance(model, str):
        raise TypeError(f"model is a model's name, not {model!r}")
    if (text is None) == (messages is None):
        raise ValueError("token_counter() counts either text= or messages=: give one of them")
    if text is not None:
        if not isinstance(text, str):
            raise TypeError(f"text is a string, not {type(text).__name__}")
        if tools:
            raise ValueError("tools are sent with messages, not with a text: count them with messages=")
    for argument, values, kinds in (("messages", messages, (Mapping, BaseModel)), ("tools", tools, Mapping)):
        if values is not None and not (_is_list(values) and all(isinstance(value, kinds) for value in values)):
            raise TypeError(f"{argument} is a list of dictionaries, not {values!r:.100}")


def _is_plain(message: Mapping[str, Any] | BaseModel) -> bool:
    """Whether a message is text alone, which the cookbook counts."""
    fields = message.model_dump(exclude_none=True) if isinstance(message, BaseModel) else message
    if fields.get("tool_calls") or fields.get("function_call") or fields.get("audio"):
        return False
    content = fields.get("content")
    if not _is_list(content):
        return True
    return all(isinstance(part, str) or "text" in _fields(part) for part in content)


def count_completion(response: ModelResponse, encoding: "Encoding") -> tuple[int, int]:
    """How many tokens were generated, over all choices, and how many of them for reasoning.

    Counted are the text, the reasoning, a refusal, and the names and arguments of tool calls.

    >>> from rxllm.types import Choices, Message
    >>> message = Message(content="Hello world", reasoning_content="Greet")
    >>> count_completion(ModelResponse(choices=[Choices(message=message)]), get_encoding("cl100k_base"))
    (4, 2)
    """
    tokens = reasoning = 0
    for choice in response.choices:
        message = choice.message
        reasoning += _about(encoding, message.reasoning_content or "")
        texts = [message.content or "", message.refusal or ""]
        for call in message.tool_calls or ():
            texts += [call.function.name, call.function.arguments]
        tokens += sum(_about(encoding, text) for text in texts)
    return tokens + reasoning, reasoning


def estimate_usage(
    model: str | None,
    messages: Iterable[Mapping[str, Any] | BaseModel] | None,
    response: ModelResponse,
    tools: Any = None,
) -> Usage:
    """What ``response`` to ``messages`` and ``tools`` comes to, counted here: ``estimated`` is true.

    Counted with the model's encoding where that is packed, else with o200k_base: an estimate fetches nothing and never
    fails. Without messages the prompt counts 0.
    """
    name = _encoding_name_for(model or response.model) or FALLBACK
    encoding = get_encoding(name if name in _PACKED else FALLBACK)
    prompt = 0
    if messages is not None:
        prompt = count_prompt(messages, encoding)
        if _is_list(tools):
            prompt += count_tools(tools, encoding)
    completion, reasoning = count_completion(response, encoding)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        completion_tokens_details=CompletionTokensDetails(reasoning_tokens=reasoning) if reasoning else None,
        estimated=True,
    )
