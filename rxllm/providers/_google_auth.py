"""Google's credentials, by google-auth, for Vertex AI: an access token, and the project that they belong to."""

import json
import os
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from rxllm.exceptions import APIConnectionError, AuthenticationError
from rxllm.types import Request

__all__ = ["access_token", "default_project"]

_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"

# By the file of the credentials, "" for those that the machine has.
_known: Final[dict[str, tuple[Any, str]]] = {}
_lock: Final = threading.Lock()


def access_token(request: Request) -> str:
    """A token that is valid now; may block for it.

    The credentials are those of the file ``vertex_credentials=`` or ``VERTEXAI_CREDENTIALS``, else Google's application
    default ones: ``GOOGLE_APPLICATION_CREDENTIALS``, ``gcloud auth application-default login``, or the machine's own.
    They are loaded once a process, and the token is kept for as long as it is valid.

    Raises:
        APIConnectionError: google-auth is not installed.
        AuthenticationError: there are no credentials, or no token could be had for them.
    """
    try:
        auth: Any = import_module("google.auth")
        errors: Any = import_module("google.auth.exceptions")
    except ImportError:
        auth = errors = None
    if auth is None:
        raise APIConnectionError(
            "Vertex AI needs an extra: pip install 'rxllm[vertex]'; or pass a token as api_key=.",
            llm_provider=request.provider,
            model=request.model,
        )
    place = _place(request)
    with _lock:
        try:
            credentials, _ = _known.get(place) or _load(auth, place)
            if not credentials.valid:
                credentials.refresh(_Transport())
            return str(credentials.token)
        except (errors.GoogleAuthError, OSError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
    raise AuthenticationError(f"No token for Vertex AI: {reason}", llm_provider=request.provider, model=request.model)


def default_project(request: Request) -> str:
    """The project of the credentials that gave the token; empty where they have none, or gave none yet."""
    _, project = _known.get(_place(request), (None, ""))
    return project


def _place(request: Request) -> str:
    return str(request.params.get("vertex_credentials") or os.environ.get("VERTEXAI_CREDENTIALS") or "")


def _load(auth: Any, place: str) -> tuple[Any, str]:
    if place:
        credentials, project = _from_file(place)
    else:
        credentials, project = auth.default(scopes=[_SCOPE], request=_Transport())
    _known[place] = credentials, project or ""
    return _known[place]


def _from_file(place: str) -> tuple[Any, str]:
    """A service account, or what ``gcloud auth application-default login`` has written; each loaded as what it is."""
    told: Any = json.loads(Path(place).read_text(encoding="utf-8"))
    match told:
        case {"type": "service_account"}:
            kind: Any = import_module("google.oauth2.service_account").Credentials
            return kind.from_service_account_info(told, scopes=[_SCOPE]), str(told.get("project_id") or "")
        case {"type": "authorized_user"}:
            kind = import_module("google.oauth2.credentials").Credentials
            return kind.from_authorized_user_info(told, scopes=[_SCOPE]), str(told.get("quota_project_id") or "")
        case _:
            raise ValueError(
                f"{place} holds neither a service account nor an authorized user. Other credentials are loaded from "
                "the file that GOOGLE_APPLICATION_CREDENTIALS names."
            )


class _Response:
    """What google-auth wants to know of an HTTP response."""

    def __init__(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data


class _Transport:
    """google-auth's requests by httpx, so that no further HTTP library is needed."""

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Response:
        """Makes the request.

        Raises:
            google.auth.exceptions.TransportError: it failed.
        """
        import httpx

        try:
            response = httpx.request(method, url, content=body, headers=headers, timeout=timeout or 30.0)
            return _Response(response.status_code, response.headers, response.content)
        except httpx.HTTPError as error:
            raise import_module("google.auth.exceptions").TransportError(error) from error
