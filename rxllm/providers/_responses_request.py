"""A request in the shape of a chat completion as the body of OpenAI's Responses API."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel

from rxllm.providers._base import Provider
from rxllm.providers._requests import json_schema, parameters, unsupported
from rxllm.types import Request

__all__ = ["responses_body"]

# What a chat completion takes and a response does not.
_NOT_HAD: Final = (
    "audio", "frequency_penalty", "logit_bias", "modalities", "n", "prediction", "presence_penalty", "seed", "stop",
)  # fmt: skip
_LOGPROBS: Final = "message.output_text.logprobs"

_Object = dict[str, Any]


def responses_body(request: Request, provider: Provider) -> dict[str, Any]:
    """The members of the body. Parameters of the Responses API itself, such as ``include``, are passed on as they are.

    Raises:
        UnsupportedParamsError: the Responses API has not a parameter, and ``drop_params`` was not asked for.

    >>> provider = Provider("openai", cast(Any, None), None)
    >>> params = {"max_tokens": 9, "reasoning_effort": "low"}
    >>> body = responses_body(Request("gpt-5", [{"role": "user", "content": "Hello"}], params), provider)
    >>> body["input"], body["max_output_tokens"], body["reasoning"]
    ([{'role': 'user', 'content': 'Hello'}], 9, {'effort': 'low'})
    """
    params = parameters(request, provider)
    for name in _NOT_HAD:
        value = params.pop(name, None)
        if value is not None and (name, value) != ("n", 1) and not request.params.get("drop_params"):
            raise unsupported(request, name, " in its Responses API")
    body: dict[str, Any] = {"model": request.wire_model or request.model, "input": _input(request.messages)}
    _move_limits(params)
    _move_reasoning(params)
    _move_text(params)
    _move_tools(params)
    _move_logprobs(params)
    body.update(params)
    options = dict(request.params.get("stream_options") or {})
    options.pop("include_usage", None)  # usage always comes
    if options:
        body["stream_options"] = options
    return {**body, "stream": True}


# -- parameters


def _move_limits(params: dict[str, Any]) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        if name in params:
            params.setdefault("max_output_tokens", params.pop(name))


def _move_reasoning(params: dict[str, Any]) -> None:
    effort: Any = params.pop("reasoning_effort", None)
    if effort is None:
        return
    asked = _fields(effort) if isinstance(effort, Mapping) else {"effort": effort}
    params["reasoning"] = {**asked, **_fields(params.get("reasoning"))}


def _move_text(params: dict[str, Any]) -> None:
    text: dict[str, Any] = {}
    wanted: Any = params.pop("response_format", None)
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        wanted = json_schema(wanted)
    if wanted is not None:
        form = _fields(wanted)
        text["format"] = {**{k: v for k, v in form.items() if k != "json_schema"}, **_fields(form.get("json_schema"))}
    verbosity = params.pop("verbosity", None)
    if verbosity is not None:
        text["verbosity"] = verbosity
    if text:
        params["text"] = {**text, **_fields(params.get("text"))}


def _move_logprobs(params: dict[str, Any]) -> None:
    if params.pop("logprobs", None):
        include: list[Any] = list(params.get("include") or [])
        params["include"] = include if _LOGPROBS in include else [*include, _LOGPROBS]


def _move_tools(params: dict[str, Any]) -> None:
    tools = [_tool(_fields(tool)) for tool in _list(params.get("tools"))]
    tools += [_tool({"type": "function", **_fields(function)}) for function in _list(params.pop("functions", None))]
    search: Any = params.pop("web_search_options", None)
    if search is not None:
        tools.append({"type": "web_search", **_search_options(_fields(search))})
    if tools:
        params["tools"] = tools
    choice: Any = params.pop("function_call", None)
    if isinstance(choice, Mapping):
        choice = {"type": "function", **_fields(choice)}
    choice = params.get("tool_choice", choice)
    if choice is not None:
        params["tool_choice"] = _flat(_fields(choice)) if isinstance(choice, Mapping) else choice


def _search_options(options: _Object) -> _Object:
    place = _fields(options.get("user_location"))
    if "approximate" in place:
        options["user_location"] = _flat(place)
    return options


def _tool(tool: _Object) -> _Object:
    """A tool with what stands in an object of its own in a chat completion beside its type."""
    kind = tool.get("type")
    flat = _flat(tool)
    if kind == "function":
        # A response takes a schema as strict where that is left open, a chat completion does not.
        flat["strict"] = bool(flat.get("strict"))
        flat.setdefault("parameters", {"type": "object", "properties": {}})
    elif kind == "custom" and "grammar" in _fields(flat.get("format")):
        flat["format"] = _flat(_fields(flat["format"]))
    return flat


def _flat(said: _Object) -> _Object:
    """The object under the name that ``type`` says, beside it."""
    kind = said.get("type")
    flat = {**{key: value for key, value in said.items() if key != kind}, **_fields(said.get(str(kind)))}
    if kind == "allowed_tools":
        flat["tools"] = [_flat(_fields(tool)) for tool in _list(flat.get("tools"))]
    return flat


# -- messages


def _input(messages: Iterable[Any]) -> list[_Object]:
    """The input items that messages amount to."""
    items: list[_Object] = []
    custom: set[str] = set()  # ids of calls of custom tools, whose results are of another type
    for given in messages:
        message = _fields(given)
        role = message.get("role")
        if role is None and "type" in message:
            items.append(message)  # an input item already
        elif role in ("tool", "function"):
            call_id = message.get("tool_call_id") or message.get("name")
            kind = "custom_tool_call_output" if call_id in custom else "function_call_output"
            output = _content(message.get("content"), _user_part)
            items.append({"type": kind, "call_id": call_id, "output": "" if output is None else output})
        elif role == "assistant":
            said = _assistant(message)
            custom.update(str(item.get("call_id")) for item in said if item.get("type") == "custom_tool_call")
            items += said
        else:
            # Messages have no names here.
            items.append({"role": role, "content": _content(message.get("content"), _user_part)})
    return items


def _content(content: Any, part: Callable[[_Object], _Object]) -> Any:
    """Content: text as it is, parts each as the Responses API has them."""
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return [part(_fields(content))]
    return [part({"type": "text", "text": given} if isinstance(given, str) else _fields(given)) for given in content]


def _user_part(part: _Object) -> _Object:
    kind = part.get("type")
    if kind == "text":
        return {"type": "input_text", "text": part.get("text")}
    if kind == "image_url":
        image = part.get("image_url")
        fields = {"url": image} if isinstance(image, str) else _fields(image)
        return {"type": "input_image", "image_url": fields.get("url"), "detail": fields.get("detail") or "auto"}
    if kind == "file":
        return {**_flat(part), "type": "input_file"}
    if kind == "refusal":
        return {"type": "input_text", "text": part.get("refusal")}
    return {key: value for key, value in part.items() if key != "cache_control"}


def _assistant_part(part: _Object) -> _Object:
    if part.get("type") == "text":
        return {"type": "output_text", "text": part.get("text"), "annotations": []}
    return part


def _assistant(message: _Object) -> list[_Object]:
    """An assistant's message as the output items that it was made of: text, calls, and what was kept of the others."""
    texts = _texts(message)
    calls = [_call(_fields(call)) for call in _list(message.get("tool_calls"))]
    legacy = _fields(message.get("function_call"))
    if legacy:
        calls.append(_call({"id": legacy.get("name"), "function": legacy}))
    kept = _fields(message.get("provider_specific_fields"))
    output = [_fields(item) for item in _list(kept.get("output"))]
    if not output:
        return [*texts, *calls]
    alone = kept.get("stored") is not True and any(_is_bare(item) for item in output)
    items: list[_Object] = []
    pieces = _pieces(texts, [item for item in output if item.get("type") == "message"])
    by_id = {call["call_id"]: call for call in calls}
    for item in output:
        kind = item.get("type")
        if kind == "message":
            items += pieces.pop(0) if pieces else []
        elif kind in ("function_call", "custom_tool_call") and "name" not in item:
            call = by_id.pop(item.get("call_id"), None)
            if call is not None:
                items.append(call)
        elif not alone or kind == "compaction" or (kind == "reasoning" and not _is_bare(item)):
            items.append(
                {key: value for key, value in item.items() if key != "status"} if kind == "reasoning" else item
            )
    return [*items, *(item for piece in pieces for item in piece), *by_id.values()]


