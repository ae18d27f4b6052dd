"""The answers that follow one another in a stream, and what they have used together: a pure accumulator."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from rxllm._accumulators._finishing import Finishing
from rxllm._accumulators._usage_sum import counted_once, usage_of_all
from rxllm._assembly import ResponseBuilder
from rxllm._tokens import estimate_usage
from rxllm.types import ModelResponse, ModelResponseStream, ToolResult, Usage

__all__ = ["Conversation"]


class Conversation:
    """Puts the answer together that a stream has, or of several, as ``run_tools()`` gives them, each in its turn.

    Of each answer counts the usage that was reported, else what is counted here, with the prompt as far as it can be
    known: what was asked first, and after calls of tools their answers and results. A marker that the answer begins
    anew makes all void that came before it.

    Held are the text and calls of the answer that is under way; of those before only what was asked next.

    Args:
        model: the model to count with.
        messages: the prompt of the first answer; without any it counts 0.
        tools: the tools that are sent with each.

    >>> conversation = Conversation("gpt-4", [{"role": "user", "content": "Greet me"}])
    >>> conversation.add(ModelResponseStream.of("Hello", finish_reason="stop"))
    >>> conversation.add(ModelResponseStream.of("Good day"))
    >>> conversation.response().choices[0].message.content
    'Good day'
    >>> usage = conversation.usage()
    >>> usage.prompt_tokens, usage.completion_tokens, usage.answers
    (20, 3, 2)
    """

    def __init__(
        self,
        model: str | None = None,
        messages: Iterable[Mapping[str, Any] | BaseModel] | None = None,
        tools: Any = None,
    ) -> None:
        self._model = model
        self._first = None if messages is None else list(messages)
        self._tools = tools
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._asked = self._first
        self._past: list[Usage] = []
        self._begin()

    def _begin(self) -> None:
        self._builder = ResponseBuilder()
        self._finishing = Finishing()
        self._results: list[ToolResult] = []

    @property
    def ended(self) -> bool:
        """Whether all choices of the answer have finished: what comes next may be the last of it, or begin another."""
        return self._finishing.ended

    @property
    def answers(self) -> int:
        """How many there are so far, the one that is under way among them."""
        return len(self._past) + 1

    @property
    def reported(self) -> bool:
        """Whether the provider has said what the answer has used."""
        return self._builder.usage is not None

    def add(self, chunk: ModelResponseStream) -> None:
        """Takes the next chunk in."""
        if not chunk.choices:
            if chunk.restart is not None:
                self._begin_anew()
                return
            if chunk.tool_result is not None:
                self._results.append(chunk.tool_result)
                self._finishing.add(chunk)
                return
        elif self._finishing.ended and self._finishing.is_followed_by(chunk):
            self._close()
        self._builder.add(chunk)
        self._finishing.add(chunk)

    def response(self) -> ModelResponse:
        """The last answer, as far as it has come, with the usage of all."""
        response = self._builder.response()
        response.usage = self._total(self._usage_of(response))
        return response

    def usage(self, told: Usage | None = None) -> Usage:
        """The usage of all answers.

        Args:
            told: that of the last one, where its error tells of it.
        """
        return self.response().usage or Usage() if told is None else self._total(told)

    def _total(self, last: Usage) -> Usage:
        usages = [*self._past, last]
        return usage_of_all(usages[place] for place in counted_once([(None, usage.answers) for usage in usages]))

    def _usage_of(self, response: ModelResponse) -> Usage:
        return response.usage or estimate_usage(self._model, self._asked, response, self._tools)

    def _close(self) -> None:
        """The answer is over, and another follows."""
        response = self._builder.response()
        self._past.append(self._usage_of(response))
        if self._asked is not None and self._results:
            messages = [choice.message for choice in response.choices if choice.index == 0]
            results = [result.message for result in self._results]
            self._asked = [*self._asked, *messages, *results]
        self._begin()
