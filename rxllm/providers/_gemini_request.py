"""A request in OpenAI's shape as a body of Gemini's ``generateContent``, and where it is sent."""

import json
import mimetypes
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import quote

from pydantic import BaseModel

from rxllm.exceptions import BadRequestError, UnsupportedParamsError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._google_auth import default_project
from rxllm.providers._requests import endpoint, json_request, json_schema, mapping, parameters, unsupported
from rxllm.types import Request

__all__ = [
    "GEMINI_HAS_NOT",
    "VERTEX_PARAMETERS",
    "VERTEX_URL",
    "gemini_request",
    "vertex_base_url",
    "vertex_path",
    "vertex_request",
]

VERTEX_URL: Final = "https://aiplatform.googleapis.com/v1"
"""Where Vertex AI is; the location becomes part of the host."""

# Parameters in OpenAI's shape that generateContent has no place for.
GEMINI_HAS_NOT: Final = frozenset(
    {
        "function_call",
        "functions",
        "logit_bias",
        "metadata",
        "prediction",
        "prompt_cache_key",
        "safety_identifier",
        "user",
        "verbosity",
    }
)

# OpenAI's names for members of the generationConfig.
_RENAMED: Final = {
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
# Gemini's own, which may be given by these names or with underscores.
_CONFIGURATION: Final = frozenset(
    "audioTimestamp candidateCount enableAffectiveDialog enableEnhancedCivicAnswers frequencyPenalty imageConfig"
    " maxOutputTokens mediaResolution presencePenalty responseJsonSchema responseLogprobs responseMimeType"
    " responseModalities responseSchema routingConfig speechConfig stopSequences thinkingConfig topK topP".split()
)
VERTEX_PARAMETERS: Final = frozenset({"vertex_project", "vertex_location", "vertex_credentials"})
_VERSION: Final = re.compile(r"/v\d+\w*$")
_DATA_URL: Final = re.compile(r"data:(?P<kind>[^;,]*)(?:;[^;,]*)*?;base64,(?P<data>.*)", re.DOTALL)
# As Google maps the efforts for models that have a budget of tokens.
_BUDGETS: Final = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576}
_LEVELS: Final = {"none": "minimal", "xhigh": "high"}
# Gemini's types for files whose kind the name does not say to `mimetypes` everywhere.
_AUDIO: Final = {"mp3": "audio/mp3", "wav": "audio/wav", "pcm16": "audio/pcm"}

_Part = dict[str, Any]


