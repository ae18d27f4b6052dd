"""Bedrock's regions, keys and signatures: what is sent, and that no secret is shown."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("botocore", reason="botocore, of the extra bedrock, is not installed")

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from rxllm import completion
from rxllm.exceptions import APIConnectionError, AuthenticationError, BadRequestError
from rxllm.providers import resolve
from rxllm.providers._base import HTTPRequest
from rxllm.providers._bedrock_auth import session_credentials
from rxllm.types import Request
from tests.providers.bedrock import asked

HELLO = [{"role": "user", "content": "Hello"}]
KEYS: dict[str, Any] = {
    "aws_access_key_id": "AKIDEXAMPLE",
    "aws_secret_access_key": "verysecretindeed",
    "aws_session_token": "sessiontok",
}


@pytest.fixture(autouse=True)
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """An environment without anything of AWS's."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def sent(request: Request, api_key: str | None = None, base_url: str | None = None) -> HTTPRequest:
    """The HTTP request for a request."""
    provider, _ = resolve(request.model)
    return provider.dialect.http_request(request, base_url or provider.base_url or "", api_key, provider)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("bedrock/amazon.nova-lite-v1:0", "/model/amazon.nova-lite-v1%3A0/converse-stream"),
        ("bedrock/converse/amazon.nova-lite-v1:0", "/model/amazon.nova-lite-v1%3A0/converse-stream"),
        ("bedrock/invoke/amazon.nova-lite-v1:0", "/model/amazon.nova-lite-v1%3A0/invoke-with-response-stream"),
        (
            "bedrock/arn:aws:bedrock:eu-west-3:1:profile/eu.amazon.nova-lite-v1:0",
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-3%3A1%3Aprofile%2Feu.amazon.nova-lite-v1%3A0/converse-stream",
        ),
    ],
)
def test_addresses(model: str, path: str) -> None:
    """The model stands in the path, wholly quoted, and the prefix says the operation."""
    http = sent(asked(model, HELLO, aws_region_name="eu-west-1"), "key")
    assert http.url == f"https://bedrock-runtime.eu-west-1.amazonaws.com{path}"
    assert http.headers["authorization"] == "Bearer key"
    assert http.headers["accept"] == "application/vnd.amazon.eventstream"
    assert "aws_region_name" not in http.body.decode()


def test_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument wins over an ARN's, that over the environment's, and that over the profile's."""
    arn = "bedrock/arn:aws:bedrock:eu-west-3:123456789012:inference-profile/m"
    profile = json.dumps({**KEYS, "aws_region_name": "sa-east-1"})
    assert "sa-east-1" in sent(asked(messages=HELLO), profile).url
    for name in ("AWS_REGION_NAME", "AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.setenv(name, f"{name.lower().replace('_', '-')}-1")
        assert f"{name.lower().replace('_', '-')}-1" in sent(asked(messages=HELLO), profile).url
    assert "eu-west-3" in sent(asked(arn, HELLO), "key").url
    assert "us-west-2" in sent(asked(arn, HELLO, aws_region_name="us-west-2"), "key").url
    chinese = sent(asked(messages=HELLO, aws_region_name="cn-north-1"), "key").url
    assert chinese.startswith("https://bedrock-runtime.cn-north-1.amazonaws.com.cn/model/")


def test_without_a_region() -> None:
    """The address needs one, and so does a signature; a Bedrock API key at a given address does not."""
    for api_key, base_url in (("key", None), (json.dumps(KEYS), "http://127.0.0.1:1")):
        with pytest.raises(BadRequestError, match="aws_region_name="):
            sent(asked(messages=HELLO), api_key, base_url)
    with pytest.raises(BadRequestError, match="'x/y'"):
        sent(asked(messages=HELLO, aws_region_name="x/y"), "key")
    assert sent(asked(messages=HELLO), "key", "http://127.0.0.1:1").url.startswith("http://127.0.0.1:1/model/")


def test_the_signature_is_botocores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Body, query, host and token are signed as botocore itself signs such a request."""
    request = asked(messages=HELLO, aws_region_name="us-east-1", extra_query={"a": "b c"})
    http = sent(request, json.dumps(KEYS))
    assert http.url.endswith("?a=b+c")
    again = AWSRequest("POST", http.url, {"content-type": "application/json"}, http.body)
    signer = SigV4Auth(Credentials("AKIDEXAMPLE", "verysecretindeed", "sessiontok"), "bedrock", "us-east-1")
    again.context["timestamp"] = http.headers["x-amz-date"]
    again.headers["X-Amz-Date"] = http.headers["x-amz-date"]
    again.headers["X-Amz-Security-Token"] = "sessiontok"
    signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    told = http.headers["authorization"]
    assert told.endswith(f"Signature={signature}")
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in told
    assert f"Credential=AKIDEXAMPLE/{http.headers['x-amz-date'][:8]}/us-east-1/bedrock/aws4_request" in told
    assert http.headers["x-amz-security-token"] == "sessiontok"


def test_half_of_the_credentials() -> None:
    """An id without its secret is refused before anything is sent."""
    with pytest.raises(AuthenticationError, match="belong together"):
        sent(asked(messages=HELLO, aws_region_name="us-east-1"), json.dumps({"aws_access_key_id": "AKID"}))


def test_the_session_gives_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The environment's, or a profile's, with the profile's region."""
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = AKIDWORK\naws_secret_access_key = worksecret\n")
    (tmp_path / "config").write_text("[profile work]\nregion = ap-south-1\n")
    told = json.loads(session_credentials(asked(aws_profile_name="work")))
    assert told["aws_access_key_id"] == "AKIDWORK"
    assert told["aws_region_name"] == "ap-south-1"
    http = sent(asked(messages=HELLO, aws_profile_name="work"), json.dumps(told))
    assert "bedrock-runtime.ap-south-1." in http.url
    assert b"aws_profile" not in http.body
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "envsecret")
    assert json.loads(session_credentials(asked()))["aws_access_key_id"] == "AKIDENV"


def test_no_credentials() -> None:
    """Nothing found, or no such profile, is one error that says what may be set."""
    for params in ({}, {"aws_profile_name": "nobody"}):
        with pytest.raises(AuthenticationError, match="AWS_BEARER_TOKEN_BEDROCK"):
            session_credentials(asked(**params))


def test_secrets_are_not_shown() -> None:
    """Credentials given as arguments are in no repr, and not among the request's parameters."""
    stream = completion("bedrock/amazon.nova-lite-v1:0", HELLO, stream=True, aws_region_name="us-east-1", **KEYS)
    assert stream.request is not None
    assert dict(stream.request.params) == {"aws_region_name": "us-east-1"}
    assert not any(secret in f"{stream!r}{stream.request!r}" for secret in KEYS.values())
    assert not any(
        secret in repr(sent(asked(aws_region_name="us-east-1"), json.dumps(KEYS))) for secret in KEYS.values()
    )


def test_without_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line names the extra, before anything is sent."""
    monkeypatch.setitem(sys.modules, "botocore", None)
    for ask in (lambda: sent(asked(messages=HELLO), "key"), lambda: session_credentials(asked())):
        with pytest.raises(APIConnectionError, match=r"pip install 'rxllm\[bedrock\]'") as raised:
            ask()
        assert "\n" not in str(raised.value)


def test_botocore_is_imported_when_used_only() -> None:
    """``import rxllm`` leaves it alone."""
    code = "import sys, rxllm, rxllm.providers; print('botocore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
