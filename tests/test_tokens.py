"""Counting tokens: the packed encodings are tiktoken's, and the count of a growing text is exact after every piece."""

import copy
import json
import lzma
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

import rxllm
from rxllm import _token_counter
from rxllm._token_counter import TokenCounter
from rxllm._tokens import (
    TokenCount,
    count_completion,
    count_prompt,
    count_text,
    count_tools,
    encoding_for,
    estimate_usage,
    get_encoding,
    token_counter,
)
from rxllm.types import (
    ChatCompletionMessageToolCall,
    Choices,
    Function,
    Message,
    ModelResponse,
)
from tests.recordings import RANKS

NAMES = ["cl100k_base", "o200k_base"]
each_encoding = pytest.mark.parametrize("name", NAMES)
# The counts are held by thousands of cases, ten times what the profile asks of other properties.
thousands = settings(max_examples=10 * settings().max_examples)
needs_ranks = pytest.mark.skipif(not RANKS.is_dir(), reason="the published rank files are not at ../shared/tiktoken")

TEXTS = [
    "Once upon a time, in a land far away, there lived 12345 dragons; don't ask why.",
    "def f(x: int) -> list[str]:\n    return [str(y) for y in range(x)]\n\n\n# end\t\t\n",
    "今天天气很好\uff0c我们去公园。ひらがなカタカナ 안녕하세요 Привет мир שלום مرحبا",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 na\u0131ve cafe\u0301 \u00bd \u01c5 <|endoftext|>",
    "    \n  \n\n\t x  \r\n\r\n  HELLO漢字XYz camelCaseText I'M I'Ve 3.14159/2 http://a.b/c?d=e",
]


@needs_ranks
@pytest.mark.parametrize("name", [*NAMES, "o200k_harmony"])
def test_packed_encodings_are_tiktokens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token has the rank it has in tiktoken, special ones too, and texts get the same ids."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(RANKS))
    ours, theirs = get_encoding(name), tiktoken.get_encoding(name)
    assert ours.n_vocab == theirs.n_vocab
    assert ours.special_tokens_set == theirs.special_tokens_set
    assert ours.token_byte_values() == theirs.token_byte_values()
    for text in TEXTS:
        assert ours.encode(text, disallowed_special=()) == theirs.encode(text, disallowed_special=())
        assert ours.encode(text, allowed_special="all") == theirs.encode(text, allowed_special="all")