def gemini_request(request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
    """The HTTP request for the Gemini API. ``api_version`` replaces the version at the end of the base URL."""
    base_url = _at_version(request, base_url)
    return _streaming(request, base_url, f"/{_resource(request)}", api_key, provider)


def vertex_request(request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
    """The HTTP request for Vertex AI. An API key instead of a token needs no project (Vertex AI in express mode)."""
    express = api_key is not None and api_key.startswith(("AIza", "AQ."))
    if express:
        provider = replace(provider, key_header="x-goog-api-key")
    model = (request.wire_model or request.model).removeprefix("gemini/")
    if model.startswith("projects/"):
        path = f"/{quote(model)}"
    elif express and not _said(request, "vertex_project", _PROJECTS):
        path = f"/publishers/google/models/{quote(model)}"
    else:
        kind = "endpoints" if model.isdecimal() else "publishers/google/models"
        path = f"{vertex_path(request)}/{kind}/{quote(model)}"
    return _streaming(request, vertex_base_url(request, base_url), path, api_key, provider)


def vertex_base_url(request: Request, base_url: str) -> str:
    """The base URL with the location's host, unless it is one that the caller named, and with ``api_version``.

    >>> vertex_base_url(Request(model="vertex_ai/m", messages=[], params={"vertex_location": "us-east5"}), VERTEX_URL)
    'https://us-east5-aiplatform.googleapis.com/v1'
    """
    if base_url == VERTEX_URL:
        location = _location(request)
        if location in ("us", "eu"):
            base_url = base_url.replace("aiplatform.", f"aiplatform.{location}.rep.", 1)
        elif location != "global":
            base_url = base_url.replace("aiplatform.", f"{location}-aiplatform.", 1)
    return _at_version(request, base_url)


def vertex_path(request: Request) -> str:
    """The path of the project's location.

    Raises:
        BadRequestError: no project is known.
    """
    return f"/projects/{quote(_project(request))}/locations/{quote(_location(request))}"


_PROJECTS: Final = ("VERTEXAI_PROJECT", "GOOGLE_CLOUD_PROJECT")


def _project(request: Request) -> str:
    """The project: ``vertex_project=``, ``VERTEXAI_PROJECT``, ``GOOGLE_CLOUD_PROJECT``, or that of the credentials.

    Raises:
        BadRequestError: there is none.
    """
    project = _said(request, "vertex_project", _PROJECTS) or default_project(request)
    if project:
        return project
    raise BadRequestError(
        "Vertex AI needs a project: pass vertex_project=, or set VERTEXAI_PROJECT.",
        llm_provider=request.provider,
        model=request.model,
        param="vertex_project",
    )


def _location(request: Request) -> str:
    """The location: ``vertex_location=``, ``VERTEXAI_LOCATION``, ``GOOGLE_CLOUD_LOCATION``, or ``global``."""
    return _said(request, "vertex_location", ("VERTEXAI_LOCATION", "GOOGLE_CLOUD_LOCATION")) or "global"


def _said(request: Request, name: str, variables: Iterable[str]) -> str:
    given = request.params.get(name) or next((value for name in variables if (value := os.environ.get(name))), "")
    return str(given)


def _at_version(request: Request, base_url: str) -> str:
    version = request.params.get("api_version")
    return f"{_VERSION.sub('', base_url)}/{version}" if version else base_url


def _resource(request: Request) -> str:
    model = request.wire_model or request.model
    return quote(model if model.startswith(("models/", "tunedModels/")) else f"models/{model}")


def _streaming(request: Request, base_url: str, path: str, api_key: str | None, provider: Provider) -> HTTPRequest:
    url = endpoint(base_url, f"{path}:streamGenerateContent")
    if "alt" not in (request.params.get("extra_query") or ()):
        url += "&alt=sse" if "?" in url else "?alt=sse"
    return json_request(request, provider, url, _body(request, provider), api_key)


# -- the body


def _body(request: Request, provider: Provider) -> dict[str, Any]:
    given = {name: value for name, value in parameters(request, provider).items() if name not in VERTEX_PARAMETERS}
    body = _Messages(request).body()
    configuration: dict[str, Any] = {}
    for name in list(given):
        named = _RENAMED.get(name) or _camel(name)
        if name in _RENAMED or named in _CONFIGURATION:
            value = given.pop(name)
            if value is not None:
                configuration[named] = value
    stop = given.pop("stop", None)
    if stop is not None:
        configuration["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    _set_response_format(configuration, given.pop("response_format", None))
    modalities = given.pop("modalities", None)
    if modalities:
        configuration["responseModalities"] = [str(modality).upper() for modality in modalities]
    audio = given.pop("audio", None)
    if audio:
        speaker = mapping(audio).get("voice")
        if not speaker:
            raise unsupported(request, "audio", " without a voice")
        voice = {"prebuiltVoiceConfig": {"voiceName": speaker}}
        configuration["speechConfig"] = {"voiceConfig": voice}
    thinking = _unless_dropped(
        request, lambda: _thinking(request, given.pop("reasoning_effort", None), given.pop("thinking", None))
    )
    if thinking:
        configuration.setdefault("thinkingConfig", thinking)
    configuration |= given.pop("generationConfig", None) or given.pop("generation_config", None) or {}
    tools = _tools(given.pop("tools", None), web_search=given.pop("web_search_options", None))
    if tools:
        body["tools"] = tools
    choice = _unless_dropped(request, lambda: _tool_choice(request, given.pop("tool_choice", None)))
    if choice:
        body["toolConfig"] = {"functionCallingConfig": choice}
    if given.pop("parallel_tool_calls", None) is False and tools and not request.params.get("drop_params"):
        raise unsupported(request, "parallel_tool_calls", "=False")
    if configuration:
        body["generationConfig"] = configuration
    return {**body, **given}


def _unless_dropped(request: Request, made: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``made`` gives; nothing where the provider has not such a value, and ``drop_params`` was asked for."""
    try:
        return made()
    except UnsupportedParamsError:
        if not request.params.get("drop_params"):
            raise
        return {}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _set_response_format(configuration: dict[str, Any], wanted: Any) -> None:
    if isinstance(wanted, type) and issubclass(wanted, BaseModel):
        wanted = json_schema(wanted)
    if not isinstance(wanted, Mapping):
        return
    fields = cast("Mapping[str, Any]", wanted)
    if fields.get("type") not in ("json_schema", "json_object"):
        return
    configuration["responseMimeType"] = "application/json"
    schema: Any = mapping(fields.get("json_schema")).get("schema") or fields.get("response_schema")
    if schema:
        configuration["responseJsonSchema"] = schema


def _thinking(request: Request, effort: Any, thinking: Any) -> dict[str, Any]:
    """How much to think, and that the thoughts are to be told."""
    model = request.wire_model or request.model
    if isinstance(thinking, Mapping):
        fields = cast("Mapping[str, Any]", thinking)
        if fields.get("type") == "disabled":
            return {"thinkingBudget": 0}
        budget = fields.get("budget_tokens")
        told: dict[str, Any] = {"includeThoughts": True}
        if budget is not None or fields.get("type") == "adaptive":
            told["thinkingBudget"] = -1 if budget is None else budget
        return told
    if effort is None:
        return {}
    if re.search(r"gemini-2\.|gemini-1\.", model):
        if effort not in _BUDGETS:
            raise unsupported(request, "reasoning_effort", f" {effort!r}")
        budget = _BUDGETS[effort]
        if not budget and "pro" in model:
            budget = 128  # the least there is: it cannot be switched off
        return {"thinkingBudget": budget, **({"includeThoughts": True} if budget else {})}
    level = _LEVELS.get(effort, effort)
    if level == "minimal" and "pro" in model:
        level = "low"
    return {"thinkingLevel": level, **({} if effort == "none" else {"includeThoughts": True})}


def _tools(given: Any, *, web_search: Any) -> list[dict[str, Any]]:
    """Functions in one declaration; tools in Gemini's own shape, as ``{"googleSearch": {}}``, as they are."""
    functions: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    for tool in _items(given):
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, Mapping):
            tools.append({name: value for name, value in tool.items() if name != "type"})
            continue
        fields = cast("Mapping[str, Any]", function)
        declared: dict[str, Any] = {"name": fields.get("name")}
        if fields.get("description"):
            declared["description"] = fields["description"]
        schema = mapping(fields.get("parameters"))
        if schema and (schema.get("properties") or schema.get("type") != "object"):
            declared["parametersJsonSchema"] = schema
        functions.append(declared)
    if web_search is not None:
        tools.append({"googleSearch": {}})
    return [{"functionDeclarations": functions}, *tools] if functions else tools


def _tool_choice(request: Request, choice: Any) -> dict[str, Any]:
    if choice is None:
        return {}
    if isinstance(choice, str):
        mode = {"none": "NONE", "auto": "AUTO", "required": "ANY", "any": "ANY", "validated": "VALIDATED"}.get(choice)
        if mode is None:
            raise unsupported(request, "tool_choice", f" {choice!r}")
        return {"mode": mode}
    fields = mapping(choice)
    allowed = fields.get("allowed_tools")
    if isinstance(allowed, Mapping):
        some = cast("Mapping[str, Any]", allowed)
        mode = "ANY" if some.get("mode") == "required" else "VALIDATED"
        return {"mode": mode, "allowedFunctionNames": [_name_of(tool) for tool in _items(some.get("tools"))]}
    name = _name_of(fields)
    if not name:
        raise unsupported(request, "tool_choice", f" {fields!r}")
    return {"mode": "ANY", "allowedFunctionNames": [name]}


def _name_of(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return cast("Mapping[str, Any]", function).get("name") if isinstance(function, Mapping) else tool.get("name")


# -- messages


class _Messages:
    """The messages as contents: one of the user or of the model in turn."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._contents: list[dict[str, Any]] = []
        self._system: list[_Part] = []
        self._called: dict[str, tuple[str, str | None]] = {}  # by our ids: the function, and the provider's own id
        self._kind = ""  # of the last content: only like is joined to like
        model = request.wire_model or request.model
        self._files_in_results = not re.search(r"gemini-[12]\.", model)

    def body(self) -> dict[str, Any]:
        """The members of the body that the messages make."""
        for message in _items(self._request.messages):
            role = message.get("role")
            if role in ("system", "developer"):
                self._system += self._content(message.get("content"))
            elif role == "assistant":
                self._add("model", "model", self._answer(message))
            elif role in ("tool", "function"):
                self._add("tool", "user", self._result(message))
            else:
                self._add("user", "user", self._content(message.get("content")))
        if not self._contents and self._system:
            return {"contents": [{"role": "user", "parts": self._system}]}
        body: dict[str, Any] = {"contents": self._contents}
        if self._system:
            body["systemInstruction"] = {"parts": self._system}
        return body

    def _add(self, kind: str, role: str, parts: list[_Part]) -> None:
        if not parts:
            return
        if kind == self._kind:
            self._contents[-1]["parts"] += parts
        else:
            self._contents.append({"role": role, "parts": parts})
        self._kind = kind

    def _content(self, content: Any) -> list[_Part]:
        if isinstance(content, str):
            return [{"text": content}] if content else []
        return [self._part(part) for part in _items(content)]

    def _part(self, part: Mapping[str, Any]) -> _Part:
        """A content part as Gemini's; one of a type that is not known is taken for Gemini's own."""
        match part.get("type"):
            case "text" | "input_text" | "output_text":
                return {"text": part.get("text") or ""}
            case "refusal":
                return {"text": part.get("refusal") or ""}
            case "image_url" | "video_url" | "input_image" as kind:
                said = part.get(kind if kind != "input_image" else "image_url")
                fields: Mapping[str, Any] = {"url": said} if isinstance(said, str) else mapping(said)
                return self._file(str(fields.get("url") or ""), fields.get("format"))
            case "input_audio":
                fields = mapping(part.get("input_audio"))
                if not fields.get("data"):
                    raise self._refusal("An audio part of a message has no data.")
                kind = str(fields.get("format") or "wav")
                return _data(_AUDIO.get(kind, kind if "/" in kind else f"audio/{kind}"), str(fields.get("data") or ""))
            case "file":
                fields = mapping(part.get("file"))
                named = mimetypes.guess_type(str(fields.get("filename") or ""))[0]
                kind = fields.get("format") or named
                data = fields.get("file_data")
                if data and not str(data).startswith("data:"):
                    return _data(kind or "application/octet-stream", str(data))
                return self._file(str(data or fields.get("file_id") or ""), kind)
            case _:
                return dict(part)

    def _file(self, url: str, kind: Any) -> _Part:
        """What a URL stands for: data in itself, or a file that the provider fetches."""
        found = _DATA_URL.fullmatch(url)
        if found:
            return _data(kind or found["kind"] or "application/octet-stream", found["data"])
        if not url or url.startswith("data:"):
            raise self._refusal("A file among the messages has neither base64 data nor an address.")
        kind = kind or mimetypes.guess_type(url.partition("?")[0])[0]
        return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": url}}

    def _answer(self, message: Mapping[str, Any]) -> list[_Part]:
        """An assistant's message, with the signatures that came with it where they came."""
        specific = mapping(message.get("provider_specific_fields"))
        signatures: list[Any] = [*(specific.get("thought_signatures") or ())]
        parts: list[_Part] = []
        for block in _items(message.get("thinking_blocks")):
            signature = block.get("signature")
            # Only Gemini's own are among them; what another provider has signed it refuses.
            if signature in signatures:
                signatures.remove(signature)
                parts.append({"text": block.get("thinking") or "", "thought": True, "thoughtSignature": signature})
        parts += [dict(part) for part in _items(specific.get("parts"))]
        texts = self._content(message.get("content"))
        if message.get("refusal"):
            texts.append({"text": message["refusal"]})
        if signatures and texts and "text" in texts[-1]:
            texts[-1]["thoughtSignature"] = signatures.pop()
        parts += texts
        for image in _items(message.get("images")):
            part = self._part(image)
            if image.get("thought_signature"):
                part["thoughtSignature"] = image["thought_signature"]
            parts.append(part)
        parts += [{"text": "", "thoughtSignature": signature} for signature in signatures]
        parts += [self._call(call) for call in _items(message.get("tool_calls"))]
        function = message.get("function_call")
        if function:
            parts.append(self._call({"function": function}))
        return parts

    def _call(self, call: Mapping[str, Any]) -> _Part:
        function = mapping(call.get("function"))
        specific = mapping(call.get("provider_specific_fields"))
        name, own_id = str(function.get("name") or ""), specific.get("function_call_id")
        self._called[str(call.get("id") or "")] = (name, own_id)
        part: _Part = {
            "functionCall": {**({"id": own_id} if own_id else {}), "name": name, "args": self._args(function)}
        }
        # The second is how Google's own OpenAI-compatible service says it.
        google = mapping(mapping(call.get("extra_content")).get("google"))
        signature = specific.get("thought_signature") or google.get("thought_signature")
        if signature:
            part["thoughtSignature"] = signature
        return part

    def _args(self, function: Mapping[str, Any]) -> Any:
        said = function.get("arguments")
        if not isinstance(said, str):
            return said or {}
        try:
            return json.loads(said) if said.strip() else {}
        except ValueError:
            reason = (
                f"The arguments of a call of {function.get('name')!r} among the messages are not JSON: {said[:200]}"
            )
        raise self._refusal(reason)

    def _result(self, message: Mapping[str, Any]) -> list[_Part]:
        """A tool's result. Gemini knows it by the function's name."""
        call_id = str(message.get("tool_call_id") or "")
        name, own_id = self._called.get(call_id, ("", None))
        name = name or str(message.get("name") or "")
        if not name:
            raise self._refusal(f"No message before the tool result calls {call_id!r}, and it has no name.")
        content = message.get("content")
        parts = self._content(content)
        files = [part for part in parts if "text" not in part]
        text = "".join(part["text"] for part in parts if "text" in part)
        response: _Part = {**({"id": own_id} if own_id else {}), "name": name, "response": _response(text)}
        if files and self._files_in_results:
            return [{"functionResponse": {**response, "parts": files}}]
        return [{"functionResponse": response}, *files]

    def _refusal(self, message: str) -> BadRequestError:
        return BadRequestError(message, llm_provider=self._request.provider, model=self._request.model)


def _data(kind: Any, data: str) -> _Part:
    return {"inlineData": {"mimeType": kind, "data": data}}


def _response(text: str) -> dict[str, Any]:
    """A result as the object that Gemini wants; what is none goes under ``result``."""
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        said = text
    return cast("dict[str, Any]", said) if isinstance(said, dict) else {"result": said}


def _items(given: Any) -> list[Mapping[str, Any]]:
    """The members of a list of mappings or models."""
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        return []
    return [mapping(item) for item in cast("Sequence[object]", given)]
