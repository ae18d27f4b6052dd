"""The access log: one line of JSON a request, on the logger ``rxllm.proxy``."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rxllm.types import Usage

__all__ = ["Access", "Ending"]

_log = logging.getLogger("rxllm.proxy")

_LONGEST_NAME: Final = 200  # a client may ask for megabytes

Ending = Literal["completed", "client left", "upstream error", "refused", "failed", "stopped"]


@dataclass
class Access:
    """One request, as the log tells of it. No header, no message and no key is in it.

    Attributes:
        request_id: what the client got as ``x-request-id``.
        path: what was asked for.
        model: the public name, once it is known.
        stream: whether a stream was asked for.
        status: what it was answered with; ``None`` where the client had left before.
        events: how many events were sent.
        usage: the tokens, where they are known.
        notes: the names of what the client said to the proxy and not to the model.
        ended: how it ended.
        error: the class of the error that it ended with.
    """

    request_id: str
    path: str
    begun: float = field(default_factory=time.monotonic)
    model: str | None = None
    stream: bool = False
    status: int | None = None
    first: float | None = None
    events: int = 0
    usage: Usage | None = None
    notes: Sequence[str] = ()
    ended: Ending = "completed"
    error: str | None = None

    def write(self) -> None:
        """Writes the line."""
        if not _log.isEnabledFor(logging.INFO):
            return
        now = time.monotonic()
        told: dict[str, Any] = {
            "request_id": self.request_id,
            "path": self.path,
            "model": self.model and self.model[:_LONGEST_NAME],
            "stream": self.stream,
            "status": self.status,
            "first_event_s": None if self.first is None else round(self.first - self.begun, 6),
            "duration_s": round(now - self.begun, 6),
            "events": self.events,
            "prompt_tokens": self.usage.prompt_tokens if self.usage else None,
            "completion_tokens": self.usage.completion_tokens if self.usage else None,
            "ended": self.ended,
            "error": self.error,
        }
        if self.notes:
            told["not_sent_on"] = sorted(self.notes)
        _log.info("%s", json.dumps(told))