@needs_ranks
@pytest.mark.parametrize("name", NAMES)
def test_packed_ranks_are_tiktokens(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token alone has the id it has in tiktoken."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(RANKS))
    ours, theirs = get_encoding(name), tiktoken.get_encoding(name)
    single = ours.encode_single_token
    assert all(single(token) == theirs.encode_single_token(token) for token in theirs.token_byte_values())


def test_special_tokens_are_text() -> None:
    """What looks like a special token in a model's answer is counted as the text that it is."""
    assert count_text(get_encoding("o200k_base"), "<|endoftext|>") > 1


def test_pack_script_writes_what_is_committed(tmp_path: Path) -> None:
    """Packing the published rank files unpacks to the committed files' tokens; another file is refused."""
    if not RANKS.is_dir():
        pytest.skip("the published rank files are not at ../shared/tiktoken")
    root = Path(__file__).resolve().parents[1]
    script = (root / "scripts" / "pack_encodings.py").read_text()
    copy = tmp_path / "scripts" / "pack_encodings.py"
    copy.parent.mkdir()
    copy.write_text(script)
    target = tmp_path / "rxllm" / "_encodings"
    target.mkdir(parents=True)
    subprocess.run([sys.executable, str(copy), str(RANKS)], check=True, capture_output=True)
    for name in NAMES:
        # Versions of xz may compress differently.
        packed, committed = target / f"{name}.xz", root / "rxllm" / "_encodings" / f"{name}.xz"
        assert lzma.decompress(packed.read_bytes()) == lzma.decompress(committed.read_bytes())
    (tmp_path / "cl100k_base.tiktoken").write_bytes(b"IQ== 0\n")
    refused = subprocess.run([sys.executable, str(copy), str(tmp_path)], check=False, capture_output=True, text=True)
    assert refused.returncode
    assert "SHA-256" in refused.stderr


def test_encodings_are_loaded_once_from_any_thread() -> None:
    """Threads that ask at once get one and the same encoding."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(get_encoding, ["o200k_harmony"] * 16))
    assert all(encoding is found[0] for encoding in found)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4", "cl100k_base"),
        ("gpt-4-0613", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-4o", "o200k_base"),
        ("openai/gpt-4o-mini", "o200k_base"),
        ("openrouter/openai/gpt-4o", "o200k_base"),
        ("openai/gpt-oss-120b", "o200k_harmony"),
        ("ft:gpt-4o:org::id", "o200k_base"),
        ("o1", "o200k_base"),
    ],
)
def test_models_encodings(model: str, name: str) -> None:
    """A model is known with and without the prefixes of providers."""
    assert encoding_for(model).name == name


def test_unknown_model_names_the_way_out() -> None:
    """A model without a known encoding is an error that names `encoding=`."""
    with pytest.raises(ValueError, match=r"'acme/parrot'.*encoding="):
        encoding_for("acme/parrot")


def test_unknown_encoding_names_the_known() -> None:
    """An encoding that nobody knows is an error that names those there are."""
    with pytest.raises(ValueError, match="cl100k_base"):
        get_encoding("c9000k")


def test_encoding_that_cannot_be_fetched_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a network an encoding that is not packed is an error that says how to bring it."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for variable in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")  # nobody listens: refused at once
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ValueError, match=r"'p50k_edit'.*TIKTOKEN_CACHE_DIR"):
        get_encoding("p50k_edit")


def test_what_tiktoken_gives_up_on_is_an_ordinary_error() -> None:
    """A text that is too much for tiktoken's pattern raises what `except Exception` catches."""
    with pytest.raises(RuntimeError, match="1,000,000 characters"):
        count_text(get_encoding("o200k_base"), " " * 1_000_000)


FRAGMENTS = [
    "a", "z", "the", " quick", "HELLO", "XY", "camelCase", "don", "'", "'t", "'S", "\u017f", "s",
    "1", "23", "456", "7890",
    " ", "  ", "\t", "\n", "\r\n", "\n\n", "!", "?!", "/", "//", "_", "-", "(", ")", "=", ".", ",", '"', "é", "Я", "Σ",
    "漢字",
    "です", "。", "\uff0c", "안녕", "م", "\u0e01\u0e34", "\u0301", "\u00a0", "\u3000", "\u2028", "\u0085", "\x1c",
    "\u200b", "\ud83d", "\ude00", "\U0001f600", "\u00bd", "\u01c5", "\u2019", "\u30fc",
]  # fmt: skip
any_text = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join),
    st.text(st.characters(), max_size=12),
    st.text(st.characters(max_codepoint=0x2FF), max_size=12),
)


def assert_exact(name: str, pieces: list[str]) -> None:
    """After every piece the counter agrees with encoding all of the text."""
    encoding = get_encoding(name)
    counter, text = TokenCounter(encoding), ""
    for piece in pieces:
        text += piece
        assert counter.add(piece) == count_text(encoding, text), text


@each_encoding
@thousands
@given(pieces=st.lists(any_text, max_size=8))
def test_counter_is_exact_after_every_piece(name: str, pieces: list[str]) -> None:
    """Whatever the text and wherever it is cut, the count so far is that of the plain encoding."""
    assert_exact(name, pieces)


