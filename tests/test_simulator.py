"""The embedded simulator, asked as any provider is: through real httpx clients, over no socket."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxllm._simulator import Simulator
from rxllm._tokens import get_encoding

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather for a location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["location"],
        },
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "set_alarm", "description": "Wake somebody up"}}


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    """A client whose provider is the simulator."""
    with httpx.Client(transport=Simulator(), base_url="http://simulator/v1") as client:
        yield client


def body_of(prompt: str, **parameters: Any) -> dict[str, Any]:
    """A request that is answered without delay."""
    return {"model": "echo", "messages": [{"role": "user", "content": prompt}], "delay": 0} | parameters


def events_of(text: str) -> list[dict[str, Any]]:
    """The chunks of a whole event stream, whose end has to be there."""
    *data, end, rest = text.split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: ") for event in data)
    return [json.loads(event.removeprefix("data: ")) for event in data]


def stream(client: httpx.Client, prompt: str, **parameters: Any) -> list[dict[str, Any]]:
    """The chunks of a streamed completion."""
    response = client.post("/chat/completions", json=body_of(prompt, stream=True, **parameters))
    assert response.headers["content-type"].startswith("text/event-stream")
    return events_of(response.text)


def whole(client: httpx.Client, prompt: str, **parameters: Any) -> dict[str, Any]:
    """A completion in one piece."""
    response = client.post("/chat/completions", json=body_of(prompt, **parameters))
    assert response.status_code == 200, response.text
    return cast("dict[str, Any]", response.json())


def text_of(chunks: list[dict[str, Any]], field: str = "content", index: int = 0) -> str:
    """The text that the chunks of one choice add up to."""
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["delta"].get(field) or "" for choice in choices)


def finish_reasons(chunks: list[dict[str, Any]]) -> list[str]:
    """How the choices end, in the order of their ends."""
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    return [reason for reason in reasons if reason]


def calls_of(chunks: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """The name and the parsed arguments of each call that the chunks add up to."""
    calls: dict[int, dict[str, str]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for piece in choice["delta"].get("tool_calls", ()):
                call = calls.setdefault(piece["index"], {"name": "", "arguments": ""})
                call["name"] += piece["function"].get("name", "")
                call["arguments"] += piece["function"]["arguments"]
    return [(call["name"], json.loads(call["arguments"])) for call in calls.values()]


def count(text: str) -> int:
    """The true number of tokens."""
    return len(get_encoding("o200k_base").encode(text, disallowed_special=()))


def test_stream_has_the_shape_of_openais(client: httpx.Client) -> None:
    """The role comes first, then the deltas, the finish reason, the usage with empty choices, and the end."""
    chunks = stream(client, "Hello there", stream_options={"include_usage": True})
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [chunk["choices"][0]["delta"] for chunk in chunks[1:-1]] == [{"content": "Hello"}, {"content": " there"}, {}]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, None, "stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1


def test_usage_comes_only_when_asked(client: httpx.Client) -> None:
    """Without ``include_usage`` no chunk speaks of usage."""
    assert all("usage" not in chunk for chunk in stream(client, "Hello"))


@settings(max_examples=60)
@given(text=st.text(), model=st.sampled_from(["echo", "story", "reason"]), seed=st.integers())
def test_whole_completion_is_the_stream_added_up(text: str, model: str, seed: int) -> None:
    """Streamed and whole, the message and the usage are the same, and the usage is the true count."""
    with httpx.Client(transport=Simulator(), base_url="http://simulator/v1") as client:
        chunks = stream(client, text, model=model, seed=seed, stream_options={"include_usage": True})
        completion = whole(client, text, model=model, seed=seed)
    message = completion["choices"][0]["message"]
    assert message["content"] == text_of(chunks)
    assert message.get("reasoning_content", "") == text_of(chunks, "reasoning_content")
    assert completion["usage"] == chunks[-1]["usage"]
    thoughts = count(message.get("reasoning_content", ""))
    assert completion["usage"]["completion_tokens"] == count(message["content"]) + thoughts
    assert completion["usage"]["completion_tokens_details"]["reasoning_tokens"] == thoughts
    if model == "echo":
        assert message["content"] == text


@settings(max_examples=60)
@given(limit=st.integers(1, 400), seed=st.integers(), model=st.sampled_from(["story", "reason"]))
def test_max_tokens_are_true_tokens(limit: int, seed: int, model: str) -> None:
    """A limit gives the beginning of the unlimited answer, exactly that many tokens long, or the whole of it."""
    with httpx.Client(transport=Simulator(), base_url="http://simulator/v1") as client:
        cut = whole(client, "Tell me about tides", model=model, seed=seed, max_tokens=limit)
        unlimited = whole(client, "Tell me about tides", model=model, seed=seed)
    every = [message["choices"][0]["message"] for message in (cut, unlimited)]
    texts = [message.get("reasoning_content", "") + message["content"] for message in every]
    counts = [sum(count(message.get(name, "")) for name in ("reasoning_content", "content")) for message in every]
    assert texts[1].startswith(texts[0])
    assert counts[0] == cut["usage"]["completion_tokens"] == min(limit, counts[1])
    assert cut["choices"][0]["finish_reason"] == ("length" if limit < counts[1] else "stop")


@settings(max_examples=60)
@given(text=st.text(max_size=60), limit=st.integers(1, 30))
def test_limited_text_is_valid_text(text: str, limit: int) -> None:
    """No character is cut in two, even where a token ends inside one."""
    with httpx.Client(transport=Simulator(), base_url="http://simulator/v1") as client:
        answer = whole(client, text, max_completion_tokens=limit)
    assert text.startswith(answer["choices"][0]["message"]["content"])
    assert answer["usage"]["completion_tokens"] <= limit


def test_long_runs_are_echoed_whole(client: httpx.Client) -> None:
    """A prompt that no tokenizer takes in one piece still comes back."""
    text = " " * 120_000 + "end"
    assert whole(client, text)["choices"][0]["message"]["content"] == text


def test_lone_surrogate_does_not_break_the_wire(client: httpx.Client) -> None:
    """Half a character in the prompt comes back as the replacement character."""
    content = json.dumps(body_of("x")).replace('"x"', '"a\\ud83d"')
    response = client.post("/chat/completions", content=content)
    assert response.json()["choices"][0]["message"]["content"] == "a\N{REPLACEMENT CHARACTER}"
    told = client.post("/chat/completions", content=content.replace("echo", "story")).json()
    assert told["choices"][0]["finish_reason"] == "stop"


@settings(max_examples=80)
@given(
    text=st.text("ab .", min_size=1, max_size=40),
    stop=st.lists(st.text("ab .", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_stop_sequences_end_the_answer_before_them(text: str, stop: list[str]) -> None:
    """The text ends before the first of the stop sequences, and so does its count."""
    with httpx.Client(transport=Simulator(), base_url="http://simulator/v1") as client:
        answer = whole(client, text, stop=stop)
    expected = min((text.partition(sequence)[0] for sequence in stop), key=len)
    assert answer["choices"][0]["message"]["content"] == expected
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == count(expected)


def test_stop_sequence_across_sentences_ends_the_story(client: httpx.Client) -> None:
    """A stop sequence is found where one sentence ends and the next begins, too."""
    unlimited = whole(client, "A story", model="story")["choices"][0]["message"]["content"]
    place = unlimited.index(".\n\n")
    stop = unlimited[place - 3 : place + 8]
    stopped = whole(client, "A story", model="story", stop=stop)["choices"][0]["message"]["content"]
    assert stopped == unlimited[: place - 3]


def test_story_is_the_same_for_the_same_prompt_and_seed(client: httpx.Client) -> None:
    """Same prompt and seed, same story; another seed, another prompt or another choice, another story."""

    def told(prompt: str, **parameters: Any) -> str:
        return str(whole(client, prompt, model="story", **parameters)["choices"][0]["message"]["content"])

    assert told("A story about otters", seed=1) == told("A story about otters", seed=1)
    assert told("A story about otters", seed=1) != told("A story about otters", seed=2)
    assert told("A story about otters", seed=1) != told("Another story about otters", seed=1)
    two = whole(client, "A story about otters", model="story", n=2)["choices"]
    assert two[0]["message"]["content"] != two[1]["message"]["content"]


@pytest.mark.parametrize("seed", range(8))
def test_story_reads_like_prose(client: httpx.Client, seed: int) -> None:
    """It has paragraphs of whole sentences, is some 200 words long and speaks of what was asked for."""
    text = whole(client, "Write a story about a clockmaker's apprentice", model="story", seed=seed)
    story = text["choices"][0]["message"]["content"]
    paragraphs = story.split("\n\n")
    assert 3 <= len(paragraphs) <= 8
    assert 150 <= len(story.split()) <= 250
    assert "a clockmaker's apprentice" in story
    for paragraph in paragraphs:
        assert paragraph[0].isupper() or paragraph[0] == '"'
        assert re.search(r"[.?!]\"?$", paragraph)
        assert not re.search(r"[{}]|  |\ba [aeio]", paragraph)


@pytest.mark.parametrize(
    ("prompt", "least", "most"),
    [
        ("Write a very long story about rust", 2000, 2040),
        ("A tale of 2,500 words about rust", 2500, 2540),
        ("Write a story about rust in 60 words", 60, 90),
    ],
)
def test_story_is_as_long_as_asked(client: httpx.Client, prompt: str, least: int, most: int) -> None:
    """A length in the prompt is kept to within two sentences."""
    story = whole(client, prompt, model="story")["choices"][0]["message"]["content"]
    assert least <= len(story.split()) <= most


def test_endless_story_is_worked_out_as_it_is_read(client: httpx.Client) -> None:
    """A reader of a story without end gets as much as it reads, and ends it by leaving."""
    body = body_of("An endless story about sand", model="story", stream=True)
    with client.stream("POST", "/chat/completions", json=body) as response:
        lines = list(islice(response.iter_lines(), 6000))
        body_stream = response.stream
    assert sum('"content"' in line for line in lines) > 2900
    assert list(cast("httpx.SyncByteStream", body_stream)) == []


def test_echo_says_the_last_user_message(client: httpx.Client) -> None:
    """Parts of content are joined; what is no user's is left out."""
    messages = [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "First"},
        {"role": "assistant", "content": "Yes"},
        {"role": "user", "content": [{"type": "text", "text": "Se"}, {"type": "text", "text": "cond"}]},
    ]
    assert whole(client, "", messages=messages)["choices"][0]["message"]["content"] == "Second"


