"""What everyone speaks: the request, the chunks it comes back as, and the whole response.

The names and shapes are the documented ones of OpenAI's chat completions and of LiteLLM. Every model keeps the fields
it does not know and can be read both ways: ``chunk.choices[0].delta`` and ``chunk["choices"][0]["delta"]``.
"""

# ruff: noqa: PLW0108  pydantic looks into a class that makes a default, at import, and into a lambda it does not
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from rxllm._headers import rate_limits_of, request_id_of
from rxllm._secrets import hidden_parameters
from rxllm.exceptions import APIResponseValidationError

__all__ = [
    "BlankChoices",
    "ChatCompletionDeltaToolCall",
    "ChatCompletionMessageToolCall",
    "Choices",
    "CodeBlock",
    "CompletionTokensDetails",
    "Delta",
    "Function",
    "FunctionDelta",
    "Message",
    "ModelResponse",
    "ModelResponseStream",
    "PartialToolCall",
    "PromptTokensDetails",
    "Request",
    "Restart",
    "StreamingChoices",
    "ToolResult",
    "Usage",
]


class _Shape(BaseModel):
    """A model that keeps unknown fields and can be read like a dictionary too."""

    # Providers send fields named model_...; none of them is a method of ours to protect.
    # Built when first used: importing rxllm would take twice as long.
    model_config = ConfigDict(extra="allow", protected_namespaces=(), defer_build=True)

    def __getitem__(self, name: str) -> Any:
        if name in type(self).model_fields or name in (self.__pydantic_extra__ or ()):
            return getattr(self, name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in type(self).model_fields or name in (self.__pydantic_extra__ or ())

    def get(self, name: str, default: Any = None) -> Any:
        """The field called ``name``, or ``default`` where there is none."""
        return self[name] if name in self else default  # noqa: SIM401  this is that very method


class _HasResponse(_Shape):
    """What the HTTP response said about itself: on the first chunk and the whole response; never dumped or printed."""

    response_headers: dict[str, str] | None = Field(
        default=None, exclude=True, repr=False, validation_alias="\0response_headers"
    )

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request, from the response's headers."""
        return request_id_of(self.response_headers or {})

    @property
    def rate_limits(self) -> dict[str, str]:
        """The response's rate limit headers, by name without the ``x-ratelimit-`` before it."""
        return rate_limits_of(self.response_headers or {})


class PromptTokensDetails(_Shape):
    """What the prompt's tokens were."""

    cached_tokens: int | None = None
    audio_tokens: int | None = None


class CompletionTokensDetails(_Shape):
    """What the completion's tokens were."""

    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None


class Usage(_Shape):
    """The tokens of an answer. ``estimated`` is true where they were counted here and not reported by the provider.

    >>> Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7).total_tokens
    7
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    estimated: bool = False

    @property
    def cost(self) -> Decimal | float | None:
        """What it cost: exactly, as ``attach_cost()`` finds it, or as the provider says; ``None`` where nobody did.

        >>> Usage.model_validate_json('{"cost": "0.0005"}').cost
        Decimal('0.0005')
        """
        cost = (self.__pydantic_extra__ or {}).get("cost")
        if not isinstance(cost, str):
            return cost
        # So a Decimal comes back from a recording, a store or a cache: JSON has none.
        try:
            return Decimal(cost)
        except ArithmeticError:
            return None

    @property
    def answers(self) -> int:
        """Of how many answers it is the sum, as below ``run_tools()``; dumped where it is more than one.

        >>> Usage(total_tokens=7).answers
        1
        """
        answers = (self.__pydantic_extra__ or {}).get("answers")
        return answers if isinstance(answers, int) and answers > 0 else 1


class FunctionDelta(_Shape):
    """A piece of a called function: its name, or more of its arguments."""

    name: str | None = None
    arguments: str | None = None


class ChatCompletionDeltaToolCall(_Shape):
    """A piece of a tool call. ``index`` says which call of the choice it belongs to."""

    index: int = 0
    id: str | None = None
    type: str | None = None
    function: FunctionDelta = Field(default_factory=lambda: FunctionDelta())


class Delta(_Shape):
    """What one chunk adds to a choice."""

    role: str | None = None
    content: str | None = None
    tool_calls: list[ChatCompletionDeltaToolCall] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    thinking_blocks: list[dict[str, Any]] | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None


class StreamingChoices(_Shape):
    """One choice of a chunk.

    ``finish_reason`` is ``stop``, ``length``, ``tool_calls`` or ``content_filter``; ``native_finish_reason`` is what
    the provider really said, where that differs.
    """

    index: int = 0
    delta: Delta = Field(default_factory=lambda: Delta())
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class BlankChoices(list[StreamingChoices]):
    """The ``choices`` of the usage chunk: an empty list, except that ``[0]`` gives a blank choice.

    The documentation says both that ``choices`` is always an empty array there, and that a loop reads
    ``chunk.choices[0]`` on every chunk.

    >>> choices = BlankChoices()
    >>> len(choices), list(choices), choices[0].delta.content
    (0, [], None)
    """

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        return StreamingChoices() if index == 0 else super().__getitem__(index)  # pyright: ignore[reportUnknownVariableType]


class ModelResponseStream(_HasResponse):
    """One chunk of a completion.

    ``usage`` is set on the last chunk alone, and only when it was asked for with ``include_usage``. What the provider
    reported rides on the last chunk in ``reported_usage`` in any case, which is neither dumped nor printed.

    >>> chunk = ModelResponseStream.of("Hel", role="assistant")
    >>> chunk.choices[0].delta.content, chunk["choices"][0]["delta"]["role"], chunk.usage
    ('Hel', 'assistant', None)
    """

    id: str = ""
    choices: list[StreamingChoices] = Field(default_factory=lambda: BlankChoices())
    created: int = 0
    model: str = ""
    object: str = "chat.completion.chunk"
    system_fingerprint: str | None = None
    usage: Usage | None = None
    reported_usage: Usage | None = Field(default=None, exclude=True, repr=False, validation_alias="\0reported_usage")

    @classmethod
    def of(
        cls,
        content: str | None = None,
        *,
        index: int = 0,
        finish_reason: str | None = None,
        **delta: Any,
    ) -> "ModelResponseStream":
        """A chunk with one choice, for tests and sources of one's own; ``delta`` are further fields of the delta."""
        return cls(
            choices=[StreamingChoices(index=index, delta=Delta(content=content, **delta), finish_reason=finish_reason)]
        )

    @property
    def stored_id(self) -> str | None:
        """The id that it has in the store that ``observe_from()`` read it from, for ``after=``; it is not dumped."""
        # No field, as below, and no extra field, which would be dumped.
        return self.__dict__.get("stored_id")

    # What operators say to whoever is below them stands on chunks without choices, which all others pass over. Extra
    # fields and not fields: the many chunks that have neither pay nothing for them.

    @classmethod
    def restarting(cls, reason: str) -> "ModelResponseStream":
        """A marker: the answer begins anew, and what came before it is void.

        >>> ModelResponseStream.restarting("the connection broke").restart
        'the connection broke'
        """
        return cls.model_validate({"restart": reason})

    @property
    def restart(self) -> str | None:
        """Why the answer begins anew with this chunk, where it does: accumulators forget what came before."""
        return None if self.choices else (self.__pydantic_extra__ or {}).get("restart")

    @classmethod
    def of_tool(cls, result: "ToolResult") -> "ModelResponseStream":
        """A marker: a tool was called, and this is what came of it."""
        return cls.model_validate({"tool_result": result})

    @property
    def tool_result(self) -> "ToolResult | None":
        """What came of a tool call that was run here, where this chunk tells of one."""
        return None if self.choices else (self.__pydantic_extra__ or {}).get("tool_result")


class Restart(str):
    """An empty text among those that operators give: what came before it is void, as with ``chunk.restart``.

    Whoever prints or joins texts passes over it; whoever keeps them asks ``isinstance(text, Restart)``. No other text
    of ``text_deltas()`` is empty, and of ``accumulate_text()`` only that of a stream without any.

    Attributes:
        restart: why the text begins anew.

    >>> marker = Restart("the connection broke")
    >>> marker, marker.restart
    ('', 'the connection broke')
    """

    __slots__ = ("restart",)

    restart: str

    def __new__(cls, reason: str) -> Self:
        """An empty text, with the reason."""
        marker = super().__new__(cls)
        marker.restart = reason
        return marker

    def __getnewargs__(self) -> tuple[str]:
        """What a copy is made of."""
        return (self.restart,)


class Function(_Shape):
    """A called function: its name and its arguments, a string of JSON as the model wrote it."""

    name: str = ""
    arguments: str = ""


class ChatCompletionMessageToolCall(_Shape):
    """A whole tool call.

    ``index`` is its place among the calls of its choice and ``choice`` that choice's index; neither is dumped, so that
    the call can be sent back as it is.

    >>> call = ChatCompletionMessageToolCall(id="call_1", function=Function(name="add", arguments='{"a": 1}'))
    >>> call.parsed
    {'a': 1}
    """

    id: str = ""
    type: str = "function"
    function: Function = Field(default_factory=lambda: Function())
    index: int = Field(default=0, exclude=True)
    choice: int = Field(default=0, exclude=True)

    @property
    def parsed(self) -> Any:
        """The arguments as JSON; no arguments at all are ``{}``.

        Raises:
            APIResponseValidationError: the arguments are not JSON.
        """
        text = self.function.arguments
        if not text.strip():
            return {}
        try:
            return json.loads(text)
        except ValueError as error:
            reason = str(error)
        raise APIResponseValidationError(
            f"The arguments of the tool call {self.function.name!r} ({self.id}) are not JSON: {reason}: {text!r}",
            body=text,
        )


class PartialToolCall(ChatCompletionMessageToolCall):
    """A tool call as far as it has come. ``complete`` is true of the last one: nothing more comes of this call.

    >>> call = PartialToolCall(function=Function(name="add", arguments='{"a": 1, "b": "on'))
    >>> call.so_far, call.complete
    ({'a': 1, 'b': 'on'}, False)
    """

    complete: bool = Field(default=False, exclude=True)

    @classmethod
    def of(cls, call: ChatCompletionMessageToolCall, *, complete: bool) -> "PartialToolCall":
        """What another call says, complete or not."""
        return cls(**dict(call), complete=complete)

    @property
    def so_far(self) -> Any:
        """What the arguments amount to: strings as far as they have come, members once they have a value, else {}."""
        from rxllm._partial_json import NOTHING, partial_json

        data = partial_json(self.function.arguments)
        return {} if data is NOTHING else data


class ToolResult(_Shape):
    """What came of a tool call: the text that the model is told.

    >>> result = ToolResult(call=ChatCompletionMessageToolCall(id="call_1"), content="18 degrees")
    >>> result.message
    {'role': 'tool', 'tool_call_id': 'call_1', 'content': '18 degrees'}
    """

    call: ChatCompletionMessageToolCall
    content: str
    failed: bool = False

    @property
    def message(self) -> dict[str, str]:
        """The message that tells the model."""
        return {"role": "tool", "tool_call_id": self.call.id, "content": self.content}


class CodeBlock(_Shape):
    r"""A fenced block of code in a text.

    ``index`` is its place among the blocks of the text. ``language`` is the first word of ``info``, what stands behind
    the opening fence; both are ``""`` where nothing does. ``code`` has the end of each line, also of the last.
    ``closed`` is false where the text ended before the block did.

    >>> CodeBlock(language="python", info="python", code="x = 1\n").closed
    True
    """

    language: str = ""
    info: str = ""
    code: str = ""
    index: int = 0
    closed: bool = True


class Message(_Shape):
    """A whole message. It can be appended to ``messages`` and sent again as it is."""

    role: str = "assistant"
    content: str | None = None
    tool_calls: list[ChatCompletionMessageToolCall] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    thinking_blocks: list[dict[str, Any]] | None = None
    annotations: list[dict[str, Any]] | None = None
    audio: dict[str, Any] | None = None
    provider_specific_fields: dict[str, Any] | None = None
    parsed: Any = Field(default=None, exclude=True, repr=False, validation_alias="\0parsed")


class Choices(_Shape):
    """One choice of a whole response."""

    index: int = 0
    message: Message = Field(default_factory=lambda: Message())
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ModelResponse(_HasResponse):
    """A whole completion: its stream, reduced.

    >>> response = ModelResponse(choices=[Choices(message=Message(content="Hello"), finish_reason="stop")])
    >>> response.choices[0].message.content, response["choices"][0]["finish_reason"]
    ('Hello', 'stop')
    """

    id: str = ""
    choices: list[Choices] = Field(default_factory=lambda: list[Choices]())
    created: int = 0
    model: str = ""
    object: str = "chat.completion"
    system_fingerprint: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class Request:
    """What was asked for, without any key: ``Stream.request``.

    Attributes:
        model: the model as the caller named it, such as ``"openai/gpt-4o"``.
        messages: the messages, as plain dictionaries.
        params: every other parameter that was given, in the OpenAI shape (``tools``, ``stream_options``).
        provider: the provider's prefix, such as ``"openai"``.
        wire_model: the model as the provider knows it, such as ``"gpt-4o"``.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    provider: str = "openai"
    wire_model: str = ""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"Request({shown})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        # Keys may stand among the parameters, as that of a server among the tools.
        for member in fields(self):
            value = getattr(self, member.name)
            yield member.name, hidden_parameters(value) if member.name == "params" else value

    @property
    def include_usage(self) -> bool:
        """Whether the caller asked for the public usage chunk."""
        options = self.params.get("stream_options")
        return bool(options and options.get("include_usage"))

    @property
    def n(self) -> int:
        """How many choices were asked for."""
        return self.params.get("n") or 1