@each_encoding
@thousands
@given(text=any_text, data=st.data())
def test_counter_does_not_depend_on_the_cuts(name: str, text: str, data: st.DataObject) -> None:
    """Any two cuttings of a text come to the same count, lone surrogates and halves of pairs too."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    counter = TokenCounter(get_encoding(name))
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        counter.add(text[start:end])
    assert counter.total == count_text(get_encoding(name), text)


@pytest.mark.parametrize("name", [*NAMES, "o200k_harmony"])
@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_counter_is_exact_on_real_text(name: str, text: str, size: int) -> None:
    """Prose, code, many scripts and emoji, in pieces of several sizes."""
    assert_exact(name, [text[start : start + size] for start in range(0, len(text), size)])


# What one kind of run is made of; white space and letters in all mixtures.
RUNS = [
    "a", "thequickbrownfox", "ABCDEFG", "aZ", "aéяσ", "漢字的一是在不了", "ひらがなカタカナ", "안녕하세요", "שלום",
    " ", "\n", "\r\n", " \n", " \t\r\n\v\f\u00a0\u3000", "-=*", ".", "}\n", "/\n",
]  # fmt: skip
BETWEEN = [
    "",
    " ",
    "x ",
    "\n",
    "!",
    "- ",
    "(",
    "'",
    "1",
    "2345",
    "X",
    "漢",
    "/",
    "!\n",
    "\U0001f600",
    "\u2028",
    "\ud83d",
]
runs = st.lists(
    st.tuples(
        st.sampled_from(BETWEEN),
        st.sampled_from(RUNS).flatmap(lambda kind: st.lists(st.text(kind, min_size=1, max_size=5), max_size=12)),
    ),
    max_size=4,
)


@each_encoding
@thousands
@given(parts=runs, long=st.sampled_from([1, 3, 10, 30]))
def test_counter_is_exact_in_long_runs(name: str, parts: list[tuple[str, list[str]]], long: int) -> None:
    """A long run without a boundary, counted byte by byte, goes on and ends exactly, whatever follows it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_token_counter, "_LONG", long)
        assert_exact(name, [piece for before, pieces in parts for piece in (before, *pieces)])


@each_encoding
@pytest.mark.parametrize(
    "text", ["a", "thequickbrownfox", "漢字的一是在不了", "-", " \n  \n\t", "\n" + " " * 70, "Ab\n"]
)
def test_counter_is_exact_over_thousands_of_characters(name: str, text: str) -> None:
    """Far beyond what a run keeps in mind of its own text."""
    encoding, whole = get_encoding(name), (text * 6_000)[:6_000]
    counter = TokenCounter(encoding)
    for start in range(0, 6_000, 5):
        count = counter.add(whole[start : start + 5])
        if start % 300 == 0:
            assert count == count_text(encoding, whole[: start + 5])
    assert counter.add("x y") == count_text(encoding, whole + "x y")


@pytest.mark.parametrize(("name", "cut"), [("cl100k_base", 1_000_000), ("o200k_base", 250_000)])
def test_counter_counts_what_tiktoken_gives_up_on(name: str, cut: int) -> None:
    """A million spaces, in one piece or in several, and what comes after them."""
    encoding, spaces = get_encoding(name), " " * 1_000_000
    by_itself = encoding._encode_single_piece  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    counter = TokenCounter(encoding)
    for start in range(0, len(spaces), cut):
        counter.add(spaces[start : start + cut])
    assert counter.total == len(by_itself(spaces.encode()))
    assert counter.add("word up") == len(by_itself(spaces[1:].encode())) + count_text(encoding, " word up")


class CountingEncoding:
    """Stands before an encoding and counts the characters that are encoded."""

    def __init__(self, encoding: tiktoken.Encoding) -> None:
        self.encoding = encoding
        self.name = encoding.name
        self.characters = 0

    def encode(self, text: str, *, disallowed_special: tuple[()] = ()) -> list[int]:
        """Encodes, and counts the characters."""
        self.characters += len(text)
        return self.encoding.encode(text, disallowed_special=disallowed_special)

    def __getattr__(self, name: str) -> object:
        return getattr(self.encoding, name)


