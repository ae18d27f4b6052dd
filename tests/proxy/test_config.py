"""The configuration file."""

from pathlib import Path
from typing import Any

import pytest

from rxllm.proxy import create_app
from rxllm.proxy._config import read_config
from rxllm.proxy._yaml import ConfigError
from rxllm.testing import LLMServer
from tests.proxy.serving import ask, events_in, serving, texts_of

_ENTRY = """\
model_list:
  - model_name: gpt
    litellm_params:
      model: openai/gpt-4o
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file to write a configuration to."""
    return tmp_path / "models.yaml"


def test_the_form_that_people_have_is_served(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, addresses, keys from the environment, defaults; entries of one name are asked in turn."""
    monkeypatch.setenv("UPSTREAM_KEY", "sk-up")
    monkeypatch.setenv("THE_KEY", "sk-master")
    with LLMServer() as first, LLMServer() as second:
        first.answer("Busy", status=503, times=9)
        second.answer("Hi", times=9)
        file.write_text(f"""\
model_list:
  - model_name: gpt-4
    litellm_params: &shared
      model: openai/a
      api_base: {first.url}
      api_key: os.environ/UPSTREAM_KEY
      max_retries: 0
      temperature: 0.5
    model_info: {{mode: chat}}
  - model_name: gpt-4
    litellm_params:
      <<: *shared
      model: openai/b
      api_base: {second.url}
  - model_name: "echo-*"
    litellm_params: {{model: "sim/*"}}
general_settings:
  master_key: os.environ/THE_KEY
""")
        with serving(config=file) as address:
            key = {"authorization": "Bearer sk-master"}
            assert ask(address).status_code == 401
            assert texts_of(events_in(ask(address, stream=True, headers=key).text)) == "Hi"
            assert ask(address, model="echo-echo", headers=key).json()["choices"][0]["message"]["content"] == "Hello"
        assert first.requests[0].json["model"] == "a"
        assert second.requests[0].json["model"] == "b"
        assert second.requests[0].headers["authorization"] == "Bearer sk-up"
        assert second.requests[0].json["temperature"] == 0.5


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "model_list is missing"),
        ("[]", 1, "model_list is missing"),
        ("model_list: [\n", 2, "this is no YAML"),
        ("a: b\n  c: d\n", 2, "mapping values are not allowed"),
        ("a: &a [*a]\n", 1, "this holds itself"),
        ("a: !!python/name:os.system x\n", 1, "this is no YAML"),
        ("model_list: []\n", 1, "model_list: List should have at least 1 item"),
        ("model_list:\n  - litellm_params: {model: gpt-4}\n", 2, "model_list.0.model_name: this is missing"),
        ("model_list:\n  - model_name: 3\n    litellm_params: {model: gpt-4}\n", 2, "should be a valid string"),
        (_ENTRY + "      api_kye: x\n", 5, "api_kye: this is not known here; did you mean api_key?"),
        (_ENTRY + "      wholly_strange: x\n", 5, "extra_body"),
        (_ENTRY + "      rpm: 5\n", 5, "rpm: this server has it not: requests are not counted"),
        (_ENTRY + "      api_key: os.environ/IT_IS_NOT_SET\n", 5, "IT_IS_NOT_SET is not set"),
        (_ENTRY + "      api_base: nowhere\n", 5, "api_base: api_base starts with http"),
        (_ENTRY + "      max_retries: -1\n", 5, "max_retries: max_retries is a whole number"),
        (_ENTRY + "      model: openai/gpt-4\n", 5, "model: this is said twice"),
        (_ENTRY.replace("openai/gpt-4o", "acme/gpt"), 4, "names a provider, 'acme'"),
        (_ENTRY.replace("model: openai/gpt-4o", "top_p: 1"), 3, "litellm_params.model: this is missing"),
        (_ENTRY + "general_settings:\n  master_kye: x\n", 6, "known are master_key"),
        (_ENTRY + "litellm_settings:\n  drop_params: true\n", 5, "known are model_list, general_settings"),
        (_ENTRY + "    modle_info: {}\n", 5, "known are model_name, litellm_params, model_info"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(file: Path, text: str, line: int, words: str) -> None:
    """File, line, field and what to do."""
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_config(file)
    assert str(raised.value).startswith(f"{file}, line {line}: ")
    assert words in str(raised.value)


def test_no_key_is_in_an_error_or_a_repr(file: Path) -> None:
    """Neither the master key nor that of an upstream is shown."""
    file.write_text(_ENTRY + "      api_key: sk-very-secret\ngeneral_settings:\n  master_key: sk-too-secret\n")
    assert "secret" not in repr(read_config(file))
    file.write_text(_ENTRY + "      api_key: [sk-very-secret]\n")
    with pytest.raises(ConfigError, match="line 5") as raised:
        read_config(file)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_text(file: Path) -> None:
    """Bytes that are no UTF-8 are told of."""
    file.write_bytes(b"model_list: \xff\n")
    with pytest.raises(ConfigError, match="no UTF-8"):
        read_config(file)


@pytest.mark.parametrize(
    ("models", "error"),
    [
        ({"a": 5}, TypeError),
        ({"a": []}, TypeError),
        ({"a": {"api_base": "http://x"}}, TypeError),
        ({"": "sim/echo"}, TypeError),
        ({"a": "acme/gpt"}, Exception),
        ({"a": {"model": "gpt-4", "n": 0}}, ValueError),
    ],
)
def test_models_that_cannot_answer_are_refused_at_once(models: Any, error: type[Exception]) -> None:
    """And not at the first request."""
    with pytest.raises(error):
        create_app(models)


def test_a_name_stands_in_one_place(file: Path) -> None:
    """Models in code and in the file are served together, unless they have one name."""
    file.write_text(_ENTRY)
    with pytest.raises(ValueError, match="gpt"):
        create_app({"gpt": "sim/echo"}, config=file)
    create_app({"other": "sim/echo"}, config=file)


def test_without_configuration_what_has_a_key_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded models, and a prefix for each provider with a key; whatever resolves is there."""
    import httpx

    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
    with serving() as address:
        names = [model["id"] for model in httpx.get(f"{address}/v1/models").json()["data"]]
        assert {"sim/story", "sim/echo", "openai/*"} <= set(names)
        assert "anthropic/*" not in names
        assert httpx.get(f"{address}/v1/models/openai/gpt-4o").json()["id"] == "openai/gpt-4o"
        assert httpx.get(f"{address}/v1/models/acme/x").status_code == 404
