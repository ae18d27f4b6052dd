"""take_until_budget: what is not paid for is not generated."""

import threading
from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as rx_ops
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from rxllm import operators as ops
from rxllm._accumulators._budget import Budget
from rxllm.types import ModelResponseStream
from tests.consume import WAYS
from tests.operators.sources import (
    asked,
    call_piece,
    calling,
    collect,
    items,
    never_subscribed,
    notifications,
    of,
    reported,
    text_chunks,
)
from tests.server import PATIENCE, Answering, Server, chunk

WORDS = ["Once", " upon", " a", " time", " there"]
PRICES = {"input": 1_000_000, "output": 2_000_000}
PROMPT = [{"role": "user", "content": "Greet me"}]


def texts(chunks: list[ModelResponseStream]) -> str:
    """All text of choice 0."""
    return "".join(c.choices[0].delta.content or "" for c in chunks)


def test_it_cancels_before_it_delivers_the_last_chunk() -> None:
    """Nothing more is generated while the consumer has it; then comes the finish reason and the usage."""
    scheduler = TestScheduler()
    source: Any = scheduler.create_hot_observable(
        *(ReactiveTest.on_next(210 + 10 * at, of(text)) for at, text in enumerate(WORDS))
    )
    subscribed: list[Any] = []

    def look(_chunk: ModelResponseStream) -> None:
        subscribed.append(source.subscriptions[0].unsubscribe < 1000)

    budgeted = ops.take_until_budget(tokens=3, model="gpt-4")
    result = scheduler.start(lambda: source.pipe(budgeted, rx_ops.do_action(look)))
    seen = notifications(result.messages)
    assert [(time, kind) for time, kind, _ in seen] == [(210, "N"), (220, "N"), (230, "N"), (230, "N"), (230, "C")]
    assert subscribed == [False, False, True, True]
    last = seen[-2][2]
    assert (last.choices[0].finish_reason, last.usage.completion_tokens, last.usage.estimated) == ("length", 3, True)
    assert source.subscriptions == [ReactiveTest.subscribe(200, 230)]


def test_an_answer_within_the_budget_passes_whole() -> None:
    """Its own finish reason stays, and nothing is added."""
    chunks = [*text_chunks(WORDS), of(finish_reason="stop"), reported(completion_tokens=5)]
    assert items(ops.take_until_budget(tokens=6, model="gpt-4"), *chunks) == chunks


def test_what_comes_after_the_end_of_the_answer_passes() -> None:
    """What was reported may be more than the budget: the answer is whole, and its usage is not withheld."""
    budget = Budget(tokens=6)
    chunks = [*text_chunks(WORDS), of(finish_reason="stop"), reported(completion_tokens=50)]
    assert items(ops.take_until_budget(budget, model="gpt-4"), *chunks) == chunks
    assert budget.spent == 50


def test_everything_that_is_generated_counts() -> None:
    """Thoughts, tool calls and every choice."""
    chunks = [
        of(reasoning_content="Once upon"),
        of("Once upon", index=1),
        calling(call_piece('{"a": 1}', index=0, id="a", name="weather")),
        of("more"),
    ]
    seen = items(ops.take_until_budget(tokens=9, model="gpt-4"), *chunks)
    assert seen[:3] == chunks[:3]
    assert [(c.index, c.finish_reason) for c in seen[3].choices] == [(0, "length"), (1, "length")]
    usage = seen[3].usage
    assert usage is not None
    assert usage == items(ops.attach_usage("gpt-4"), *chunks[:3])[-1].usage


def test_choices_that_have_finished_keep_their_reason() -> None:
    """Only the others are cut off."""
    chunks = [of("Once", finish_reason="stop"), of("Once", index=1), of(" upon", index=1)]
    seen = items(lambda s: asked(s, params={"n": 2}).pipe(ops.take_until_budget(tokens=2)), *chunks)
    assert [[(c.index, c.finish_reason) for c in x.choices] for x in seen] == [
        [(0, "stop")],
        [(1, None)],
        [(1, "length")],
    ]


