"""``rxllm serve``, as a process of its own."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from rxllm.cli import main
from rxllm.testing import LLMServer
from tests.proxy.serving import QUESTION, Process, ask, config_for, events_in, half, served_by, texts_of
from tests.server import PATIENCE, Answering, Server


def test_it_serves_at_once_and_logs_a_line_a_request(tmp_path: Path) -> None:
    """Streams, whole answers and refusals, each with how it ended; no key in any line."""
    with LLMServer() as upstream:
        upstream.answer("Hel", "lo", usage={"prompt_tokens": 3, "completion_tokens": 2})
        upstream.answer("Hel", fault="truncated")
        upstream.answer("No", status=429)
        with served_by("--config", config_for(tmp_path, upstream), RXLLM_MASTER_KEY="sk-master-secret") as served:
            key = {"x-api-key": "sk-master-secret"}
            assert texts_of(events_in(ask(served.address, stream=True, headers=key).text)) == "Hello"
            completed = served.access()
            response = ask(served.address, stream=True, headers=key)
            broken = served.access()
            ask(served.address, headers=key)
            refused_upstream = served.access()
            assert ask(served.address).status_code == 401
            refused = served.access()
            assert served.stop() == -signal.SIGTERM
    assert completed["ended"] == "completed"
    assert (completed["model"], completed["status"], completed["stream"]) == ("gpt-4", 200, True)
    assert (completed["prompt_tokens"], completed["completion_tokens"]) == (3, 2)
    assert completed["events"] >= 3
    assert 0 < completed["first_event_s"] <= completed["duration_s"]
    assert (broken["ended"], broken["error"], broken["status"]) == ("upstream error", "IncompleteStreamError", 200)
    assert broken["request_id"] == response.headers["x-request-id"]
    assert (refused_upstream["ended"], refused_upstream["status"]) == ("upstream error", 429)
    assert (refused["ended"], refused["status"], refused["error"]) == ("refused", 401, "invalid_api_key")
    assert "secret" not in "".join(served.lines)


def test_a_log_that_nobody_reads_holds_up_nobody() -> None:
    """Many times what a pipe takes is logged, and each request is answered; who reads then, gets every line."""
    command = [sys.executable, "-m", "rxllm", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0) as process:
        assert process.stderr is not None
        try:
            address = process.stderr.readline().decode().partition("listening on ")[2].partition(",")[0]
            name = "sim/" + "n" * 200
            with httpx.Client(base_url=address, timeout=PATIENCE) as client:
                for _ in range(600):
                    assert client.post("/v1/chat/completions", json={"model": name, "messages": QUESTION}).is_error
            process.terminate()
            told = process.stderr.read()
        finally:
            process.kill()
    assert len(told) > 200_000
    assert told.count(b'"request_id"') == told.count(b"\n") == 600


def test_a_client_that_leaves_is_in_the_log(tmp_path: Path, server: Server) -> None:
    """And so is that nothing had been sent to it."""

    async def script(answering: Answering) -> None:
        server.events.put("asked")
        await answering.closed()

    server.script = script
    with served_by("--config", config_for(tmp_path, server)) as served:
        host, _, port = served.address.removeprefix("http://").partition(":")
        body = json.dumps({"model": "gpt-4", "messages": QUESTION, "stream": True}).encode()
        with socket.create_connection((host, int(port))) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n")
            client.sendall(b"content-length: %d\r\n\r\n%b" % (len(body), body))
            server.next_event()
        left = served.access()
    assert (left["ended"], left["status"], left["events"]) == ("client left", None, 0)


@contextmanager
def _streaming(served: Process) -> Generator[Iterator[str]]:
    """The lines of a stream whose first event has come."""
    body = {"model": "gpt-4", "messages": QUESTION, "stream": True}
    with httpx.stream("POST", f"{served.address}/v1/chat/completions", json=body, timeout=PATIENCE) as response:
        lines = response.iter_lines()
        assert "Hel" in next(lines)
        yield lines


def test_a_signal_lets_streams_finish(tmp_path: Path, server: Server) -> None:
    """Nobody new is served, and what streams goes on to its end."""
    server.script = half(server)
    with served_by("--config", config_for(tmp_path, server)) as served, _streaming(served) as lines:
        served.process.send_signal(signal.SIGTERM)
        while _listens(served.address):
            pass
        server.taken.open()
        assert "data: [DONE]" in list(lines)
        assert served.end() == -signal.SIGTERM
    assert json.loads(served.lines[-1])["ended"] == "completed"


def _listens(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_streams_that_do_not_finish_in_time_end_in_an_error(tmp_path: Path, server: Server) -> None:
    """After the stated time a stream is cancelled, upstream too, and its client is told."""
    server.script = half(server)
    with served_by("--config", config_for(tmp_path, server), "--shutdown-timeout", "1") as served:
        with _streaming(served) as lines:
            served.process.send_signal(signal.SIGTERM)
            events = events_in("\n".join(lines))
        assert events[-1]["error"]["code"] == "server_stopped"
        served.end()
    assert '"ended": "stopped"' in "".join(served.lines)
    assert "Traceback" not in "".join(served.lines)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, server: Server, kind: signal.Signals) -> None:
    """No stream is waited for any more."""
    server.script = half(server)
    with served_by("--config", config_for(tmp_path, server)) as served, _streaming(served):
        served.process.send_signal(kind)
        while _listens(served.address):
            pass
        served.process.send_signal(kind)
        assert served.end() in (-kind, 130)


def test_it_serves_https(tmp_path: Path) -> None:
    """With a certificate and its key."""
    authority: Any = trustme.CA()
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with served_by("--ssl-certfile", str(tmp_path / "both.pem")) as served:
        assert served.address.startswith("https://")
        answer = httpx.get(f"{served.address}/v1/models", verify=context)
    assert answer.status_code == 200


def test_several_processes_share_a_port(tmp_path: Path) -> None:
    """Each of them answers, with the key and the models of the file; they end together."""
    with LLMServer() as upstream:
        upstream.answer("Hi", times=None)
        with served_by("--config", config_for(tmp_path, upstream), "--workers", "2", RXLLM_MASTER_KEY="sk-m") as served:
            for _ in range(8):
                assert ask(served.address, headers={"x-api-key": "sk-m"}).status_code == 200
            assert ask(served.address).status_code == 401
            served.stop()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--host", "0.0.0.0"], 2, "set RXLLM_MASTER_KEY"),  # noqa: S104  it is refused
        (["--host", "nowhere.invalid"], 2, "no address of this machine"),
        (["--port", "70000"], 2, "no port"),
        (["--config", "/nowhere/models.yaml"], 1, "No such file"),
        (["--ssl-keyfile", "/nowhere"], 2, "--ssl-certfile"),
        (["--ssl-certfile", "/nowhere"], 2, "certificate"),
        (["--store", "postgres://x"], 2, "neither"),
        (["--store", "memory", "--workers", "2"], 2, "--store redis://"),
        (["--store", "redis://127.0.0.1:9"], 2, "--store: The store at redis://127.0.0.1:9 cannot be used"),
        (["--store", "redis://:pass/word@127.0.0.1:9"], 2, "percent-encoded"),
        (["--workers", "0"], 2, "number from 1"),
    ],
)
def test_what_cannot_be_served_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    """One line that says what to do, and an exit code."""
    assert main(["serve", *arguments]) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """It is one line too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    said = capsys.readouterr().err
    assert "in use" in said
    assert said.count("\n") == 1


def test_with_a_key_others_may_be_served() -> None:
    """With a key it listens to any address."""
    with served_by("--host", "0.0.0.0", RXLLM_MASTER_KEY="sk-m") as served:  # noqa: S104  for a moment, with a key
        port = served.address.rpartition(":")[2]
        assert ask(f"http://127.0.0.1:{port}", model="sim/echo", headers={"x-api-key": "sk-m"}).status_code == 200


def test_without_the_extra_it_is_one_line(tmp_path: Path) -> None:
    """Where starlette is not installed, the line says what to install."""
    (tmp_path / "starlette.py").write_text("raise ImportError")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "rxllm", "serve"], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (1, "rxllm: rxllm serve needs an extra: pip install 'rxllm[proxy]'\n")
