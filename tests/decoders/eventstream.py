"""Messages of AWS's binary event stream, encoded by the format's own description."""

import json
import struct
from binascii import crc32
from typing import Any

__all__ = ["event", "exception", "framed", "message"]


def framed(headers: bytes, payload: bytes) -> bytes:
    """One message: lengths, their sum, headers as they are, the payload, the sum of all."""
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return body + struct.pack("!I", crc32(body))


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message with headers of strings."""
    block = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value.encode())) + value.encode()
        for name, value in headers.items()
    )
    return framed(block, payload)


def event(name: str, fields: Any) -> bytes:
    """An event of that type with a payload of JSON."""
    return message(
        {":event-type": name, ":content-type": "application/json", ":message-type": "event"},
        json.dumps(fields).encode(),
    )


def exception(name: str, fields: Any) -> bytes:
    """An exception of that type with a payload of JSON."""
    return message(
        {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"},
        json.dumps(fields).encode(),
    )