def test_a_cost_counts_the_prompt_too() -> None:
    """Ten tokens of it at one, then two for each token of the answer."""
    operator = ops.take_until_budget(cost=14, prices=PRICES, model="gpt-4", messages=PROMPT)
    seen = items(operator, *text_chunks(WORDS))
    assert texts(seen) == "Once upon"
    usage = seen[-1].usage
    assert usage is not None
    assert (usage["cost"], usage.prompt_tokens) == (Decimal(14), 10)


@pytest.mark.parametrize(
    "arguments",
    [
        {"tokens": 0},
        {"cost": 0, "prices": PRICES},
        {"cost": 10, "prices": PRICES, "messages": PROMPT},
        {"budget": Budget(tokens=0)},
    ],
)
def test_without_a_budget_no_request_is_sent(arguments: Any) -> None:
    """What cannot even pay for the prompt."""
    (last,) = collect(never_subscribed().pipe(ops.take_until_budget(model="gpt-4", **arguments)))
    assert last.usage is not None
    assert (last.choices[0].finish_reason, last.usage.completion_tokens) == ("length", 0)


def test_several_streams_share_a_budget() -> None:
    """Each notices with its next chunk that the other has used it up."""
    budget = Budget(tokens=4)
    one, other = Subject[ModelResponseStream](), Subject[ModelResponseStream]()
    seen: list[tuple[str, str]] = []
    for name, source in (("one", one), ("other", other)):

        def keep(chunk: ModelResponseStream, name: str = name) -> None:
            seen.append((name, chunk.choices[0].delta.content or chunk.choices[0].finish_reason or ""))

        source.pipe(ops.take_until_budget(budget, model="gpt-4")).subscribe(keep)
    for text in WORDS:
        one.on_next(of(text))
        other.on_next(of(text))
    assert seen == [
        *(("one", "Once"), ("other", "Once"), ("one", " upon"), ("other", " upon"), ("other", "length")),
        *(("one", " a"), ("one", "length")),
    ]
    assert budget.exhausted


def test_each_subscription_has_a_budget_of_its_own() -> None:
    """Where a number was given, and no Budget."""
    pipeline = rx.of(*text_chunks(WORDS)).pipe(ops.take_until_budget(tokens=2, model="gpt-4"))
    assert [texts(collect(pipeline)) for _ in range(2)] == ["Once upon"] * 2


def test_what_began_anew_stays_spent() -> None:
    """The second answer costs what it costs, the prompt with it, and what it reports is its own."""
    budget = Budget(cost=100)
    chunks = [of("Once"), ModelResponseStream.restarting("broken"), of("Once"), reported(prompt_tokens=10)]
    arguments: Any = {"prices": PRICES, "model": "gpt-4", "messages": PROMPT}
    items(ops.take_until_budget(budget, **arguments), *chunks)
    assert budget.spent == 12 + 10


def test_of_several_answers_each_counts() -> None:
    """As below run_tools()."""
    budget = Budget(tokens=100)
    answers = [of("Once", finish_reason="tool_calls"), reported(completion_tokens=7), of("Once", finish_reason="stop")]
    for answer, name in zip(answers, "aab", strict=True):
        answer.id = name
    assert items(ops.take_until_budget(budget, model="gpt-4"), *answers) == answers
    assert budget.spent == 8


def test_answers_without_names_count_as_well() -> None:
    """The next begins with content after the end; the one that is cut off has the usage of its own."""
    budget = Budget(tokens=10)
    first = [of("Once", finish_reason="tool_calls"), reported(completion_tokens=8)]
    seen = items(ops.take_until_budget(budget, model="gpt-4"), *first, *text_chunks(WORDS))
    assert texts(seen) == "OnceOnce upon"
    assert seen[-1].usage is not None
    assert (seen[-1].choices[0].finish_reason, seen[-1].usage.completion_tokens) == ("length", 2)
    assert budget.spent == 10


def test_answers_side_by_side_are_each_cut_off() -> None:
    """Those that have not finished, under their names; what has finished keeps its reason."""
    chunks = [of("Once"), of("Once", finish_reason="stop"), of(" upon"), of("Once"), of(" upon")]
    sources = zip(chunks, "abaca", strict=True)
    named = [it.model_copy(update={"id": f"id-{source}", "source": source}) for it, source in sources]
    seen = items(ops.take_until_budget(tokens=4, model="gpt-4"), *named)
    ends = [(c.id, c["source"], c.choices[0].finish_reason, c.usage and c.usage.completion_tokens) for c in seen[4:]]
    assert ends == [("id-a", "a", "length", 2), ("id-c", "c", "length", 1)]


