"""Every documented LiteLLM streaming recipe, run unchanged but for the package's name, beside its pipeline.

The recipes are run as a user would run them: as scripts that find the key and the server in the environment.
"""

import asyncio
import contextlib
import io
import json
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as rxops

from rxllm import Stream, Timeouts, completion
from rxllm import operators as ops
from rxllm.exceptions import APIError, Timeout
from rxllm.types import ModelResponseStream
from tests.recordings import RANKS, RECIPES
from tests.server import Answering, Server, chunk

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
MESSAGES = [{"role": "user", "content": "Hello"}]
WORDS = ("Hel", "lo", " wor", "ld")


@pytest.fixture(autouse=True)
def _environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-recipe")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    server.script = answer


async def answer(answering: Answering) -> None:
    """As OpenAI would: words, or a tool call in pieces; cut off at max_tokens; usage last, as it was asked for."""
    asked = answering.json
    assert asked["stream"] is True
    assert asked["stream_options"] == {"include_usage": True}
    await answering.start()
    await answering.event(chunk(""))
    if asked.get("tools"):
        for function in (
            {"name": "get_weather", "arguments": ""},
            {"arguments": '{"loca'},
            {"arguments": 'tion": "Paris"}'},
        ):
            call = {
                "index": 0,
                "function": function,
                **({"id": "call_1", "type": "function"} if "name" in function else {}),
            }
            event = chunk()
            event["choices"][0]["delta"] = {"tool_calls": [call]}
            await answering.event(event)
        await answering.event(chunk(finish="tool_calls"))
    else:
        for word in WORDS:
            await answering.event(chunk(word))
        await answering.event(chunk(finish="length" if asked.get("max_tokens") else "stop"))
    await answering.last({**chunk(), "choices": [], "usage": USAGE}, "[DONE]")


def run(recipe: str, **names: Any) -> str:
    """What the script prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(recipe, "<recipe>", "exec"), {"__name__": "__main__", **names})  # noqa: S102  a script is what it is
    return out.getvalue()


def stream(**parameters: Any) -> Stream[ModelResponseStream]:
    """A stream of gpt-4."""
    made: Stream[ModelResponseStream] = completion(model="gpt-4", messages=MESSAGES, stream=True, **parameters)
    return made


def printed(pipeline: Callable[[], Any]) -> str:
    """What a pipeline prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        pipeline()
    return out.getvalue()


BASIC = """
from rxllm import completion
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Write a short story"}],
    stream=True
)
for chunk in response:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")
"""

COUNT_TO_TEN = """
from rxllm import completion
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Count from 1 to 10"}],
    stream=True
)
for chunk in response:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
print() # New line after streaming completes
"""

WITH_USAGE = """
from rxllm import completion
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Explain AI"}],
    stream=True,
    stream_options={"include_usage": True}
)
for chunk in response:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
# Usage info is in the last chunk
if hasattr(chunk, 'usage') and chunk.usage:
    print(f"\\n\\nTokens used: {chunk.usage.total_tokens}")
"""

COMPLETE_RESPONSE = """
from rxllm import completion
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Hello"}],
    stream=True
)
complete_response = ""
for chunk in response:
    if chunk.choices[0].delta.content:
        content = chunk.choices[0].delta.content
        complete_response += content
        print(content, end="", flush=True)
print(f"\\n\\nComplete response: {complete_response}")
"""

FINISH_REASONS = """
from rxllm import completion
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Explain quantum physics"}],
    stream=True,
    max_tokens=100 # Will likely hit token limit
)
for chunk in response:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
    if chunk.choices[0].finish_reason:
        print(f"\\n\\nFinished: {chunk.choices[0].finish_reason}")
# Possible values: 'stop', 'length', 'content_filter', 'tool_calls'
"""

JOKE = """
from rxllm import completion
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Tell me a joke"}],
    stream=True
)
for chunk in response:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="")
"""

