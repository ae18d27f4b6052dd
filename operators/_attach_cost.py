from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxllm._accumulators._prices import Prices, check_prices
from rxllm.exceptions import APIError
from rxllm.operators._attach_usage import attach_usage
from rxllm.operators._shared import request_of
from rxllm.types import ModelResponseStream, Usage

__all__ = ["attach_cost"]


def attach_cost(
    prices: Mapping[str, Any],
    model: str | None = None,
    messages: Iterable[Mapping[str, Any] | BaseModel] | None = None,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes every chunk on, and the last one carries ``usage`` with its ``cost``, by a table of prices of one's own.

    ::

        chunks  --"Hel"--"lo"--stop---------------|
                    attach_cost(prices)
        chunks  --"Hel"--"lo"--------stop+usage+cost|

    Prices are per million tokens, in whatever currency, and the cost is an exact ``Decimal`` in it. The usage comes as
    ``attach_usage()`` attaches it, with all that is said there of edges, errors, streams that are cut short, and
    memory: as reported, else counted, and then its ``estimated`` is true and the cost an estimate too. All choices
    are counted. An empty stream completes empty; an ``APIError`` has the cost of what had come on its ``usage``.

    The table holds ``input`` and ``output``, and where they differ ``cached_input`` and ``cache_write``, for tokens of
    the prompt that the provider's cache gave and took, and ``reasoning``. It is for all models, or has one such mapping
    for each: looked up are the model as it was asked for, with and without its provider, and where there is no
    request, the name that the chunks bear. Of several answers, as below ``run_tools()``, it is what all have cost, by
    the prices of one model: where ``send`` asks another, put it in there and above, and ``attach_usage()`` below, which
    adds costs up. Put it before a merge.

    Args:
        prices: numbers, strings or Decimals by ``input``, ``output`` and so on, or such a mapping by model.
        model: the model's name in the table, which is also counted with; by default that of the request.
        messages: the prompt; by default that of the request, with its tools.

    Raises:
        TypeError, ValueError: a price is none, or is missing; raised when the operator is made.
        ValueError: the model has no price. Raised when the operator is applied where the model is known by then, else
            the stream ends with it.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(ModelResponseStream.of("Hello"), ModelResponseStream.of(finish_reason="stop"))
    >>> prompt = [{"role": "user", "content": "Greet me"}]
    >>> last = chunks.pipe(attach_cost({"gpt-4": {"input": 30, "output": 60}}, "gpt-4", prompt)).run()
    >>> last.usage["cost"], last.usage.prompt_tokens, last.usage.completion_tokens
    (Decimal('0.00036'), 10, 1)
    """
    table = Prices(prices)
    with_usage = attach_usage(model, messages)

    def with_cost(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        known = check_prices(table, model, request_of(source), "attach_cost")
        counted = with_usage(source)

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            deliver = observer.on_next
            name = ""
            in_flight: ModelResponseStream | None = None

            def priced(usage: Usage) -> Usage:
                price = known or table.of(name)
                if price is None:
                    raise ValueError(f"attach_cost() has no price for the model {name!r}; there are: {table.names()}")
                return usage.model_copy(update={"cost": price.cost(usage)})

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal name, in_flight
                name = chunk.model or name
                if chunk.usage is not None:
                    try:
                        usage = priced(chunk.usage)
                    except ValueError as error:
                        observer.on_error(error)
                        return
                    deliver(chunk.model_copy(update={"usage": usage}))
                    return
                outer, in_flight = in_flight, chunk
                try:
                    deliver(chunk)
                finally:
                    in_flight = outer

            def on_error(error: Exception) -> None:
                if isinstance(error, APIError) and error.usage is not None and (known or table.of(name)):
                    error.usage = priced(error.usage)
                observer.on_error(error)

            def leave() -> None:
                upstream.dispose()
                # Cut off in the middle of a chunk, which has just been given its usage.
                if in_flight is not None and in_flight.usage is not None and (known or table.of(name)):
                    in_flight.usage = priced(in_flight.usage)

            upstream = counted.subscribe(on_next, on_error, observer.on_completed, scheduler=scheduler)
            return Disposable(leave)

        return Observable(subscribe)

    return with_cost