def test_a_choice_that_has_not_come_is_cut_off_and_one_that_has_finished_is_not() -> None:
    """Of two, of which one alone has come."""
    seen = items(
        lambda s: asked(s, params={"n": 2}).pipe(ops.take_until_budget(tokens=1)), of("a", finish_reason="stop")
    )
    assert [[(c.index, c.finish_reason) for c in x.choices] for x in seen] == [[(0, "stop")], [(1, "length")]]


@given(st.integers(1, 12), st.data())
def test_any_cutting_stops_with_the_piece_that_uses_it_up(tokens: int, data: st.DataObject) -> None:
    """Exactly: the text before the last piece is within the budget, with it it is not."""
    text = "".join(WORDS * 3)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    seen = items(ops.take_until_budget(tokens=tokens, model="gpt-4"), *text_chunks(pieces))
    taken = texts(seen)
    assert seen[-1].choices[0].finish_reason == "length"

    def count(part: str) -> int:
        return items(ops.count_tokens("gpt-4"), of(part))[-1]

    assert count(taken) >= tokens
    lengths = [len("".join(pieces[:at])) for at in range(len(pieces) + 1)]
    assert all(count(text[:length]) < tokens for length in lengths if length < len(taken))


@pytest.mark.parametrize("way", WAYS)
def test_the_server_sees_the_end(server: Server, ask: Any, way: str) -> None:
    """The connection is closed: it really stops."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(*map(chunk, WORDS))
        await answering.closed()

    server.script = script
    seen = WAYS[way](ask().pipe(ops.take_until_budget(tokens=3)))
    assert texts(seen) == "Once upon a"
    assert server.next_closed() == 1


def test_two_models_race_on_one_budget(server: Server, ask: Any) -> None:
    """Streams on threads of their own draw from it at once, and all of them stop."""

    async def script(answering: Answering) -> None:
        if len(server.requests) == 3:
            server.taken.open()
        await server.taken.wait()
        await answering.start()
        # In one piece: whoever closes the connection early makes no second one fail.
        await answering.event(*[chunk(" word")] * 50)
        await answering.closed()

    server.script = script
    budget = Budget(tokens=30)
    done = [threading.Event() for _ in range(3)]
    for event in done:
        ask().pipe(ops.take_until_budget(budget)).subscribe(on_completed=event.set)
    assert all(event.wait(PATIENCE) for event in done)
    assert {server.next_closed() for _ in done} == {1, 2, 3}
    assert 30 <= budget.spent <= 33


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, TypeError),
        ({"tokens": 1, "cost": 1}, TypeError),
        ({"budget": 5}, TypeError),
        ({"budget": Budget(tokens=1), "tokens": 1}, TypeError),
        ({"cost": 1}, TypeError),
        ({"tokens": 1, "prices": PRICES}, TypeError),
        ({"tokens": -1}, ValueError),
        ({"cost": 1, "prices": {"input": 1}}, ValueError),
    ],
)
def test_arguments_are_checked_when_it_is_made(arguments: Any, error: type[Exception]) -> None:
    """No stream has to run to learn that an argument is wrong."""
    with pytest.raises(error):
        ops.take_until_budget(**arguments)


def test_a_price_has_to_be_known_when_it_is_applied() -> None:
    """Before anything is paid."""
    table = {"gpt-4": {"input": 1, "output": 1}}
    with pytest.raises(ValueError, match="'openai/gpt-4o'"):
        asked(never_subscribed()).pipe(ops.take_until_budget(cost=1, prices=table))
    with pytest.raises(ValueError, match="model="):
        never_subscribed().pipe(ops.take_until_budget(cost=1, prices=table))


def test_a_cost_is_exact_whatever_the_context() -> None:
    """The precision of the caller's thread rounds nothing."""
    budget = Budget(cost=10)
    prices = {"input": 0, "output": "1.234567"}
    with localcontext(Context(prec=2)):
        items(ops.take_until_budget(budget, prices=prices, model="gpt-4"), *text_chunks(WORDS))
    assert budget.spent == 5 * Decimal("0.000001234567")