@each_encoding
@pytest.mark.parametrize(
    "text",
    [
        " the quick brown fox, it jumped",
        "今天天气很好\uff0c我们去公园。",
        "x = f(1.5)\n",
        "12345678901",
        "a",
        "漢字",
        " ",
        "\n",
        "  \n",
        "}\n",
        "=",
        "\u3000\n",
        "слово",
    ],
)
def test_counter_costs_what_is_new(name: str, text: str) -> None:
    """Ten times the text costs not much more than ten times the encoding, in prose, code and unbroken runs alike."""

    def encoded(characters: int) -> int:
        counting = CountingEncoding(get_encoding(name))
        counter = TokenCounter(counting)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        whole = (text * (characters // len(text) + 1))[:characters]
        for start in range(0, characters, 4):
            counter.add(whole[start : start + 4])
        return counting.characters

    assert encoded(30_000) <= 15 * encoded(3_000)


def test_encoding_of_ones_own_is_counted_plainly() -> None:
    """An encoding whose pattern is not known is exact too: nothing of its text is taken as settled."""
    ranks = {bytes([byte]): byte for byte in range(256)} | {b" a": 256, b"a b": 257}
    own = tiktoken.Encoding("own", pat_str=r"[\s\S]+", mergeable_ranks=ranks, special_tokens={})
    counter, text = TokenCounter(own), ""
    for piece in ("a", " a", " a", " b"):
        text += piece
        assert counter.add(piece) == count_text(own, text)


def response(**message: object) -> ModelResponse:
    """A response with one choice."""
    return ModelResponse(choices=[Choices(message=Message.model_validate(message))], model="gpt-4o")


def tokens_of(*texts: str) -> int:
    """Their tokens, one by one, in o200k_base."""
    return sum(count_text(get_encoding("o200k_base"), text) for text in texts)


def test_prompt_as_the_cookbook_counts() -> None:
    """The cookbook's own example: 129 tokens with cl100k_base, 124 with o200k_base."""
    pairs = [
        ("system", None, ("You are a helpful, pattern-following assistant that translates corporate jargon into "
         "plain English.")),
        ("system", "example_user", "New synergies will help drive top-line growth."),
        ("system", "example_assistant", "Things working well together will increase revenue."),
        ("system", "example_user", ("Let's circle back when we have more bandwidth to touch base on opportunities "
         "for increased leverage.")),
        ("system", "example_assistant", "Let's talk later when we're less busy about how to do better."),
        ("user", None, "This late pivot means we don't have time to boil the ocean for the client deliverable."),
    ]  # fmt: skip
    messages = [{"role": role, "content": text} | ({"name": name} if name else {}) for role, name, text in pairs]
    assert count_prompt(messages, get_encoding("cl100k_base")) == 129
    assert count_prompt(messages, get_encoding("o200k_base")) == 124


def test_prompt_with_parts_and_calls() -> None:
    """Parts of content, tool calls, tools' answers and message objects are counted; pictures are not."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call = ChatCompletionMessageToolCall(id="call_1", function=Function(name="add", arguments='{"a": 1}'))
    messages: list[dict[str, Any] | Message] = [
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, picture]},
        Message(content=None, tool_calls=[call]),
        {"role": "tool", "tool_call_id": "call_1", "content": "2"},
    ]
    expected = 3 + 3 * 3 + tokens_of("user", "What is this?", "assistant", "add", '{"a": 1}', "tool", "call_1", "2")
    assert count_prompt(messages, get_encoding("o200k_base")) == expected


def test_completion_counts_all_that_was_generated() -> None:
    """Text, reasoning, and the names and arguments of calls."""
    call = {"id": "call_1", "function": {"name": "add", "arguments": '{"a": 1}'}}
    whole = response(content="Hello there", reasoning_content="Greet them", tool_calls=[call])
    assert count_completion(whole, get_encoding("o200k_base")) == (
        tokens_of("Hello there", "Greet them", "add", '{"a": 1}'),
        tokens_of("Greet them"),
    )


@pytest.mark.parametrize("model", [None, "gpt-4o", "acme/parrot", "text-davinci-003"])
def test_estimate_never_fails(model: str | None) -> None:
    """An unknown model, and one whose encoding is not packed, are counted with o200k_base."""
    prompt = [{"role": "user", "content": "Hi"}]
    usage = estimate_usage(model, prompt, response(content="Hello there", reasoning_content="Greet"))
    assert usage.estimated
    assert usage.prompt_tokens == 3 + 3 + tokens_of("user", "Hi")
    assert usage.completion_tokens == tokens_of("Hello there", "Greet")
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == tokens_of("Greet")


def test_estimate_of_a_text_that_tiktoken_gives_up_on() -> None:
    """It is still a number near the truth."""
    usage = estimate_usage("gpt-4o", None, response(content=" " * 1_000_000))
    assert usage.prompt_tokens == 0
    assert 1_000 < usage.completion_tokens < 100_000


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_current_weather",
        "description": "Get the current weather in a given location",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
                "unit": {
                    "type": "string",
                    "description": "The unit of temperature to return",
                    "enum": ["celsius", "fahrenheit"],
                },
            },
            "required": ["location"],
        },
    },
}
ABOUT_WEATHER = [
    {"role": "system", "content": "You are a helpful assistant that can answer to questions about the weather."},
    {"role": "user", "content": "What's the weather like in San Francisco?"},
]


@pytest.mark.parametrize(("model", "tokens"), [("gpt-3.5-turbo", 105), ("gpt-4", 105), ("openai/gpt-4o", 101)])
def test_tools_as_the_cookbook_counts(model: str, tokens: int) -> None:
    """The cookbook's own example."""
    count = token_counter(model=model, messages=ABOUT_WEATHER, tools=[WEATHER])
    assert (count, count.estimated) == (tokens, False)


def test_an_estimate_counts_the_tools_too() -> None:
    """They are sent with the prompt."""
    encoding = get_encoding("o200k_base")
    usage = estimate_usage("gpt-4o", ABOUT_WEATHER, response(content="Sunny"), [WEATHER])
    assert usage.prompt_tokens == count_prompt(ABOUT_WEATHER, encoding) + count_tools([WEATHER], encoding) == 101


@pytest.mark.parametrize(
    "tools", [[], [5], [{}], [{"function": None}], [{"function": {"parameters": 5}}], "weather", {"a": 1}, 5]
)
def test_an_estimate_never_fails_by_its_tools(tools: Any) -> None:
    """They are the provider's to refuse."""
    usage = estimate_usage("gpt-4o", ABOUT_WEATHER, response(content="Sunny"), tools)
    assert usage.prompt_tokens >= count_prompt(ABOUT_WEATHER, get_encoding("o200k_base"))


@pytest.mark.parametrize(
    ("model", "encoding", "estimated"),
    [
        ("gpt-4", "cl100k_base", False),
        ("azure/gpt-4o", "o200k_base", False),
        ("anthropic/claude-sonnet-4", "o200k_base", True),
        ("gemini-2.5-pro", "o200k_base", True),
    ],
)
def test_token_counter(model: str, encoding: str, estimated: bool) -> None:
    """With the model's own encoding; models of other makers are counted with o200k_base and marked."""
    text = "今天天气很好, isn't it?"
    for count, wanted in (
        (token_counter(model=model, text=text), count_text(get_encoding(encoding), text)),
        (token_counter(model=model, messages=ABOUT_WEATHER), count_prompt(ABOUT_WEATHER, get_encoding(encoding))),
    ):
        assert (count, count.estimated) == (wanted, estimated)


def test_token_counter_is_public() -> None:
    """It is loaded when it is asked for."""
    assert rxllm.token_counter is token_counter


@pytest.mark.parametrize(
    ("message", "estimated"),
    [
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, False),
        (Message(content="Hi"), False),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.b/c.png"}}]}, True),
        (Message(tool_calls=[ChatCompletionMessageToolCall(id="a", function=Function(name="add"))]), True),
    ],
)
def test_what_the_cookbook_does_not_count_is_an_estimate(message: Any, estimated: bool) -> None:
    """Pictures, and tool calls in messages."""
    assert token_counter("gpt-4o", messages=[message]).estimated is estimated


def test_token_counts_are_numbers() -> None:
    """They compare, add up and travel as numbers do, with their mark."""
    count = TokenCount(7, estimated=True)
    assert (count, count + 1, f"{count:,}", json.dumps(count)) == (7, 8, "7", "7")
    for other in (pickle.loads(pickle.dumps(count)), copy.copy(count), copy.deepcopy(count)):  # noqa: S301  our own
        assert (other, other.estimated) == (7, True)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"text": "Hi", "messages": ABOUT_WEATHER}, ValueError),
        ({"text": "Hi", "tools": [WEATHER]}, ValueError),
        ({"text": 5}, TypeError),
        ({"text": ["Hi"]}, TypeError),
        ({"messages": "Hi"}, TypeError),
        ({"messages": {"role": "user"}}, TypeError),
        ({"messages": ["Hi"]}, TypeError),
        ({"messages": ABOUT_WEATHER, "tools": WEATHER}, TypeError),
        ({"messages": ABOUT_WEATHER, "tools": ["weather"]}, TypeError),
        ({"model": None, "text": "Hi"}, TypeError),
    ],
)
def test_token_counter_says_what_is_wrong(arguments: dict[str, Any], error: type[Exception]) -> None:
    """By the name of the argument."""
    given_model: Any = arguments.pop("model", "gpt-4")
    with pytest.raises(error, match=r"model|text|messages|tools"):
        token_counter(given_model, **arguments)


