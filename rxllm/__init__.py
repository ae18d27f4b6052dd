"""An LLM completion is an Observable of chunks you can loop over."""

from typing import TYPE_CHECKING, Any

from rxllm._completion import acompletion, completion
from rxllm._stream import Stream, as_stream
from rxllm.types import ModelResponse, ModelResponseStream

if TYPE_CHECKING:
    from rxllm._clients import aclose, close
    from rxllm._tokens import token_counter

__version__ = "0.1.0"

__all__ = [
    "ModelResponse",
    "ModelResponseStream",
    "Stream",
    "__version__",
    "aclose",
    "acompletion",
    "as_stream",
    "close",
    "completion",
    "token_counter",
]


def __getattr__(name: str) -> Any:
    # These need httpx or the encodings, which importing rxllm does not.
    if name in ("aclose", "close"):
        from rxllm import _clients

        return getattr(_clients, name)
    if name == "token_counter":
        from rxllm._tokens import token_counter

        return token_counter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
