"""Requests in the OpenAI shape as bodies of Bedrock's Converse."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from pydantic import BaseModel

from rxllm.exceptions import BadRequestError
from rxllm.providers._anthropic_request import messages_body
from rxllm.providers._base import Provider
from rxllm.providers._requests import content_parts, json_schema, mapping, parameters, signed_thoughts, unsupported
from rxllm.types import Request

__all__ = ["UNSUPPORTED", "converse_body", "model_name"]

UNSUPPORTED: Final = frozenset(
    "audio frequency_penalty function_call functions logit_bias logprobs modalities prediction presence_penalty seed"
    " store top_logprobs verbosity web_search_options".split()
)
"""Parameters in the OpenAI shape that Converse has not, whatever the model."""

# Members of a Converse request, which are passed on as they are.
_CONVERSE: Final = frozenset(
    "additionalModelResponseFieldPaths guardrailConfig performanceConfig promptVariables requestMetadata"
    " serviceTier".split()
)
_NATIVE_BLOCKS: Final = frozenset(
    "text image document video audio toolUse toolResult guardContent cachePoint reasoningContent citationsContent"
    " searchResult".split()
)
_FORMATS: Final = {
    "image": frozenset({"png", "jpeg", "gif", "webp"}),
    "video": frozenset({"mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"}),
    "audio": frozenset("mp3 opus wav aac flac mp4 ogg mkv mka x-aac m4a mpeg mpga pcm webm".split()),
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_OTHER_NAMES: Final = {"jpg": "jpeg", "quicktime": "mov", "x-matroska": "mkv", "3gpp": "three_gp", "x-wav": "wav",
                       "x-flv": "flv", "x-ms-wmv": "wmv"}  # fmt: skip


def model_name(wire_model: str) -> str:
    """A model's own name: without the region, or what the ARN says, before it.

    >>> model_name("us.anthropic.claude-sonnet-4-20250514-v1:0")
    'anthropic.claude-sonnet-4-20250514-v1:0'
    """
    name = wire_model.rpartition("/")[2]
    return re.sub(r"^(?:us-gov|us|eu|apac|ap|jp|au|ca|sa|me|af|global)\.", "", name)


def converse_body(request: Request, provider: Provider) -> dict[str, Any]:
    """The body that asks for ``request`` by Converse.

    System and developer messages, wherever they stand, become ``system``. Messages of the same role, and the results of
    tools, are put together, since roles have to alternate. ``cache_control`` becomes a cache point, a JSON schema
    ``outputConfig``, ``metadata`` ``requestMetadata``. Parameters that Converse has not by name go to the model in
    ``additionalModelRequestFields``. Images and files are data URLs or ``s3://`` addresses.

    Raises:
        UnsupportedParamsError: Converse, or the model, has not a parameter.
        BadRequestError: a message cannot be said.

    >>> from rxllm.providers import resolve
    >>> provider, model = resolve("bedrock/amazon.nova-lite-v1:0")
    >>> messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    >>> request = Request("bedrock/amazon.nova-lite-v1:0", messages, {"max_tokens": 9}, provider.name, model)
    >>> body = converse_body(request, provider)
    >>> body["messages"], body["system"], body["inferenceConfig"]
    ([{'role': 'user', 'content': [{'text': 'Hello'}]}], [{'text': 'Be brief.'}], {'maxTokens': 9})
    """
    given = parameters(request, replace(provider, unsupported=provider.unsupported | UNSUPPORTED))
    given = {name: value for name, value in given.items() if not name.startswith("aws_")}
    parts = _Parameters(request, provider, given)
    talk = _Conversation(request)
    body: dict[str, Any] = {"messages": talk.messages}
    if talk.system:
        body["system"] = talk.system
    return {**body, **parts.body(used_tools=talk.used_tools)}


class _Parameters:
    """The parameters of a request, taken one after the other."""

    def __init__(self, request: Request, provider: Provider, given: dict[str, Any]) -> None:
        self._request = request
        self._provider = provider
        self._given = given
        self._drop = bool(request.params.get("drop_params"))
        self._name = model_name(request.wire_model or request.model)
        self._claude = "claude" in self._name
        self._more: dict[str, Any] = {}

    def body(self, *, used_tools: bool) -> dict[str, Any]:
        given = self._given
        if given.pop("n", None) not in (None, 1) and not self._drop:
            raise unsupported(self._request, "n", " above 1")
        body = {name: given.pop(name) for name in _CONVERSE if name in given}
        inference = self._inference()
        if inference:
            body["inferenceConfig"] = inference
        tools = self._tools(used_tools=used_tools)
        if tools:
            body["toolConfig"] = tools
        output = {**self._output(given.pop("response_format", None)), **mapping(given.pop("outputConfig", None))}
        if output:
            body["outputConfig"] = output
        if metadata := given.pop("metadata", None):
            body["requestMetadata"] = {**metadata, **body.get("requestMetadata", {})}
        tier = given.pop("service_tier", None)
        if tier not in (None, "auto"):
            body["serviceTier"] = {"type": tier}
        self._user(given.pop("user", None))
        self._effort(given.pop("reasoning_effort", None), inference)
        if "top_k" in given and "nova" in self._name:
            self._more["inferenceConfig"] = {"topK": given.pop("top_k")}
        native: dict[str, Any] = given.pop("additionalModelRequestFields", None) or {}
        more = {**self._more, **given, **native}
        if more:
            body["additionalModelRequestFields"] = more
        return body

    def _inference(self) -> dict[str, Any]:
        given = self._given
        limit, whole, stop = (given.pop(name, None) for name in ("max_tokens", "max_completion_tokens", "stop"))
        said = {
            "maxTokens": limit if limit is not None else whole,
            "temperature": given.pop("temperature", None),
            "topP": given.pop("top_p", None),
            "stopSequences": [stop] if isinstance(stop, str) else stop,
            **mapping(given.pop("inferenceConfig", None)),
        }
        return {name: value for name, value in said.items() if value is not None}

    def _tools(self, *, used_tools: bool) -> dict[str, Any]:
        given = self._given
        native: dict[str, Any] = given.pop("toolConfig", None) or {}
        tools, choice = given.pop("tools", None), given.pop("tool_choice", None)
        parallel = given.pop("parallel_tool_calls", None)
        converse: list[dict[str, Any]] = []
        for tool in map(mapping, tools or ()):
            told = _tool(tool)
            if told is None:
                self._more.setdefault("tools", []).append(tool)  # the model's own
                continue
            converse.append(told)
            if tool.get("cache_control"):
                converse.append(_cache_point(tool["cache_control"]))
        if not converse:
            return native
        if choice == "none":
            if not used_tools:
                return native
            # With calls among the messages Converse demands the tools.
            if not self._drop:
                raise unsupported(self._request, "tool_choice", " 'none' where tools have been called")
            choice = None
        config: dict[str, Any] = {"tools": converse}
        chosen = self._tool_choice(choice)
        if chosen:
            config["toolChoice"] = chosen
        if parallel is False:
            if self._claude:
                kind, *_ = chosen or ("auto",)
                self._more["tool_choice"] = {"type": kind, **chosen.get(kind, {}), "disable_parallel_tool_use": True}
            elif not self._drop:
                raise unsupported(self._request, "parallel_tool_calls", " to turn off for this model")
        return {**config, **native}

    def _tool_choice(self, choice: Any) -> dict[str, Any]:
        if choice is None:
            return {}
        if isinstance(choice, str):
            known = {"auto": "auto", "required": "any", "any": "any"}.get(choice)
            if known:
                return {known: {}}
        else:
            fields = mapping(choice)
            name = mapping(fields.get("function")).get("name") or fields.get("name")
            if name:
                return {"tool": {"name": name}}
            if {"auto", "any", "tool"} & set(fields):
                return fields
        if self._drop:
            return {}
        raise unsupported(self._request, "tool_choice", f" {choice!r}")

    def _output(self, wanted: Any) -> dict[str, Any]:
        if wanted is None:
            return {}
        if isinstance(wanted, type) and issubclass(wanted, BaseModel):
            wanted = json_schema(wanted)
        fields = mapping(wanted)
        kind = fields.get("type")
        said = mapping(fields.get("json_schema"))
        if kind == "json_schema" and isinstance(said.get("schema"), Mapping):
            schema: dict[str, Any] = {"schema": json.dumps(said["schema"])}
            schema.update((name, said[name]) for name in ("name", "description") if said.get(name))
            return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        if kind == "text" or self._drop:
            return {}
        raise unsupported(self._request, "response_format", f" of the type {kind!r}; give it a JSON schema")

    def _user(self, user: Any) -> None:
        if user is None:
            return
        if self._claude:
            self._more["metadata"] = {"user_id": user}
        elif not self._drop:
            raise unsupported(self._request, "user", " for this model")

    def _effort(self, effort: Any, inference: Mapping[str, Any]) -> None:
        """``reasoning_effort`` as each family of models takes it."""
        if effort is None:
            return
        if self._claude:
            # As Anthropic itself takes it, with the budget or the effort that its version has.
            params = {"reasoning_effort": effort, "drop_params": self._drop}
            if "maxTokens" in inference:
                params["max_tokens"] = inference["maxTokens"]
            asked = messages_body(replace(self._request, params=params, messages=[]), self._provider)
            self._more.update({name: asked[name] for name in ("thinking", "output_config") if name in asked})
        elif "nova" in self._name:
            config = {"type": "disabled"} if effort == "none" else {"type": "enabled", "maxReasoningEffort": effort}
            self._more["reasoningConfig"] = config
        else:
            self._more["reasoning_effort"] = effort


class _Conversation:
    """The messages, and apart from them the system prompt."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._documents = 0
        self.messages: list[dict[str, Any]] = []
        self.system: list[dict[str, Any]] = []
        self.used_tools = False
        for message in map(mapping, request.messages):
            role = message.get("role")
            if role in ("system", "developer"):
                self.system += self._marked(message, self._blocks(message))
            elif role == "assistant":
                self._add("assistant", self._marked(message, self._assistant(message)))
            elif role in ("tool", "function"):
                self._add("user", self._marked(message, self._result(message)))
            elif role == "user":
                self._add("user", self._marked(message, self._blocks(message)))
            else:
                raise self._refused(f"Bedrock has no messages of the role {role!r}")

    def _add(self, role: str, blocks: list[dict[str, Any]]) -> None:
        if not blocks:
            return
        self.used_tools = self.used_tools or any("toolUse" in block or "toolResult" in block for block in blocks)
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += blocks
        else:
            self.messages.append({"role": role, "content": blocks})

    def _marked(self, message: dict[str, Any], blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A message's own ``cache_control`` is a cache point behind it."""
        if blocks and message.get("cache_control"):
            blocks.append(_cache_point(message["cache_control"]))
        return blocks

    def _assistant(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        blocks: list[dict[str, Any]] = []
        for thought in signed_thoughts(message):
            if thought.get("type") == "redacted_thinking":
                blocks.append({"reasoningContent": {"redactedContent": thought.get("data")}})
            else:
                text = {"text": thought.get("thinking") or "", "signature": thought["signature"]}
                blocks.append({"reasoningContent": {"reasoningText": text}})
        blocks += self._blocks(message)
        if message.get("refusal") and not message.get("content"):
            blocks.append({"text": message["refusal"]})
        for call in map(mapping, message.get("tool_calls") or ()):
            function = mapping(call.get("function"))
            use = {"toolUseId": _call_id(call.get("id")), "name": function.get("name")}
            blocks.append({"toolUse": {**use, "input": _arguments(function.get("arguments"))}})
        return blocks

    def _result(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        call = message.get("tool_call_id") or message.get("name")
        blocks = self._blocks(message)
        content = [block for block in blocks if "cachePoint" not in block]
        result: dict[str, Any] = {"toolUseId": _call_id(call), "content": content}
        if message.get("status") in ("success", "error"):
            result["status"] = message["status"]
        elif message.get("is_error"):
            result["status"] = "error"
        # Within a result there are no cache points: the first of them comes behind it.
        return [{"toolResult": result}, *[block for block in blocks if "cachePoint" in block][:1]]

    def _blocks(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """The content as blocks; Bedrock refuses blank texts, so they are left out."""
        blocks: list[dict[str, Any]] = []
        for part in content_parts(message):
            block = self._block(part)
            if "text" in block and not str(block["text"]).strip():
                continue
            blocks.append(block)
            if part.get("cache_control"):
                blocks.append(_cache_point(part["cache_control"]))
        return blocks

    def _block(self, part: dict[str, Any]) -> dict[str, Any]:
        kind = part.get("type")
        inner = part.get(str(kind))
        match kind:
            case "text" | "refusal":
                return {"text": inner}
            case "image_url" | "video_url":
                url = inner if isinstance(inner, str) else mapping(inner).get("url")
                return self._media(url, str(mapping(inner).get("format") or ""), kind.removesuffix("_url"))
            case "input_audio":
                audio = mapping(inner)
                return {"audio": {"format": audio.get("format") or "wav", "source": {"bytes": audio.get("data")}}}
            case "file":
                return self._file(mapping(inner))
            case None if _NATIVE_BLOCKS & set(part):
                return part  # Converse's own
            case _:
                raise self._refused(f"Bedrock has no part of the type {kind!r} in a message")

    def _file(self, file: dict[str, Any]) -> dict[str, Any]:
        url, name = file.get("file_data") or file.get("file_id"), str(file.get("filename") or "")
        return self._media(url, str(file.get("format") or ""), "document", name)

    def _media(self, url: Any, media: str, kind: str, name: str = "") -> dict[str, Any]:
        """An image, a video, an audio or a document, by what its type says, else its ending, else its place."""
        if not isinstance(url, str) or not url.startswith(("data:", "s3://")):
            raise self._refused(f"Bedrock takes a part of the type {kind!r} as a data: URL or at an s3:// address only")
        source: dict[str, Any]
        if url.startswith("s3://"):
            source = {"s3Location": {"uri": url}}
        else:
            head, _, data = url[5:].partition(",")
            if not head.endswith(";base64"):
                raise self._refused(f"A part of the type {kind!r} is a data: URL that is not base64")
            media = media or head.partition(";")[0]
            source = {"bytes": data}
        ending = (name or url[:200] if url.startswith("s3://") else name).rpartition(".")[2].lower()
        document = _DOCUMENTS.get(media) or (ending if ending in _DOCUMENTS.values() else None)
        main, _, sub = media.partition("/")
        sub = _OTHER_NAMES.get(sub or ending, sub or ending)
        if main in _FORMATS and sub:
            kind = main
        if kind == "document" and document is None:
            kind = next((kind for kind in ("image", "video") if sub in _FORMATS[kind]), kind)
        if kind != "document":
            if sub not in _FORMATS[kind]:
                raise self._refused(f"Bedrock takes no {kind} of the format {sub or media!r}")
            return {kind: {"format": sub, "source": source}}
        if document is None:
            raise self._refused(f"Bedrock takes no document of the type {media or ending!r}")
        self._documents += 1
        plain = re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9\s()\[\]-]", " ", name.rpartition(".")[0] or name)).strip()
        named = plain[:200] or f"document-{self._documents}"
        return {"document": {"format": document, "name": named, "source": source}}

    def _refused(self, message: str) -> BadRequestError:
        return BadRequestError(f"{message}.", llm_provider=self._request.provider, model=self._request.model)


def _tool(tool: dict[str, Any]) -> dict[str, Any] | None:
    """A function in OpenAI's shape as a tool of Converse's; None where it is a tool of the model's own."""
    if {"toolSpec", "systemTool", "cachePoint"} & set(tool):
        return tool
    if tool.get("type") != "function":
        return None
    said = mapping(tool.get("function")) or tool
    schema = mapping(said.get("parameters"))
    spec: dict[str, Any] = {"name": said.get("name")}
    if said.get("description"):
        spec["description"] = said["description"]
    spec["inputSchema"] = {"json": {"type": "object", **(schema or {"properties": {}})}}
    if said.get("strict") is not None:
        spec["strict"] = bool(said["strict"])
    return {"toolSpec": spec}


def _cache_point(control: Any) -> dict[str, Any]:
    ttl = mapping(control).get("ttl")
    return {"cachePoint": {"type": "default", **({"ttl": ttl} if ttl else {})}}


def _call_id(given: Any) -> str:
    """The id of a call in the letters and the length that Converse allows: another provider's may have others."""
    return re.sub(r"[^a-zA-Z0-9_.:-]", "_", str(given or ""))[:64]


def _arguments(text: Any) -> Any:
    """The arguments of a call as an object; what is none is wrapped, as Anthropic's documentation has it."""
    if isinstance(text, str):
        try:
            text = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError):
            return {"INVALID_JSON": text}
    return cast("object", text) if isinstance(text, dict) else {"INVALID_JSON": json.dumps(text, default=str)}