def test_token_counter_counts_no_messages() -> None:
    """An empty prompt is the three tokens at its end, an empty text none."""
    assert token_counter("gpt-4", messages=[]) == 3
    assert token_counter("gpt-4", text="") == 0


def test_packed_encodings_need_no_network_and_no_folder(tmp_path: Path) -> None:
    """A fresh process counts with no cache to read and no proxy that answers, and writes nothing."""
    script = (
        "from rxllm._tokens import count_text, get_encoding as g; print(count_text(g('o200k_base'), 'Hello world'))"
    )
    environment = {"TIKTOKEN_CACHE_DIR": str(tmp_path), "HTTPS_PROXY": "http://127.0.0.1:1", "PATH": ""}
    root = Path(__file__).resolve().parents[1]
    run = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment, cwd=root
    )
    assert run.stdout == "2\n"
    assert not list(tmp_path.iterdir())


TWO_ARE_THE_FIRST = """
import sys, threading
from importlib.machinery import PathFinder
from rxllm import _tokens

begun, asking, at_once, failed = threading.Event(), threading.Event(), threading.Event(), []
at_once.set()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "tiktoken":
            spec = PathFinder.find_spec(name, path)
            run = spec.loader.exec_module

            def exec_module(module):
                begun.set()
                asking.wait(10)
                run(module)

            spec.loader.exec_module = exec_module
            return spec

def use(before, told, function, name):
    before.wait(10)
    told.set()
    try:
        function(name)
    except Exception as error:
        failed.append(error)

sys.meta_path.insert(0, Slow())
first = threading.Thread(target=use, args=(at_once, at_once, _tokens.get_encoding, "o200k_base"))
second = threading.Thread(target=use, args=(begun, asking, _tokens.encoding_for, "gpt-4o"))
first.start(), second.start(), first.join(), second.join()
sys.exit(repr(failed) if failed else 0)
"""


def test_two_threads_may_be_the_first_to_count() -> None:
    """Neither finds tiktoken half imported by the other, as its submodules would be."""
    ran = subprocess.run([sys.executable, "-c", TWO_ARE_THE_FIRST], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
