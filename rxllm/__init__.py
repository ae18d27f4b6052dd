"""An LLM completion is an Observable of chunks you can loop over."""

from typing import TYPE_CHECKING, Any

from rxllm._completion import acompletion, completion
from rxllm._stream import Stream, as_stream
from rxllm._timeouts import Timeouts
from rxllm.types import ModelResponse, ModelResponseStream

if TYPE_CHECKING:
    from rxllm import operators as operators
    from rxllm._accumulators._budget import Budget
    from rxllm._accumulators._measurement import Measurement
    from rxllm._batch import BatchResult, complete_all
    from rxllm._clients import aclose, close
    from rxllm._function_tool import function_tool
    from rxllm._tokens import token_counter

__version__ = "0.1.0"

__all__ = [
    "BatchResult",
    "Budget",
    "Measurement",
    "ModelResponse",
    "ModelResponseStream",
    "Stream",
    "Timeouts",
    "__version__",
    "aclose",
    "acompletion",
    "as_stream",
    "close",
    "complete_all",
    "completion",
    "function_tool",
    "token_counter",
]


if not TYPE_CHECKING:  # to a type checker it would make anything a name of this module
    # These need httpx, the encodings or the operators, which importing rxllm does not.
    _WHERE = {
        "BatchResult": "rxllm._batch",
        "Budget": "rxllm._accumulators._budget",
        "Measurement": "rxllm._accumulators._measurement",
        "aclose": "rxllm._clients",
        "close": "rxllm._clients",
        "complete_all": "rxllm._batch",
        "function_tool": "rxllm._function_tool",
        "token_counter": "rxllm._tokens",
    }

    def __getattr__(name: str) -> Any:
        import importlib

        if name == "operators":
            return importlib.import_module("rxllm.operators")
        if name in _WHERE:
            return getattr(importlib.import_module(_WHERE[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