def test_reason_thinks_first(client: httpx.Client) -> None:
    """All of the reasoning comes before any of the answer, and both speak of the prompt."""
    chunks = stream(client, "Explain the tides", model="reason")
    deltas = [next(iter(chunk["choices"][0]["delta"]), "") for chunk in chunks[1:-1]]
    assert deltas == sorted(deltas, reverse=True)
    assert set(deltas) == {"reasoning_content", "content"}
    assert "the tides" in text_of(chunks, "reasoning_content")


def test_choices_are_interleaved(client: httpx.Client) -> None:
    """With n choices the deltas come by turns, and each choice has its own end."""
    chunks = stream(client, "one two three", n=3)
    indexes = [chunk["choices"][0]["index"] for chunk in chunks]
    assert indexes == [0, 1, 2] * 5
    assert finish_reasons(chunks) == ["stop"] * 3
    assert [text_of(chunks, index=index) for index in range(3)] == ["one two three"] * 3


def test_tool_call_is_streamed_in_pieces(client: httpx.Client) -> None:
    """The fitting tool is called: its id and name first, its arguments in pieces, and that is the finish reason."""
    chunks = stream(client, "What's the weather in Paris?", model="story", tools=[CLOCK, WEATHER])
    pieces = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[1:-1]]
    assert pieces[0]["id"].startswith("call_")
    assert pieces[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert len(pieces) > 3
    assert all(piece.keys() == {"index", "function"} for piece in pieces[1:])
    assert calls_of(chunks) == [("get_weather", {"location": "Paris", "unit": "celsius"})]
    assert finish_reasons(chunks) == ["tool_calls"]


def test_whole_tool_call_is_the_stream_added_up(client: httpx.Client) -> None:
    """Without streaming the message holds the calls, and its content is null."""
    completion = whole(client, "Weather in Rome, in fahrenheit", tools=[WEATHER])
    choice = completion["choices"][0]
    function = choice["message"]["tool_calls"][0]["function"]
    assert choice["message"]["content"] is None
    assert json.loads(function["arguments"]) == {"location": "Rome", "unit": "fahrenheit"}
    assert choice["finish_reason"] == "tool_calls"
    assert completion["usage"]["completion_tokens"] == count(function["name"]) + count(function["arguments"])


def test_several_places_are_several_calls(client: httpx.Client) -> None:
    """Two places are two calls side by side with ids of their own, unless the caller wants one at a time."""
    prompt = "What's the weather in Paris and New York?"
    chunks = stream(client, prompt, tools=[WEATHER])
    assert [arguments["location"] for _, arguments in calls_of(chunks)] == ["Paris", "New York"]
    calls = whole(client, prompt, tools=[WEATHER])["choices"][0]["message"]["tool_calls"]
    assert len({call["id"] for call in calls}) == 2
    assert len(calls_of(stream(client, prompt, tools=[WEATHER], parallel_tool_calls=False))) == 1


def test_tool_choice_forces_and_forbids(client: httpx.Client) -> None:
    """A forced tool is called whatever the prompt says; with "none" the answer is text."""
    forced = {"type": "function", "function": {"name": "set_alarm"}}
    chunks = stream(client, "Weather in Paris?", tools=[WEATHER, CLOCK], tool_choice=forced)
    assert calls_of(chunks) == [("set_alarm", {})]
    chunks = stream(client, "Weather in Paris?", tools=[WEATHER], tool_choice="none")
    assert (text_of(chunks), finish_reasons(chunks)) == ("Weather in Paris?", ["stop"])


def test_tool_loop_ends_in_text_that_tells_the_results(client: httpx.Client) -> None:
    """The calls, sent back with their results, are answered by a text that mentions each of them."""
    message = whole(client, "Weather in Paris and Rome?", tools=[WEATHER])["choices"][0]["message"]
    results = ['{"celsius": 21, "sky": "clear"}', "Thunder since noon"]
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Weather in Paris and Rome?"}, message]
    for call, result in zip(message["tool_calls"], results, strict=True):
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    answer = whole(client, "", messages=messages, tools=[WEATHER], model="story")["choices"][0]
    assert answer["finish_reason"] == "stop"
    assert answer["message"]["content"] == (
        "According to get_weather, celsius is 21 and sky is clear. According to get_weather, Thunder since noon."
    )


def test_arguments_cut_by_max_tokens_finish_for_length(client: httpx.Client) -> None:
    """The limit holds for tool calls as well: the JSON is cut, and the finish reason says so."""
    choice = whole(client, "Weather in Paris?", tools=[WEATHER], max_tokens=4)["choices"][0]
    arguments = choice["message"]["tool_calls"][0]["function"]["arguments"]
    assert choice["finish_reason"] == "length"
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(arguments)


def test_answer_satisfies_the_response_format(client: httpx.Client) -> None:
    """With a JSON schema the text is JSON of that schema; with ``json_object`` it is an object."""
    schema = {"type": "object", "properties": {"year": {"type": "integer", "minimum": 1900}}, "required": ["year"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "film", "schema": schema}}
    chunks = stream(client, "A film of 1984", response_format=wanted)
    assert json.loads(text_of(chunks)) == {"year": 1984}
    answer = whole(client, "A film", response_format={"type": "json_object"})["choices"][0]["message"]["content"]
    assert json.loads(answer) == {"answer": "film"}


MALFORMED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"messages": None}, "messages", "invalid_type"),
    ({"messages": "Hi"}, "messages", "invalid_type"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", None),
    ({"messages": [{"role": "tool", "tool_call_id": "call_1", "content": "x"}]}, "messages[0].role", None),
    ({"n": 0}, "n", "invalid_value"),
    ({"n": "2"}, "n", "invalid_type"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    ({"stream_options": {"include_usage": True}}, "stream_options", None),
    ({"temperature": 3}, "temperature", "invalid_value"),
    ({"tool_choice": "auto"}, "tool_choice", None),
    ({"tool_choice": {"type": "function", "function": {"name": "x"}}, "tools": [WEATHER]}, "tool_choice", None),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
    ({"delay": -1}, "delay", "invalid_value"),
    (
        {"tools": [CLOCK, {"type": "function", "function": {"name": "weather", "parameters": {"not": {}}}}]},
        "tools[1].function.parameters",
        "invalid_function_parameters",
    ),
    (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
        "missing_required_parameter",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": []}}}},
        "response_format.json_schema.schema",
        "invalid_json_schema",
    ),
]


@pytest.mark.parametrize(("change", "param", "code"), MALFORMED)
def test_malformed_request_is_refused(
    client: httpx.Client, change: dict[str, Any], param: str, code: str | None
) -> None:
    """HTTP 400 with OpenAI's error body, which names the parameter."""
    response = client.post("/chat/completions", json=body_of("Weather", **change))
    error = response.json()["error"]
    assert response.status_code == 400
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code)
    assert error["message"]


