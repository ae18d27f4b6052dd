"""completion(fallbacks=): LiteLLM's documented forms, by fallback_to()."""

import asyncio
from typing import Any

import pytest

import rxllm
from rxllm import ModelResponse, Stream
from rxllm.exceptions import APIConnectionError, APIError, BadRequestError, RateLimitError, UnsupportedParamsError
from tests.server import Answering, Server, chunk, texts

MESSAGES = [{"role": "user", "content": "Hello"}]


def asking(server: Server, **arguments: Any) -> Any:
    """``completion()`` of the server's model."""
    settings: dict[str, Any] = {"model": "gpt-4", "api_base": server.url, "api_key": "sk-primary-key", "max_retries": 0}
    call: Any = rxllm.completion
    return call(messages=MESSAGES, **(settings | arguments))


def refusing(*models: str) -> Any:
    """A script that refuses these models, and lets others answer with their name."""

    async def script(answering: Answering) -> None:
        model = answering.json["model"]
        if model in models:
            await answering.json_answer(429, {"error": {"message": f"{model} is busy"}})
        else:
            await answering.stream(model, "!")

    return script


def test_models_in_turn(server: Server) -> None:
    """Each is asked once, with the same arguments, until one answers; with and without stream."""
    server.script = refusing("gpt-4", "gpt-4o")
    stream: Stream[Any] = asking(server, stream=True, temperature=0.5, fallbacks=["gpt-4o", "openai/o3"])
    assert server.requests == []
    assert texts(stream) == ["o3", "!"]
    assert [request.json["model"] for request in server.requests] == ["gpt-4", "gpt-4o", "o3"]
    assert all(request.json["temperature"] == 0.5 for request in server.requests)
    assert all(request.headers["authorization"] == "Bearer sk-primary-key" for request in server.requests)
    response: ModelResponse = asking(server, fallbacks=["gpt-4o", "o3"])
    assert response.choices[0].message.content == "o3!"
    assert len(server.requests) == 6


def test_on_an_event_loop(server: Server) -> None:
    """acompletion() too."""
    server.script = refusing("gpt-4")

    async def ask() -> tuple[ModelResponse, list[str]]:
        arguments: dict[str, Any] = {"api_base": server.url, "api_key": "sk-primary-key", "max_retries": 0}
        call: Any = rxllm.acompletion
        whole: ModelResponse = await call("gpt-4", MESSAGES, fallbacks=["o3"], **arguments)
        stream: Stream[Any] = await call("gpt-4", MESSAGES, stream=True, fallbacks=["o3"], **arguments)
        return whole, texts([each async for each in stream])

    whole, streamed = asyncio.run(ask())
    assert whole.choices[0].message.content == "".join(streamed) == "o3!"


def test_dictionaries_replace_arguments(server: Server) -> None:
    """Another key, another address, other messages, the same model."""
    server.script = refusing("gpt-4")
    with Server() as other:
        stream = asking(
            server,
            stream=True,
            n=2,
            fallbacks=[
                {"api_key": "sk-second-key"},
                {"model": "o3", "base_url": other.url, "messages": [{"role": "user", "content": "Bye"}], "n": 1},
            ],
        )
        assert texts(stream) == ["Hel", "lo", " wor", "ld"]
        assert [r.headers["authorization"] for r in server.requests] == [
            "Bearer sk-primary-key",
            "Bearer sk-second-key",
        ]
        (request,) = other.requests
        assert (request.json["model"], request.json["n"], request.json["messages"][0]["content"]) == ("o3", 1, "Bye")
    rxllm.close()


@pytest.mark.parametrize("fallback", ["mistral/large", {"model": "mistral/large"}])
def test_another_provider_does_not_get_the_key(server: Server, monkeypatch: pytest.MonkeyPatch, fallback: Any) -> None:
    """Nor the headers, nor what was meant for the first: it is asked at its own address, with its own key."""
    server.script = refusing("gpt-4")
    with Server() as other:
        monkeypatch.setenv("MISTRAL_API_BASE", other.url)
        monkeypatch.setenv("MISTRAL_API_KEY", "mistral-own-key")
        response: ModelResponse = asking(
            server,
            extra_headers={"x-secret": "one"},
            extra_body={"token": "two"},
            temperature=0.5,
            fallbacks=[fallback],
        )
        assert response.choices[0].message.content == "Hello world"
        (request,) = other.requests
        assert request.headers["authorization"] == "Bearer mistral-own-key"
        assert "x-secret" not in request.headers
        assert "token" not in request.json
        assert request.json["temperature"] == 0.5
    rxllm.close()


