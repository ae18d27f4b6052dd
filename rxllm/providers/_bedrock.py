"""Amazon Bedrock by ConverseStream: one dialect for all its models that chat, in AWS's binary event stream."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from rxllm._decoders._events import Decoder
from rxllm._decoders._eventstream import EventStreamDecoder
from rxllm.exceptions import APIError
from rxllm.providers._base import HTTPRequest, Provider
from rxllm.providers._bedrock_auth import authorized, located, need_botocore
from rxllm.providers._bedrock_events import ConverseEvents, whole_answer
from rxllm.providers._bedrock_request import converse_body
from rxllm.providers._errors import response_error
from rxllm.providers._reading import StreamReading
from rxllm.providers._requests import endpoint, json_request
from rxllm.types import ModelResponseStream, Request

__all__ = ["BedrockConverse", "BedrockReading"]

_EVENT_STREAM = "application/vnd.amazon.eventstream"


class BedrockConverse:
    """The wire dialect of ``POST /model/{modelId}/converse-stream``. It needs botocore, of the extra ``bedrock``.

    The region is ``aws_region_name=``, the address's or the ARN's, or the environment's. The key is a Bedrock API key,
    or AWS's credentials as JSON, with which the request is signed.
    """

    operation = "converse-stream"

    def http_request(self, request: Request, base_url: str, api_key: str | None, provider: Provider) -> HTTPRequest:
        """The HTTP request that asks for ``request`` as a stream.

        Raises:
            APIConnectionError: botocore is not installed.
            AuthenticationError: the credentials are not whole.
            BadRequestError: a parameter or a message cannot be said, or no region is known.
            UnsupportedParamsError: Bedrock, or the model, has not a parameter.
        """
        need_botocore(request)
        address, region = located(request, base_url, api_key)
        url = endpoint(address, f"/model/{quote(request.wire_model or request.model, safe='')}/{self.operation}")
        http = json_request(request, provider, url, self.body(request, provider), None, accept=_EVENT_STREAM)
        return authorized(request, http, api_key, region)

    def body(self, request: Request, provider: Provider) -> dict[str, Any]:
        """The body of the HTTP request."""
        return converse_body(request, provider)

    def reading(self, request: Request, headers: Mapping[str, str]) -> "BedrockReading":
        """A fresh reading of one response; ``headers`` are the response's, lower-cased."""
        return _ConverseReading(request, headers)

    def error(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The typed error that an unsuccessful response amounts to."""
        return response_error(request, status, headers, body)


class BedrockReading(StreamReading):
    """A reading of AWS's event stream, which its first byte gives away; of anything else as other dialects read it."""

    def __init__(self, request: Request, headers: Mapping[str, str]) -> None:
        super().__init__(request, headers)
        self._shared: dict[str, Any] = {
            "id": headers.get("x-amzn-requestid", ""),
            "model": request.wire_model or request.model,
        }
        self._events = ConverseEvents(self._shared)

    def _own_decoder(self, start: bytes) -> Decoder | None:
        # The length of a message comes first, in four bytes, and is at most 25 MiB: no text begins so.
        return EventStreamDecoder(self._limit) if start[0] <= 1 else None

    # Events of server-sent events that have a name may be anything; here each has one, and is a JSON object.

    def _take_garbage(self, name: str, text: str, reason: str, out: list[ModelResponseStream]) -> None:
        super()._take_garbage(name if name == "error" else "", text, reason, out)

    def _take_json(self, name: str, payload: Any, out: list[ModelResponseStream]) -> None:
        super()._take_json(name if name == "error" or isinstance(payload, dict) else "", payload, out)

    def _take_converse(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        """An event of Converse's."""
        for chunk in self._events.take(name, fields):
            self._take_chunk(chunk, out)
            if self.failure is not None:
                return
        if self._events.ended:
            self._finish(out)

    def _take_whole(self, payload: dict[str, Any], out: list[ModelResponseStream]) -> bool:
        for name, fields in whole_answer(payload):
            self._take_converse(name, fields, out)
            if self.failure is not None:
                return True
        if not self._normalizer.answered:
            return False
        out += self._normalizer.close()
        self._stop(complete=True)
        return True


class _ConverseReading(BedrockReading):
    def _take(self, name: str, fields: dict[str, Any], out: list[ModelResponseStream]) -> None:
        if self._is_error(fields, name):
            self._fail(self._stream_error(fields), out)
        else:
            self._take_converse(name, fields, out)
