"""What a marble says of the item that it stands for."""

from dataclasses import dataclass
from typing import Any, Final

from reactivex import Observable

from rxllm._pictures._diagram import Kind
from rxllm._pictures._text import legible, shortened
from rxllm.types import ChatCompletionMessageToolCall, ModelResponse, ModelResponseStream, PartialToolCall

__all__ = ["Told", "collective", "told"]

_LABEL: Final = 24
_TIP: Final = 320


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of an item: on the marble, in short where it comes of one of many, and to who points at it."""

    text: str
    kind: Kind
    tip: str
    short: str = ""


def told(item: Any, before: Any = None) -> Told:
    """What is said of ``item``; of a text that goes on with the one ``before`` it, what was added.

    >>> told(ModelResponseStream.of(" world"))
    Told(text='␣world', kind='text', tip="' world'", short='')
    >>> told("Hello world", "Hello").text, told(3).text
    ('…␣world', '3')
    """
    if isinstance(item, ModelResponseStream):
        return _chunk(item)
    if isinstance(item, str):
        added = isinstance(before, str) and 0 < len(before) < len(item) and item.startswith(before)
        tip = item if len(item) <= _TIP else f"{item[: _TIP // 2]} … {item[-_TIP // 2 :]}"
        shown = ("…" if added else "") + _beginning(item[len(before) :] if added else item)
        return Told(shortened(shown, _LABEL) or '""', "text", repr(tip))
    if isinstance(item, ChatCompletionMessageToolCall):
        return _call(item, before)
    if isinstance(item, ModelResponse):
        return Told("response", "value", _form(item))
    if isinstance(item, Observable):
        return Told("stream", "value", _form(item))  # pyright: ignore[reportUnknownArgumentType]
    form = _form(item)
    return Told(shortened(legible(form), _LABEL), "value", form)


def collective(item: Any) -> str:
    """What a lane of such items is called."""
    if isinstance(item, ModelResponseStream):
        return "chunks"
    if isinstance(item, str):
        return "texts"
    if isinstance(item, bool):
        return "items"
    if isinstance(item, int | float):
        return "numbers"
    if isinstance(item, ChatCompletionMessageToolCall):
        return "calls"
    if isinstance(item, ModelResponse):
        return "response"
    return "streams" if isinstance(item, Observable) else "items"


def _call(call: ChatCompletionMessageToolCall, before: Any) -> Told:
    """A call, or what has been added to it since it was told last."""
    name, arguments = call.function.name, call.function.arguments
    going_on = isinstance(call, PartialToolCall) and not call.complete
    known = before.function.arguments if isinstance(before, PartialToolCall) and before.id == call.id else ""
    tip = f"{name}({shortened(arguments, _TIP)}{'…' if going_on else ')'}"
    if going_on and known and arguments.startswith(known):
        return Told(shortened(f"…{_beginning(arguments[len(known) :])}", _LABEL), "call", tip)
    text = f"{legible(name)}({_beginning(arguments)}{'…' if going_on else ')'}"
    return Told(text if len(text) <= _LABEL else f"{shortened(legible(name), _LABEL - 3)}(…)", "call", tip)


def _beginning(text: str) -> str:
    """As much of a text as a marble may say, and a little more, so that it is seen where it is cut."""
    return legible(text[: _LABEL + 1])


def _chunk(chunk: ModelResponseStream) -> Told:
    texts: list[str] = []
    tips: list[str] = []
    kinds: list[Kind] = []

    def say(kind: Kind, text: str, tip: str) -> None:
        kinds.append(kind)
        texts.append(text)
        tips.append(tip)

    for choice in chunk.choices:
        delta = choice.delta
        of = f"{choice.index}:" if choice.index else ""
        for kind, text in (("reasoning", delta.reasoning_content), ("text", delta.content), ("text", delta.refusal)):
            if text:
                name = "reasoning " if kind == "reasoning" else "refusal " if text is not delta.content else ""
                say(kind, of + _beginning(text), name + repr(text[:_TIP]))  # type: ignore[arg-type]
        for call in delta.tool_calls or ():
            piece = (f"{call.function.name}(" if call.function.name else "") + (call.function.arguments or "")
            say("call", of + _beginning(piece) or "call", f"tool call {call.index}: {piece[:_TIP]}")
        if choice.finish_reason:
            say("finish", of + choice.finish_reason, f"finish reason: {choice.finish_reason}")
    usage = chunk.usage or chunk.reported_usage
    if chunk.restart is not None:
        say("other", "restart", f"restart: {chunk.restart}")
    if (result := chunk.tool_result) is not None:
        say("call", _beginning(result.content), f"result of {result.call.function.name}: {result.content[:_TIP]}")
    if chunk.get("error") is not None and not chunk.choices:
        say("error", "X", f"error: {_form(chunk['error'])}")
    if usage is not None:
        estimated = ", estimated" if usage.estimated else ""
        tip = f"usage: {usage.prompt_tokens} + {usage.completion_tokens} tokens{estimated}"
        say("finish", "usage" if chunk.usage is not None else "", tip)
    if not kinds:
        role = next((choice.delta.role for choice in chunk.choices if choice.delta.role), None)
        say("other", "role" if role else "empty", f"role: {role}" if role else "nothing that is shown")
    text = shortened("+".join(part for part in texts if part) or "usage", _LABEL)
    tip = shortened("\n".join(tips), _TIP)
    source = chunk.get("source")
    if not isinstance(source, str):
        return Told(text, kinds[0], tip)
    name = shortened(legible(source.rpartition("/")[2]), _LABEL // 2)
    return Told(f"{name}:{text}", kinds[0], f"{shortened(source, _LABEL)}: {tip}", text)


def _form(item: Any) -> str:
    """What ``repr`` gives, whatever it does."""
    try:
        return shortened(repr(item), _TIP)
    except Exception as error:  # noqa: BLE001  it is the user's
        return f"{type(item).__name__}, whose repr() raised {type(error).__name__}"
