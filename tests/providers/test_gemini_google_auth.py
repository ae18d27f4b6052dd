"""Google's credentials: a token over a real socket, from a service account's file, and what is said without one."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from rxllm.exceptions import APIConnectionError, AuthenticationError
from rxllm.providers import _google_auth
from rxllm.providers._google_auth import access_token, default_project
from rxllm.types import Request


class TokenServer(HTTPServer):
    """Google's token endpoint, as far as a service account needs it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, list[str]]] = []
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Gives a token."""
        serving = self.server
        assert isinstance(serving, TokenServer)
        body = self.rfile.read(int(self.headers["content-length"]))
        serving.asked.append(parse_qs(body.decode()))
        answer: dict[str, Any] = {"access_token": f"ya29.{len(serving.asked)}", "expires_in": 3600}
        if serving.status != 200:
            answer = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        self.send_response(serving.status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  as the class that it overrides has it
        """Nothing is logged."""


@pytest.fixture
def server() -> Iterator[TokenServer]:
    """The token endpoint on the loopback interface."""
    with TokenServer() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


@pytest.fixture
def account(server: TokenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of a service account whose tokens that server gives; nothing is known of it yet."""
    pytest.importorskip("google.auth", reason="google-auth is not installed")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    told = {
        "type": "service_account",
        "project_id": "a-project",
        "private_key_id": "1",
        "private_key": pem.decode(),
        "client_email": "someone@a-project.example",
        "token_uri": f"http://127.0.0.1:{server.server_port}/token",
    }
    path = tmp_path / "account.json"
    path.write_text(json.dumps(told))
    monkeypatch.setattr(_google_auth, "_known", {})
    monkeypatch.delenv("VERTEXAI_CREDENTIALS", raising=False)
    return str(path)


def asked(**params: Any) -> Request:
    """A request for a model on Vertex AI."""
    return Request("vertex_ai/g", [], params, "vertex_ai", "g")


@pytest.mark.parametrize("by", ["parameter", "VERTEXAI_CREDENTIALS", "GOOGLE_APPLICATION_CREDENTIALS"])
def test_a_token_of_a_service_account(
    account: str, server: TokenServer, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is named by a parameter or the environment; the token is kept while it is valid, with the project."""
    request = asked(vertex_credentials=account) if by == "parameter" else asked()
    if by != "parameter":
        monkeypatch.setenv(by, account)
    assert default_project(request) == ""
    assert [access_token(request), access_token(request)] == ["ya29.1", "ya29.1"]
    assert default_project(request) == "a-project"
    [told] = server.asked
    assert told["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_a_token_that_has_expired_is_renewed(account: str, server: TokenServer) -> None:
    """Nobody gets one that is not valid any more."""
    request = asked(vertex_credentials=account)
    access_token(request)
    credentials, _ = _google_auth._known[account]  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001
    credentials.expiry = credentials.expiry.replace(year=2001)
    assert access_token(request) == "ya29.2"


def test_what_google_refuses(account: str, server: TokenServer, tmp_path: Path) -> None:
    """A token that is refused, a file that is none, and one that is not there are one line each."""
    server.status = 400
    with pytest.raises(AuthenticationError, match="Invalid JWT Signature"):
        access_token(asked(vertex_credentials=account))
    other = tmp_path / "other.json"
    other.write_text('{"type": "external_account"}')
    for path in (str(tmp_path / "nowhere.json"), str(tmp_path), str(other)):
        with pytest.raises(AuthenticationError, match="No token for Vertex AI") as told:
            access_token(asked(vertex_credentials=path))
        assert "\n" not in str(told.value)


def test_a_token_server_that_is_not_there(account: str, server: TokenServer) -> None:
    """A connection that fails is told too."""
    told = json.loads(Path(account).read_text())
    Path(account).write_text(json.dumps({**told, "token_uri": "http://127.0.0.1:1/token"}))
    with pytest.raises(AuthenticationError, match="No token for Vertex AI"):
        access_token(asked(vertex_credentials=account))


def test_without_google_auth_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(APIConnectionError, match=r"pip install 'rxllm\[vertex\]'"):
        access_token(asked())


def test_importing_rxllm_imports_no_google_auth() -> None:
    """The extra stays one, even with the registry loaded."""
    code = "import rxllm, rxllm.providers, sys; assert not [name for name in sys.modules if name.startswith('google')]"
    subprocess.run([sys.executable, "-c", code], check=True)
