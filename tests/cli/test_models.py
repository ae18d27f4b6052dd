"""``rxllm models``: the registry, and what of it the environment has."""

import json
import sys
from typing import Any

import pytest

from rxllm.cli import main
from rxllm.providers import PROVIDERS
from tests.cli.running import in_terminal, shell, without_escapes

VARIABLES = {name for it in PROVIDERS.values() for name in (*it.key_variables, *it.base_url_variables)}


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """The lines of ``rxllm models``, which says nothing on standard error."""
    assert main(["models", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def entries(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    """What ``rxllm models --json`` tells, by prefix."""
    told = [json.loads(line) for line in listed(capsys, "--json", *arguments)]
    return {entry["prefix"]: entry for entry in told}


def test_every_prefix_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The embedded models come first, then each prefix of the registry, in its order."""
    heading, embedded, *others = listed(capsys)
    assert heading.split() == ["MODELS", "SPEAKS", "NEEDS"]
    assert embedded.startswith("sim/story, sim/echo, sim/reason  ")
    assert embedded.endswith("nothing")
    assert [line.split()[0] for line in others] == [f"{name}/..." for name in PROVIDERS if name != "sim"]


def test_lines_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """Each column begins where its heading does."""
    heading, *lines = listed(capsys)
    for at in (heading.index("SPEAKS"), heading.index("NEEDS")):
        assert all(line[at - 2 : at] == "  " and line[at] != " " for line in lines)


def test_what_is_needed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A key, an address where the registry has none, an extra; nothing, where a server of one's own wants no key."""
    needs = {line.split()[0]: line.split("  ")[-1].strip() for line in listed(capsys)}
    assert needs["groq/..."] == "GROQ_API_KEY"
    assert needs["azure/..."] == "AZURE_API_KEY or AZURE_AD_TOKEN, AZURE_API_BASE"
    assert needs["bedrock/..."] == "AWS_BEARER_TOKEN_BEDROCK or AWS's credentials, rxllm[bedrock] (installed)"
    assert needs["vertex_ai/..."] == "Google's credentials, rxllm[vertex] (installed)"
    assert needs["ollama/..."] == "nothing"


def test_missing_extra_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what an extra brings is not installed, that is said."""
    for module in ("botocore", "google.auth"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "rxllm[bedrock] (missing)" in "".join(listed(capsys, "bedrock"))
    assert entries(capsys, "vertex")["vertex_ai/"]["extra"] == {"name": "vertex", "installed": False}


@pytest.mark.parametrize("arguments", [[], ["openai"], ["--json"], ["--set"], ["--set", "--json"]])
def test_what_variables_hold_is_never_shown(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of keys and addresses it is told that they are set, and nothing else."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "https://secret-value")
    text = "\n".join(listed(capsys, *arguments))
    assert "OPENAI_API_KEY" in text
    assert "secret-value" not in text


def test_variables_that_are_set_are_marked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are, and only those; one that is empty is not set."""
    monkeypatch.setenv("CO_API_KEY", "key")
    monkeypatch.setenv("COHERE_API_KEY", "")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost")
    lines = {line.split()[0]: line for line in listed(capsys)}
    assert lines["cohere/..."].endswith("COHERE_API_KEY or CO_API_KEY (set)")
    assert lines["openai/..."].endswith("OPENAI_API_KEY, OPENAI_BASE_URL (set) or OPENAI_API_BASE")
    assert entries(capsys, "cohere")["cohere/"]["key_variables"] == {"COHERE_API_KEY": False, "CO_API_KEY": True}


def test_set_leaves_out_what_is_not(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``--set`` keeps the embedded models, and those that a key or an address is set for."""
    monkeypatch.setenv("GROQ_API_KEY", "key")
    monkeypatch.setenv("OLLAMA_HOST", "http://localhost")
    assert list(entries(capsys, "--set")) == ["sim/", "groq/", "ollama/", "ollama_chat/"]
    assert list(entries(capsys, "--set", "mistral")) == []


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [
        ("groq", ["groq/"]),
        ("Groq/", ["groq/"]),
        ("azure", ["azure/", "azure_ai/"]),
        ("groq/llama-3.1-8b", ["groq/"]),
        ("claude-opus-4", ["anthropic/"]),
        ("azure_ai/claude-opus-4", ["azure_ai/"]),
        ("sim/story", ["sim/"]),
    ],
)
def test_name_narrows(name: str, prefixes: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A part of a prefix, or a model whose prefix is then told."""
    assert list(entries(capsys, name)) == prefixes


def test_named_prefix_is_told_in_full(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is known of it, a line each."""
    monkeypatch.setenv("GROQ_API_KEY", "key")
    assert listed(capsys, "groq") == [
        "groq/...",
        "  speaks   OpenAI chat, groq/responses/... OpenAI Responses",
        "  key      GROQ_API_KEY (set)",
        "  address  https://api.groq.com/openai/v1, or what is in GROQ_API_BASE",
    ]
    assert listed(capsys, "sim")[-1] == "  address  in the package"
    assert listed(capsys, "lm_studio")[2] == "  key      LM_STUDIO_API_KEY, if it wants one"
    assert listed(capsys, "hosted_vllm")[3] == "  address  in HOSTED_VLLM_API_BASE"
    assert listed(capsys, "vertex_ai")[-1] == "  extra    rxllm[vertex] (installed)"


def test_unknown_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and near names."""
    assert main(["models", "grok"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "Did you mean groq?" in err


def test_json_tells_what_the_registry_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Every prefix, with its variables, its address and the models that come with the package."""
    told = entries(capsys)
    assert set(told) == {f"{name}/" for name in PROVIDERS}
    for name, provider in PROVIDERS.items():
        entry = told[f"{name}/"]
        assert list(entry["key_variables"]) == list(provider.key_variables)
        assert list(entry["address_variables"]) == list(provider.base_url_variables)
        assert entry["key_required"] == provider.key_required
        assert entry["address"] == (None if name == "sim" else provider.base_url)
    assert told["sim/"]["models"] == ["sim/story", "sim/echo", "sim/reason"]
    assert told["openai/"]["variants"] == {"responses/": "OpenAI Responses"}


def test_closed_pipe_ends_quietly() -> None:
    """``rxllm models | head -1`` says nothing of it."""
    ran = shell("rxllm models | head -n 1")
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["MODELS", "SPEAKS", "NEEDS"], "")


@pytest.mark.parametrize("columns", [44, 160])
def test_terminal_gets_a_table_that_fits(columns: int) -> None:
    """By rich, no line longer than the terminal is wide, nothing cut off, what is set in colour."""
    code, written = in_terminal("models", columns=columns, GROQ_API_KEY="sk-secret-key")
    assert code == 0
    assert "\x1b[32mGROQ_API_KEY (set)\x1b[0m" in written or columns == 44
    assert "\x1b[32m" in written
    assert "…" not in written
    assert "sk-secret-key" not in written
    plain = without_escapes(written)
    assert max(map(len, plain.splitlines())) <= columns


def test_terminal_without_colour_gets_none() -> None:
    """With NO_COLOR there is no colour."""
    _, written = in_terminal("models", "--set", NO_COLOR="1", GROQ_API_KEY="key")
    assert "GROQ_API_KEY (set)" in written
    assert "\x1b[3" not in written


def test_terminal_without_rich_gets_plain_text(without_rich: str) -> None:
    """The lines that a pipe gets."""
    code, written = in_terminal("models", "groq", PYTHONPATH=without_rich)
    assert (code, written.splitlines()[0]) == (0, "groq/...")
    assert "\x1b" not in written
