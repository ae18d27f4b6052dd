from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from pydantic import BaseModel
from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxllm._accumulators._answer_spending import AnswerSpending
from rxllm._accumulators._budget import Budget, Spending
from rxllm._accumulators._prices import EXACT, Price, Prices, check_prices
from rxllm.operators._shared import request_of
from rxllm.types import ModelResponseStream, StreamingChoices

__all__ = ["take_until_budget"]


def take_until_budget(
    budget: Budget | None = None,
    *,
    tokens: int | None = None,
    cost: float | str | Decimal | None = None,
    prices: Mapping[str, Any] | None = None,
    model: str | None = None,
    messages: Iterable[Mapping[str, Any] | BaseModel] | None = None,
) -> Callable[[Observable[ModelResponseStream]], Observable[ModelResponseStream]]:
    """Passes chunks on until they have used a budget up, then cancels the request and completes.

    ::

        chunks  --"Once"--" upon"--" a"--" time"--stop--|
                   take_until_budget(tokens=3)
        chunks  --"Once"--" upon"--" a"-length+usage|

    The request is cancelled before the chunk that uses the budget up is delivered, so that however long that takes,
    nothing more is generated. One more chunk follows, if any choice has not finished: it gives each of these the finish
    reason ``length``, and carries the ``usage`` of what came, ``estimated``, and its ``cost`` where there are prices.
    An answer that ends within the budget passes whole; so does the rest of one that has finished in all choices. Of
    several answers in one stream, as ``run_tools()`` makes it, each counts, and the chunk that follows is that of the
    last; of answers side by side that ``merge_models()`` or ``tag()`` name, each that has not finished has one. After a
    plain merge nothing tells whose text is whose: what is counted of it is an approximation.

    Of a budget of tokens, those of the completion count: text, reasoning and tool calls, over all choices, counted
    exactly as they come. Of a cost, the prompt counts too, from the start: where not even that can be paid, nor one
    token, no request is sent. What the provider reports in the end takes the place of what was counted. Thoughts that a
    provider keeps to itself are seen only then. What an answer that begins anew had spent stays spent. An error passes;
    an empty stream completes empty. Held are the last words of each text.

    Args:
        budget: what several streams draw from, each noticing with its next chunk that the others have used it up.
        tokens: a budget of tokens for each subscription.
        cost: a budget of money for each subscription, in the currency of ``prices``.
        prices: as ``attach_cost()`` takes them; needed for a cost.
        model: what to count with and to price; by default the model of the request.
        messages: the prompt; by default that of the request, with its tools, else it costs nothing.

    Raises:
        TypeError, ValueError: an argument is of the wrong kind or missing; raised when the operator is made.
        ValueError: the model has no price, or is not known; raised when the operator is applied.

    >>> import reactivex as rx
    >>> from rxllm.types import ModelResponseStream
    >>> chunks = rx.of(*(ModelResponseStream.of(text) for text in ("Once", " upon", " a", " time")))
    >>> within = chunks.pipe(take_until_budget(tokens=2, model="gpt-4"))
    >>> _ = within.subscribe(lambda chunk: print(chunk.choices[0].delta.content, chunk.choices[0].finish_reason))
    Once None
     upon None
    None length
    """
    # What is given wrongly shows now, and not when the stream runs.
    shared = budget if isinstance(budget, Budget) else None
    limit = _checked(budget) or Budget(tokens=tokens, cost=cost)
    if shared is not None and (tokens is not None or cost is not None):
        raise TypeError("take_until_budget() takes a budget, tokens or a cost: give one of them")
    if (limit.cost is None) is not (prices is None):
        raise TypeError("take_until_budget() needs prices= for a cost, and for that alone")
    table = None if prices is None else Prices(prices)
    prompt = None if messages is None else list(messages)

    def within_budget(source: Observable[ModelResponseStream]) -> Observable[ModelResponseStream]:
        request = request_of(source)
        price: Price | None = None
        if table is not None:
            price = check_prices(table, model, request, "take_until_budget")
            if price is None:
                raise ValueError("take_until_budget() does not know which prices are meant: pass model=")
        asked_model = model if model is not None or request is None else request.model
        asked = prompt if prompt is not None or request is None else request.messages
        tools = request.params.get("tools") if request is not None else None
        n = request.n if request is not None else 1

        def subscribe(
            observer: abc.ObserverBase[ModelResponseStream], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            own = shared if shared is not None else Budget(tokens=tokens, cost=cost)
            spending = Spending(asked_model, asked, tools)
            drawn: int | Decimal = 0
            upstream = SingleAssignmentDisposable()
            stopped = False

            def draw() -> bool:
                nonlocal drawn
                before, drawn = drawn, spending.amount(price)
                return own.spend(EXACT.subtract(drawn, before))

            def stop() -> None:
                ends = [_end_of(source, answer, n, price) for source, answer in spending.current.items()]
                for end in ends:
                    if end.choices:
                        observer.on_next(end)
                observer.on_completed()

            def on_next(chunk: ModelResponseStream) -> None:
                nonlocal stopped
                if stopped:
                    # The source emits inside its subscribe, where it cannot be stopped yet.
                    return
                spending.add(chunk)
                if draw() or spending.has_ended(n):
                    observer.on_next(chunk)
                    return
                stopped = True
                upstream.dispose()
                observer.on_next(chunk)
                stop()

            if not draw():
                stop()
                return Disposable()
            upstream.disposable = source.subscribe(
                on_next, observer.on_error, observer.on_completed, scheduler=scheduler
            )
            return upstream

        return Observable(subscribe)

    return within_budget


def _end_of(source: str | None, answer: AnswerSpending, n: int, price: Price | None) -> ModelResponseStream:
    """What ends an answer that is cut off: a chunk under its name."""
    usage = answer.usage()
    if price is not None:
        usage = usage.model_copy(update={"cost": price.cost(usage)})
    choices = [StreamingChoices(index=index, finish_reason="length") for index in answer.finishing.missing(n)]
    end = ModelResponseStream(choices=choices, usage=usage)
    if answer.last is not None:
        end.id, end.model, end.created = answer.last.id, answer.last.model, answer.last.created
    return end if source is None else end.model_copy(update={"source": source})


def _checked(budget: Any) -> Budget | None:
    if not isinstance(budget, Budget | None):
        raise TypeError(f"budget is a Budget, not {budget!r}: a number is tokens= or cost=")
    return budget