def _is_bare(item: _Object) -> bool:
    """Whether a reasoning item is but a name for what the provider has kept, if it has."""
    return item.get("type") == "reasoning" and not item.get("encrypted_content") and not item.get("content")


def _texts(message: _Object) -> list[_Object]:
    """What the assistant said, as at most one message."""
    content: Any = message.get("content")
    refusal = message.get("refusal")
    if refusal:
        parts = _content([content] if isinstance(content, str) and content else content or [], _assistant_part)
        return [{"role": "assistant", "content": [*parts, {"type": "refusal", "refusal": refusal}]}]
    return [{"role": "assistant", "content": _content(content, _assistant_part)}] if content else []


def _pieces(texts: list[_Object], marks: list[_Object]) -> list[list[_Object]]:
    """The assistant's text as the messages that it came in, if it is still what came; each with its phase."""
    if not texts or not marks:
        return [texts]
    content: Any = texts[0]["content"]
    lengths = [int(mark.get("length") or 0) for mark in marks]
    if not isinstance(content, str) or sum(lengths) != len(content):
        return [texts]
    pieces: list[list[_Object]] = []
    start = 0
    for mark, length in zip(marks, lengths, strict=True):
        phase = {"phase": mark["phase"]} if mark.get("phase") else {}
        text = content[start : start + length]
        pieces.append([{"role": "assistant", "content": text, **phase}] if text else [])
        start += length
    return pieces


def _call(call: _Object) -> _Object:
    """A tool call, with what the provider said of it beyond a chat completion's fields."""
    kept = _fields(call.get("provider_specific_fields"))
    function = _fields(call.get("function"))
    custom = _fields(call.get("custom"))
    if call.get("type") == "custom" or custom:
        name, text = custom.get("name") or function.get("name"), custom.get("input") or function.get("arguments") or ""
        return {**kept, "type": "custom_tool_call", "call_id": call.get("id"), "name": name, "input": text}
    arguments = function.get("arguments") or "{}"
    return {
        **kept,
        "type": "function_call",
        "call_id": call.get("id"),
        "name": function.get("name"),
        "arguments": arguments,
    }


def _list(value: Any) -> list[Any]:
    return list(cast("Iterable[Any]", value)) if value else []


def _fields(value: Any) -> _Object:
    """An object's members, in a dictionary of one's own; none where it is no object."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True)
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}
