"""Bytes to events, sans I/O: one decoder a framing, each with ``feed(bytes)`` -> events and ``flush()``."""