def test_unanswered_tool_calls_are_refused(client: httpx.Client) -> None:
    """Every call has to be answered before the conversation goes on."""
    message = whole(client, "Weather in Paris?", tools=[WEATHER])["choices"][0]["message"]
    messages = [{"role": "user", "content": "Weather in Paris?"}, message, {"role": "user", "content": "So?"}]
    response = client.post("/chat/completions", json=body_of("", messages=messages))
    assert response.status_code == 400
    assert message["tool_calls"][0]["id"] in response.json()["error"]["message"]


def test_unknown_model_is_not_found(client: httpx.Client) -> None:
    """HTTP 404 with the code that OpenAI gives, in a body that says what there is."""
    response = client.post("/chat/completions", json=body_of("Hi", model="gpt-9"))
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert "gpt-9" in response.text
    assert "story, echo, reason" in response.text


def test_no_json_and_other_paths_are_refused(client: httpx.Client) -> None:
    """What is no request for a chat completion is none."""
    assert client.post("/chat/completions", content=b"{").status_code == 400
    assert client.post("/chat/completions", content=b"\xff").status_code == 400
    assert client.post("/chat/completions", content=b"[]").status_code == 400
    assert client.post("/embeddings", json={}).status_code == 404
    assert client.get("/chat/completions").status_code == 405