def test_a_name_that_only_the_call_explains(server: Server) -> None:
    """Where custom_llm_provider says whose the models are, the fallbacks are of the same."""
    server.script = refusing("llama")
    response: ModelResponse = asking(server, model="llama", custom_llm_provider="openai", fallbacks=["qwen"])
    assert response.choices[0].message.content == "qwen!"
    assert server.requests[1].headers["authorization"] == "Bearer sk-primary-key"


def test_a_model_that_nobody_knows(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented example: it fails like one that does not answer. Without fallbacks it raises at once."""
    monkeypatch.setenv("OPENAI_API_BASE", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-own-key")
    response = rxllm.completion("bad-model", MESSAGES, fallbacks=["gpt-4"])
    assert response.choices[0].message.content == "Hello world"
    with pytest.raises(BadRequestError):
        rxllm.completion("bad-model", MESSAGES)
    with pytest.raises(BadRequestError):
        rxllm.completion("gpt-4", MESSAGES, stream=True, fallbacks=["bad-model"])


def test_a_parameter_that_one_model_has_not(server: Server) -> None:
    """What one cannot take, another may."""
    with pytest.raises(UnsupportedParamsError):
        rxllm.completion("anthropic/claude-sonnet-4-5", MESSAGES, logit_bias={}, api_key="sk-ant-key")
    fallback = {"model": "gpt-4", "api_base": server.url, "api_key": "sk-own-key"}
    response = rxllm.completion(
        "anthropic/claude-sonnet-4-5", MESSAGES, logit_bias={}, api_key="sk-ant-key", fallbacks=[fallback]
    )
    assert response.choices[0].message.content == "Hello world"


@pytest.mark.parametrize("stream", [True, False])
def test_after_content_the_error_passes(server: Server, *, stream: bool) -> None:
    """Nobody gets a text twice, and nothing is paid twice; whoever wants that has fallback_to()."""

    async def script(answering: Answering) -> None:
        await answering.start()
        await answering.event(chunk("Hel"))
        answering.reset()

    server.script = script
    with pytest.raises(APIConnectionError):
        list(asking(server, stream=stream, fallbacks=["o3"]))
    assert len(server.requests) == 1


def test_all_fail(server: Server) -> None:
    """The last error, with notes of the others, and no key."""
    server.script = refusing("gpt-4", "o3")
    with pytest.raises(RateLimitError, match="o3 is busy") as raised:
        asking(server, fallbacks=["o3"])
    assert raised.value.__notes__ == ["Before it failed gpt-4: RateLimitError: gpt-4 is busy"]


def test_usage_is_that_of_who_answered(server: Server) -> None:
    """With include_usage there is one chunk of it, and it is the last."""
    server.script = refusing("gpt-4")
    chunks = list(asking(server, stream=True, stream_options={"include_usage": True}, fallbacks=["o3"]))
    assert [c.usage is not None for c in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len(chunks[-1].choices) == 0


def test_mocks_fall_back_too() -> None:
    """So that an application's fallbacks can be tried without a network."""
    fallback = {"model": "o3", "mock_response": "Hello"}
    response = rxllm.completion("gpt-4", MESSAGES, mock_response=RateLimitError("busy"), fallbacks=[fallback])
    assert response.choices[0].message.content == "Hello"
    with pytest.raises(RateLimitError):
        rxllm.completion("gpt-4", MESSAGES, mock_response=RateLimitError("busy"), fallbacks=["o3"])


@pytest.mark.parametrize("fallbacks", [None, []])
def test_none(server: Server, fallbacks: Any) -> None:
    """An empty list is none."""
    server.script = refusing("gpt-4")
    with pytest.raises(RateLimitError):
        asking(server, fallbacks=fallbacks)


WRONG: list[Any] = [
    "gpt-4",
    {"model": "gpt-4", "api_key": "sk-hidden-key"},
    7,
    [7],
    [{"api_key": "sk-hidden-key", "stream": True}],
    [{"api_key": "sk-hidden-key", "fallbacks": ["o3"]}],
    [{"api_key": "sk-hidden-key", "timeout": "soon"}],
]


@pytest.mark.parametrize("fallbacks", WRONG)
def test_what_is_no_list_of_fallbacks(fallbacks: Any) -> None:
    """It is refused at once, and no frame of the library shows a key."""
    with pytest.raises((TypeError, ValueError)) as raised:
        rxllm.completion("gpt-4", MESSAGES, stream=True, api_key="sk-primary-key", fallbacks=fallbacks)
    assert not isinstance(raised.value, APIError)
    trace = raised.value.__traceback__
    while trace is not None:
        if "rxllm" in trace.tb_frame.f_globals.get("__name__", "").split(".")[0]:
            for name, value in trace.tb_frame.f_locals.items():
                assert "sk-" not in repr(value), f"{name} in {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