FUNCTION_CALLS = """
from rxllm import completion
import json
tools = [{
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather for a location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string"}
            }
        }
    }
}]
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "What's the weather in Paris?"}],
    tools=tools,
    stream=True
)
function_name = ""
function_args = ""
for chunk in response:
    delta = chunk.choices[0].delta
    if delta.tool_calls:
        for tool_call in delta.tool_calls:
            if tool_call.function.name:
                function_name += tool_call.function.name
            if tool_call.function.arguments:
                function_args += tool_call.function.arguments
    if chunk.choices[0].finish_reason == "tool_calls":
        print(f"Function: {function_name}")
        print(f"Arguments: {json.loads(function_args)}")
"""

ERROR_HANDLING = """
from rxllm import completion
from rxllm.exceptions import APIError, Timeout
try:
    response = completion(
        model="gpt-4",
        messages=[{"role": "user", "content": "Hello"}],
        stream=True,
        timeout=10.0
    )
    for chunk in response:
        if chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, end="")
except Timeout:
    print("Request timed out during streaming")
except APIError as e:
    print(f"API error occurred: {e}")
except Exception as e:
    print(f"Unexpected error during streaming: {e}")
"""

CUSTOM_PROCESSING = """
from rxllm import completion
import time
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Write a poem"}],
    stream=True
)
start_time = time.time()
chunk_count = 0
total_content = ""
for chunk in response:
    chunk_count += 1
    if chunk.choices[0].delta.content:
        content = chunk.choices[0].delta.content
        total_content += content
        print(content, end="", flush=True)
end_time = time.time()
print(f"\\n\\nReceived {chunk_count} chunks in {end_time - start_time:.2f}s")
print(f"Total content length: {len(total_content)} characters")
"""

TOKEN_COUNTING = """
from rxllm import completion
import tiktoken
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Explain machine learning"}],
    stream=True
)
encoding = tiktoken.encoding_for_model("gpt-4")
complete_response = ""
for chunk in response:
    if chunk.choices[0].delta.content:
        content = chunk.choices[0].delta.content
        complete_response += content
        print(content, end="", flush=True)
token_count = len(encoding.encode(complete_response))
print(f"\\n\\nGenerated approximately {token_count} tokens")
"""

CANCELLING = """
from rxllm import completion
response = completion(
    model="gpt-4",
    messages=[{"role": "user", "content": "Write a very long story"}],
    stream=True
)
max_chunks = 10
chunk_count = 0
for chunk in response:
    if chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
        chunk_count += 1
    if chunk_count >= max_chunks:
        print("\\n\\nStopping early...")
        break # Stream automatically closes on iteration exit
"""

SUBSCRIPTS = """
response = completion(model="gpt-3.5-turbo", messages=messages, stream=True)
for chunk in response:
    print(chunk['choices'][0]['delta'])
"""

SUBSCRIPTS_WITH_USAGE = """
from rxllm import completion
import os

os.environ["OPENAI_API_KEY"]=""

response = completion(model="gpt-3.5-turbo", messages=messages, stream=True, stream_options={"include_usage":True})
for chunk in response:
    print(chunk['choices'][0]['delta'])
"""

ASYNC = """
from rxllm import acompletion
import asyncio

async def test_get_response():
    user_message = "Hello, how are you?"
    messages = [{"content": user_message, "role": "user"}]
    response = await acompletion(model="gpt-3.5-turbo", messages=messages)
    return response

response = asyncio.run(test_get_response())
print(response)
"""

ALL = {name: value for name, value in vars().items() if name.isupper() and isinstance(value, str)}


@pytest.mark.skipif(not RECIPES.is_dir(), reason="the documentation is not at ../shared/recipes")
@pytest.mark.parametrize("recipe", ALL.values(), ids=ALL.keys())
def test_the_recipes_are_the_documented_ones(recipe: str) -> None:
    """But for the package's name and the indentation that the documentation lost, not a character differs."""

    def lines(text: str) -> str:
        return "\n".join(line.strip() for line in text.splitlines() if line.strip())

    documented = "\n".join(lines(path.read_text()) for path in sorted(RECIPES.glob("*.txt"))).replace(
        "litellm", "rxllm"
    )
    wanted = lines(recipe)
    # The documentation breaks two statements over lines that nobody could have typed so.
    assert re.sub(r"\s+", "", wanted) in re.sub(r"\s+", "", documented)