def test_pace_is_the_delay_of_each_piece(client: httpx.Client) -> None:
    """Every delta waits for the delay, by the caller's own way to wait; what frames them does not."""
    waits: list[float] = []
    body = body_of("one two three", stream=True, delay=0.5)
    request = client.build_request("POST", "/chat/completions", json=body, extensions={"sleep": waits.append})
    chunks = events_of(client.send(request).text)
    assert text_of(chunks) == "one two three"
    assert waits == [0.5] * 3


def test_default_pace_is_that_of_a_model(client: httpx.Client) -> None:
    """Without a delay in the request a token takes a fiftieth of a second."""
    waits: list[float] = []
    body = body_of("one two", stream=True)
    del body["delay"]
    request = client.build_request("POST", "/chat/completions", json=body, extensions={"sleep": waits.append})
    client.send(request)
    assert waits == [0.02] * 2


def test_whole_completion_takes_the_time_of_its_pieces(client: httpx.Client) -> None:
    """Without streaming the same time passes before the one answer."""
    waits: list[float] = []
    body = body_of("one two three", delay=0.5)
    request = client.build_request("POST", "/chat/completions", json=body, extensions={"sleep": waits.append})
    client.send(request)
    assert waits == [0.5] * 3


@pytest.mark.parametrize("streaming", [True, False])
def test_read_timeout_holds(client: httpx.Client, *, streaming: bool) -> None:
    """A pace slower than the client's patience is a timeout, after that patience and not after the delay."""
    waits: list[float] = []
    body = body_of("one two three", stream=streaming, delay=4)
    request = client.build_request(
        "POST", "/chat/completions", json=body, timeout=6 if not streaming else 3, extensions={"sleep": waits.append}
    )
    with pytest.raises(httpx.ReadTimeout):
        client.send(request)
    assert waits == ([3] if streaming else [4, 2])


