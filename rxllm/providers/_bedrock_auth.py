"""AWS's regions, credentials and signatures for Bedrock, by botocore, which is imported when it is used."""

import json
import os
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from rxllm.exceptions import APIConnectionError, AuthenticationError, BadRequestError
from rxllm.providers._base import HTTPRequest
from rxllm.types import Request

if TYPE_CHECKING:
    from botocore.session import Session

__all__ = ["BASE_URL", "authorized", "located", "need_botocore", "session_credentials"]

BASE_URL: Final = "https://bedrock-runtime.{region}.amazonaws.com"
"""Where Bedrock is; ``{region}`` is replaced by the region of the request."""

_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_REGION_NAME")


def need_botocore(request: Request) -> None:
    """Says which extra is missing, where botocore is.

    Raises:
        APIConnectionError: botocore is not installed.
    """
    try:
        import botocore as _  # pyright: ignore[reportUnusedImport]  # noqa: F401
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise APIConnectionError(
            "Bedrock needs the extra: pip install 'rxllm[bedrock]'", llm_provider=request.provider, model=request.model
        )


def session_credentials(request: Request) -> str:
    """The credentials that AWS's own ways give: environment, profile, container, instance. May block.

    Returns:
        JSON with ``aws_access_key_id``, ``aws_secret_access_key``, ``aws_session_token`` and ``aws_region_name``.

    Raises:
        AuthenticationError: there are none.
        APIConnectionError: botocore is not installed.
    """
    need_botocore(request)
    from botocore.exceptions import BotoCoreError

    profile = request.params.get("aws_profile_name")
    words = ""
    try:
        session = _session(profile, tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))
        found = session.get_credentials()
        if found is not None:
            frozen = found.get_frozen_credentials()
            return json.dumps(
                {
                    "aws_access_key_id": frozen.access_key,
                    "aws_secret_access_key": frozen.secret_key,
                    "aws_session_token": frozen.token,
                    "aws_region_name": session.get_config_variable("region"),
                }
            )
    except BotoCoreError as error:
        words = f" ({error})"
    raise AuthenticationError(
        f"No credentials for {request.provider}: set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and "
        f"AWS_SECRET_ACCESS_KEY, or a profile, or pass aws_access_key_id= and aws_secret_access_key={words}.",
        llm_provider=request.provider,
        model=request.model,
    )


@lru_cache(maxsize=8)
def _session(profile: str | None, _environment: tuple[tuple[str, str], ...]) -> "Session":
    """A session; it keeps what it found, and renews what expires, for as long as the environment stays the same."""
    from botocore.session import Session

    return Session(profile=profile) if profile else Session()


def located(request: Request, base_url: str, api_key: str | None) -> tuple[str, str]:
    """The address, and the region; the region is empty where the address is given and says none.

    Raises:
        BadRequestError: no region is known, and the address needs one.

    >>> located(Request(model="bedrock/m", messages=[], params={"aws_region_name": "eu-west-1"}), BASE_URL, None)
    ('https://bedrock-runtime.eu-west-1.amazonaws.com', 'eu-west-1')
    >>> located(Request(model="bedrock/m", messages=[]), "https://bedrock-runtime.us-west-2.amazonaws.com", None)
    ('https://bedrock-runtime.us-west-2.amazonaws.com', 'us-west-2')
    """
    in_address = re.match(r"https?://bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.", base_url)
    in_model = re.match(r"arn:aws[a-z-]*:[a-z-]+:([a-z0-9-]+):", request.wire_model)
    region = str(
        request.params.get("aws_region_name")
        or (in_address[1] if in_address else None)
        or (in_model[1] if in_model else None)
        or next((value for name in _REGION_VARIABLES if (value := os.environ.get(name))), None)
        or _signing(api_key).get("aws_region_name")
        or ""
    )
    if "{region}" not in base_url:
        return base_url, region
    if not re.fullmatch(r"[a-z0-9-]+", region):
        raise BadRequestError(
            f"Bedrock needs a region, and has {region!r}: pass aws_region_name=, or set {_REGION_VARIABLES[0]}."
            if region
            else f"Bedrock needs a region: pass aws_region_name=, or set {_REGION_VARIABLES[0]}.",
            llm_provider=request.provider,
            model=request.model,
            param="aws_region_name",
        )
    return base_url.replace("{region}", region) + (".cn" if region.startswith("cn-") else ""), region


def authorized(request: Request, http: HTTPRequest, api_key: str | None, region: str) -> HTTPRequest:
    """``http`` with the caller's authority: a Bedrock API key as Bearer, AWS's credentials as a signature, version 4.

    Only the headers that cannot change any more are signed: the host, the type of the content, and AWS's own.

    Raises:
        AuthenticationError: the credentials are not whole.
        BadRequestError: no region is known, and the signature needs one.
    """
    if not api_key:
        return http
    signing = _signing(api_key)
    if not signing:
        return replace(http, headers={**http.headers, "authorization": f"Bearer {api_key}"})
    key, secret = signing.get("aws_access_key_id"), signing.get("aws_secret_access_key")
    if not key or not secret:
        raise AuthenticationError(
            "aws_access_key_id and aws_secret_access_key belong together.",
            llm_provider=request.provider,
            model=request.model,
        )
    if not region:
        raise BadRequestError(
            f"A signature needs a region: pass aws_region_name=, or set {_REGION_VARIABLES[0]}.",
            llm_provider=request.provider,
            model=request.model,
            param="aws_region_name",
        )
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    # Signed are the headers it is given here: others may still be replaced by extra_headers.
    signed = AWSRequest(
        method=http.method, url=http.url, data=http.body, headers={"content-type": http.headers["content-type"]}
    )
    SigV4Auth(Credentials(key, secret, signing.get("aws_session_token")), "bedrock", region).add_auth(signed)
    told = {str(name).lower(): str(value) for name, value in signed.headers.items()}
    return replace(http, headers={**http.headers, **told})


def _signing(api_key: str | None) -> dict[str, Any]:
    """AWS's credentials, where ``api_key`` is such; a Bedrock API key is none."""
    if not api_key or not api_key.startswith("{"):
        return {}
    try:
        said: Any = json.loads(api_key)
    except ValueError:
        return {}
    return cast("dict[str, Any]", said)