def test_every_documented_recipe_is_here() -> None:
    """Eleven calls of completion() in the guide, three snippets on the page."""
    assert len(ALL) == 14
    if RECIPES.is_dir():
        documented = "".join(path.read_text() for path in RECIPES.glob("*.txt"))
        assert len(re.findall(r"= (?:await a)?completion\(", documented)) == len(ALL)


@pytest.mark.parametrize("recipe", [BASIC, JOKE])
def test_plain_loop(recipe: str) -> None:
    """The loop and print_text print the same."""
    assert run(recipe) == printed(lambda: stream().pipe(ops.print_text(end="")).run()) == "Hello world"


def test_plain_loop_with_a_new_line() -> None:
    """The new line after the stream is print_text's own."""
    assert run(COUNT_TO_TEN) == printed(lambda: stream().pipe(ops.print_text()).run()) == "Hello world\n"


def test_usage() -> None:
    """The last chunk carries usage; attach_usage needs no asking for it."""
    assert run(WITH_USAGE) == "Hello world\n\nTokens used: 7\n"
    last = stream().pipe(ops.attach_usage()).run()
    assert last.usage is not None
    assert last.usage.total_tokens == 7
    assert last.usage.estimated is False


def test_the_usage_chunk_has_no_choices_and_a_blank_first() -> None:
    """Its choices are an empty list, and [0] can be read all the same; no other chunk has usage."""
    *others, last = stream(stream_options={"include_usage": True})
    assert len(last.choices) == 0
    assert list(last.choices) == last.model_dump()["choices"] == []
    assert last.choices[0].delta.content is None
    assert last["choices"][0]["delta"]["content"] is None
    assert [other.usage for other in others] == [None] * len(others)
    assert all("usage" in other for other in others)


def test_usage_that_no_provider_reports_is_counted(server: Server) -> None:
    """As documented, the additional chunk comes from every provider; where it was counted, it says so."""

    async def script(answering: Answering) -> None:
        await answering.stream(*WORDS)

    server.script = script
    *others, last = stream(stream_options={"include_usage": True})
    assert [other.usage for other in others] == [None] * len(others)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.completion_tokens, last.usage.estimated) == (2, True)


def test_complete_response() -> None:
    """accumulate_text's last item, or build_response's message."""
    assert run(COMPLETE_RESPONSE) == "Hello world\n\nComplete response: Hello world\n"
    assert stream().pipe(ops.accumulate_text()).run() == "Hello world"
    whole = completion(model="gpt-4", messages=MESSAGES)
    assert whole == stream().pipe(ops.build_response()).run()
    assert whole.choices[0].message.content == whole["choices"][0]["message"]["content"] == "Hello world"
    assert whole.usage is not None
    assert whole.usage.total_tokens == 7
    assert (whole.choices[0].finish_reason, whole.object, whole.model) == ("stop", "chat.completion", "gpt-4")


def test_finish_reasons() -> None:
    """finish_reason gives it at the end; require_finish refuses one that was not wanted."""
    assert run(FINISH_REASONS) == "Hello world\n\nFinished: length\n"
    assert stream(max_tokens=100).pipe(ops.finish_reason()).run() == "length"
    with pytest.raises(APIError, match="length"):
        stream(max_tokens=100).pipe(ops.require_finish("stop")).run()


def test_function_calls() -> None:
    """assemble_tool_calls gives the call whole and parsed."""
    assert run(FUNCTION_CALLS) == "Function: get_weather\nArguments: {'location': 'Paris'}\n"
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    (call,) = stream(tools=tools).pipe(ops.assemble_tool_calls())
    assert (call.id, call.index, call.function.name, call.parsed) == ("call_1", 0, "get_weather", {"location": "Paris"})
    assert json.loads(call.function.arguments) == call.parsed