def test_closed_from_another_thread_ends_the_body(client: httpx.Client) -> None:
    """A response that is closed during a wait sends nothing after it."""
    waiting, closed = threading.Event(), threading.Event()

    def wait(_seconds: float) -> None:
        waiting.set()
        assert closed.wait(10)

    request = client.build_request(
        "POST", "/chat/completions", json=body_of("one two", stream=True, delay=1), extensions={"sleep": wait}
    )
    response = client.send(request, stream=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(response.iter_lines()))
    reader.start()
    assert waiting.wait(10)
    response.close()
    closed.set()
    reader.join(10)
    assert not any("one" in line for line in lines)


def test_async_client_reads_the_same() -> None:
    """On an event loop the same chunks come as without one."""

    async def read() -> str:
        async with httpx.AsyncClient(transport=Simulator(), base_url="http://simulator/v1") as client:
            response = await client.post("/chat/completions", json=body_of("Hello there", stream=True))
            return response.text

    with httpx.Client(transport=Simulator(), base_url="http://simulator/v1") as client:
        blocking = stream(client, "Hello there")
    chunks = events_of(asyncio.run(read()))
    assert [chunk["choices"] for chunk in chunks] == [chunk["choices"] for chunk in blocking]


def test_async_reader_of_an_endless_story_can_be_cancelled() -> None:
    """A task that reads without end lets others run, and ends when it is cancelled, though nothing waits for time."""
    enough = asyncio.Event()

    async def read_on() -> None:
        body = body_of("An endless story about sand", model="story", stream=True)
        async with (
            httpx.AsyncClient(transport=Simulator(), base_url="http://simulator/v1") as client,
            client.stream("POST", "/chat/completions", json=body) as response,
        ):
            lines = response.aiter_lines()
            for _ in range(100):
                await anext(lines)
            enough.set()
            async for _ in lines:
                pass

    async def main() -> None:
        task = asyncio.create_task(read_on())
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(asyncio.wait_for(main(), 20))


def test_async_read_timeout_holds() -> None:
    """The client's patience bounds the wait on an event loop as well."""

    async def read() -> None:
        async with httpx.AsyncClient(transport=Simulator(), base_url="http://simulator/v1") as client:
            await client.post("/chat/completions", json=body_of("one", stream=True, delay=60), timeout=0.01)

    started = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        asyncio.run(read())
    assert time.monotonic() - started < 30
