"""What the simulator is asked: the body of a chat completion request, read and refused as a provider does."""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

__all__ = ["ChatMessage", "ChatRequest", "FunctionTool", "RefusedError", "read_request"]


class RefusedError(Exception):
    """The request is refused: an HTTP status and the error object that goes with it."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param

    @property
    def body(self) -> dict[str, Any]:
        """The response's body."""
        error = {"message": str(self), "type": "invalid_request_error", "param": self.param, "code": self.code}
        return {"error": error}


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class _CalledFunction(_Strict):
    name: str
    arguments: str


class _ToolCall(_Strict):
    id: str
    function: _CalledFunction


class ChatMessage(_Strict):
    """One message of the conversation."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None

    @property
    def text(self) -> str:
        """The text of the message, its parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(str(part.get("text") or "") for part in self.content or ())


class FunctionTool(_Strict):
    """A function that may be called."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]+$", max_length=64)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class _Tool(_Strict):
    type: Literal["function"]
    function: FunctionTool


class _FunctionName(_Strict):
    name: str


class _ForcedTool(_Strict):
    type: Literal["function"]
    function: _FunctionName


class _StreamOptions(_Strict):
    include_usage: bool | None = None


class _JSONSchema(_Strict):
    name: str
    json_schema: dict[str, Any] | bool = Field(default=True, alias="schema")


class _ResponseFormat(_Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JSONSchema | None = None


class ChatRequest(_Strict):
    """A request that can be answered. ``delay`` is the pace in seconds a chunk."""

    model: str
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | _ForcedTool | None = None
    parallel_tool_calls: bool | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    stop: str | list[str] | None = None
    seed: int | None = None
    response_format: _ResponseFormat | None = None
    delay: float = Field(default=0.02, ge=0, allow_inf_nan=False)

    @property
    def prompt(self) -> str:
        """The text of the last user message, empty where there is none."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def functions(self) -> list[FunctionTool]:
        """The functions that may be called: all of them, the one that is forced, or none."""
        tools = [tool.function for tool in self.tools or ()]
        if self.tool_choice == "none":
            return []
        if isinstance(self.tool_choice, _ForcedTool):
            return [tool for tool in tools if tool.name == self.tool_choice.function.name]
        return tools

    @property
    def tool_results(self) -> list[tuple[str, str]]:
        """The tool messages that the conversation ends with: the function's name and what it gave."""
        names = {call.id: call.function.name for message in self.messages for call in message.tool_calls or ()}
        results: list[tuple[str, str]] = []
        for message in reversed(self.messages):
            if message.role != "tool":
                break
            results.append((names.get(message.tool_call_id or "", ""), message.text))
        return results[::-1]

    @property
    def schema_of_answer(self) -> dict[str, Any] | bool | None:
        """The JSON schema that the answer's text has to satisfy, ``None`` where any text will do."""
        if self.response_format is None or self.response_format.type == "text":
            return None
        if self.response_format.json_schema is None:
            return {"type": "object", "properties": {"answer": {"type": "string"}}}
        return self.response_format.json_schema.json_schema

    @property
    def stop_sequences(self) -> list[str]:
        """The texts that end the answer before them."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [sequence for sequence in stop if sequence]

    @property
    def token_limit(self) -> int | None:
        """How many tokens a choice may have."""
        return self.max_completion_tokens or self.max_tokens


def read_request(body: bytes, *, models: Sequence[str]) -> ChatRequest:
    """The request that ``body`` holds.

    Raises:
        RefusedError: it is not JSON, lacks something, has something of the wrong type, or wants a model that is not one
            of ``models``.

    >>> read_request(b'{"model": "echo", "messages": [{"role": "user", "content": "Hi"}]}', models=["echo"]).prompt
    'Hi'
    """
    try:
        data: Any = json.loads(body)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise RefusedError("We could not parse the JSON body of your request: it has to be a JSON object.")
    try:
        request = ChatRequest.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    else:
        _check(request, models)
        return request
    raise _refused(first["type"], first["loc"], first["msg"])


def _refused(kind: str, location: tuple[int | str, ...], reason: str) -> RefusedError:
    param = ""
    for part in location:
        if isinstance(part, int):
            param += f"[{part}]"
        elif re.fullmatch("[a-z_]+", part) and part != "str":  # not the name of a union's member
            param += f".{part}" if param else part
    reason = reason[:1].lower() + reason[1:]
    if kind == "missing":
        return RefusedError(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    if kind.endswith("_type"):
        return RefusedError(f"Invalid type for '{param}': {reason}.", code="invalid_type", param=param)
    return RefusedError(f"Invalid '{param}': {reason}.", code="invalid_value", param=param)


def _check(request: ChatRequest, models: Sequence[str]) -> None:
    """What no single field shows."""
    if request.model not in models:
        raise RefusedError(
            f"The model `{request.model}` does not exist. The simulator has {', '.join(models)}.",
            status=404,
            code="model_not_found",
            param="model",
        )
    if request.stream_options is not None and not request.stream:
        raise RefusedError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    if request.tool_choice is not None and not request.tools:
        raise RefusedError("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if isinstance(request.tool_choice, _ForcedTool) and not request.functions:
        name = request.tool_choice.function.name
        raise RefusedError(f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")
    wanted = request.response_format
    if wanted and wanted.type == "json_schema" and wanted.json_schema is None:
        param = "response_format.json_schema"
        raise RefusedError(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    _check_tool_messages(request.messages)


def _check_tool_messages(messages: list[ChatMessage]) -> None:
    """Every tool call is answered by the messages right after it, and every tool message answers one."""
    open_calls: set[str] = set()
    for index, message in enumerate(messages):
        param = f"messages[{index}]"
        if message.role == "tool":
            if message.tool_call_id not in open_calls:
                raise RefusedError(
                    "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
                    param=f"{param}.role",
                )
            open_calls.remove(message.tool_call_id)
            continue
        if open_calls:
            break
        if message.content is None and message.role != "assistant":
            raise RefusedError(
                f"Invalid value for 'content': expected a string, got null at '{param}'.", param=f"{param}.content"
            )
        open_calls = {call.id for call in message.tool_calls or ()}
    if open_calls:
        raise RefusedError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. These did not have response messages: {', '.join(sorted(open_calls))}.",
            param="messages",
        )