def test_error_handling(server: Server) -> None:
    """No error, an API error, and a stall past the timeout: in the loop by except, in a pipeline by catch."""
    assert run(ERROR_HANDLING) == "Hello world"

    async def refuse(answering: Answering) -> None:
        await answering.json_answer(404, {"error": {"message": "No such model", "code": "model_not_found"}})

    server.script = refuse
    assert run(ERROR_HANDLING) == "API error occurred: No such model\n"

    def apologise(error: Exception, _: Observable[str]) -> Observable[str]:
        return rx.of(f"sorry: {error}")

    assert list(stream().pipe(ops.text_deltas(), rxops.catch(apologise))) == ["sorry: No such model"]

    async def stall(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        await answering.closed()

    server.script = stall
    soon = ERROR_HANDLING.replace("10.0", "Timeouts(idle=0.05)")  # for the first event a busy machine may need longer
    assert run(f"from rxllm import Timeouts\n{soon}") == "HelRequest timed out during streaming\n"
    with pytest.raises(Timeout, match=r"No further event within 0\.05 s \(the idle timeout\), .* 1 chunk had come"):
        stream(timeout=Timeouts(idle=0.05)).run()


def test_custom_processing() -> None:
    """Counting and timing; reactivex's own operators do it on the same Stream."""
    told = re.sub(r"\d+\.\d+s", "0.00s", run(CUSTOM_PROCESSING))
    assert told == "Hello world\n\nReceived 6 chunks in 0.00s\nTotal content length: 11 characters\n"
    assert stream().pipe(rxops.count()).run() == 6
    assert stream().pipe(ops.text_deltas(), rxops.map(len), rxops.sum()).run() == 11


def test_token_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """count_tokens counts as tiktoken does, while the text comes, and needs no network for it."""
    counts = list(stream().pipe(ops.count_tokens(model="gpt-4")))
    assert counts[-1] == 2
    assert len(counts) == len(WORDS)
    if not RANKS.is_dir():
        pytest.skip("tiktoken's own rank files are not at ../shared/tiktoken")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(RANKS))
    assert run(TOKEN_COUNTING) == f"Hello world\n\nGenerated approximately {counts[-1]} tokens\n"


def test_cancelling(server: Server) -> None:
    """break closes the request; take_chunks ends it after as many chunks with content."""

    async def endless(answering: Answering) -> None:
        await answering.start()
        closed = asyncio.ensure_future(answering.closed())
        while not closed.done():
            await answering.event(chunk("x"))
            await asyncio.sleep(0)

    server.script = endless
    assert run(CANCELLING) == "x" * 10 + "\n\nStopping early...\n"
    assert server.next_closed() == 1
    assert stream().pipe(ops.take_chunks(10), ops.accumulate_text()).run() == "x" * 10
    assert server.next_closed() == 2


def test_subscripts(server: Server) -> None:
    """Chunks can be read like dictionaries; with an empty key in the environment the request is refused, not sent."""
    deltas = run(SUBSCRIPTS, completion=completion, messages=MESSAGES).splitlines()
    assert len(deltas) == 6
    assert "content='Hel'" in deltas[1]
    sent = len(server.requests)
    with pytest.raises(APIError, match="OPENAI_API_KEY"):
        run(SUBSCRIPTS_WITH_USAGE, messages=MESSAGES)
    assert len(server.requests) == sent
    with_a_key = SUBSCRIPTS_WITH_USAGE.replace('=""', '="sk-recipe"')
    deltas = run(with_a_key, messages=MESSAGES).splitlines()
    assert len(deltas) == 7
    assert "content=None" in deltas[-1]


def test_acompletion() -> None:
    """Awaited for the whole response; with stream=True awaited for the Stream, and looped over."""
    assert "content='Hello world'" in run(ASYNC)
    script = """
        from rxllm import acompletion
        import asyncio

        async def main():
            response = await acompletion(model="gpt-4", messages=messages, stream=True)
            async for chunk in response:
                print(chunk.choices[0].delta.content or "", end="")

        asyncio.run(main())
    """
    assert run(textwrap.dedent(script), messages=MESSAGES) == "Hello world"


def test_a_conversation_goes_on_with_what_came(server: Server) -> None:
    """The message of a response, whole or in the parts that people take of it, can be sent again as it is."""
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]
    message = completion(model="gpt-4", messages=MESSAGES, tools=tools).choices[0].message
    result = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
    parts = {"role": "assistant", "content": None, "tool_calls": message.tool_calls}
    for sent in (message, parts):
        completion(model="gpt-4", messages=[*MESSAGES, sent, result])
        calls = server.requests[-1].json["messages"][1]["tool_calls"]
        function = {"name": "get_weather", "arguments": '{"location": "Paris"}'}
        assert calls == [{"id": "call_1", "type": "function", "function": function}]
