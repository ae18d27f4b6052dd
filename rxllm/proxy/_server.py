"""Runs the proxy: its socket, its processes, its end."""

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from pydantic import SecretStr

from rxllm.exceptions import APIConnectionError
from rxllm.proxy._app import create_app
from rxllm.proxy._config import read_config
from rxllm.proxy._connection import Connection
from rxllm.proxy._log_writer import LogWriter
from rxllm.proxy._processes import run_processes
from rxllm.proxy._resuming import reach

__all__ = ["ServeError", "Settings", "serve"]

# Longer than clients keep a connection that they do not use: who closes it first, must not be the server.
_KEEP_CONNECTIONS = 75

_STANDARD_ERROR = 2

# How long streams that are cut off have to tell their clients, in seconds.
_LAST_WORDS = 1.0


class ServeError(Exception):
    """The server cannot be started so; the message says what to do."""


@dataclass(frozen=True)
class Settings:
    """How to serve. What a worker needs is in it, and it can be pickled; a key is not shown."""

    host: str = "127.0.0.1"
    port: int = 4000
    config: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    store: str | None = None
    resume_for: float = 60.0
    workers: int = 1
    shutdown_timeout: int = 30
    master_key: SecretStr | None = None


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serves until a signal ends it: the first lets streams finish for a while, the second does not.

    Args:
        settings: how.
        announce: is told where it listens, once it does.

    Raises:
        ServeError: it cannot be started so.
        ConfigError: something in the configuration file is wrong.
        OSError: the configuration file cannot be read.
        ImportError: an extra is missing.
    """
    settings = _with_key(settings)
    scheme = "https" if settings.ssl_certfile else "http"
    _check(settings)
    _configuration(settings)  # what is wrong with it is told here, and not by each process
    with _listening(settings) as listener:
        host, port = listener.getsockname()[:2]
        place = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        access = "with a key" if settings.master_key else "for this machine alone, since RXLLM_MASTER_KEY is not set"
        line = f"listening on {place}, {access}"
        if settings.workers == 1:
            _serve(settings, listener, partial(announce, line))
            return
        announce(f"{line}, in {settings.workers} processes")
        try:
            run_processes(settings.workers, _serve, settings, listener)
        except RuntimeError as error:
            raise ServeError(str(error)) from None


def _serve(settings: Settings, listener: socket.socket, announce: Callable[[], None] | None = None) -> None:
    """Serves in this process."""
    configuration = _configuration(settings)
    with _log_on_standard_error() as log:
        _Server(configuration, announce or _say_nothing, log).run(sockets=[listener])


def application(settings: Settings) -> Any:
    """The application that a process serves."""
    return create_app(
        None,
        config=settings.config,
        master_key=settings.master_key.get_secret_value() if settings.master_key else "",
        store=settings.store,
        resume_for=settings.resume_for,
        write_timeout=None,  # a Connection sees better what its client reads
    )


class _Server(uvicorn.Server):
    """uvicorn's, which tells when it listens, and which any second signal ends at once."""

    def __init__(self, configuration: uvicorn.Config, announce: Callable[[], None], log: logging.Handler) -> None:
        super().__init__(configuration)
        self._announce = announce
        self._log = log

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # uvicorn lets the signal end the process now: what was cancelled has not run yet.
        cancelled = list(self.server_state.tasks)
        if cancelled and not self.force_exit:
            await asyncio.wait(cancelled, timeout=_LAST_WORDS)
        self._log.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)


def _say_nothing() -> None:
    """A worker's: its parent has told."""


def _with_key(settings: Settings) -> Settings:
    """The settings with the key that the configuration or the environment has."""
    key = read_config(settings.config).master_key if settings.config else None
    held = os.environ.get("RXLLM_MASTER_KEY")
    return replace(settings, master_key=settings.master_key or key or (SecretStr(held) if held else None))


def _check(settings: Settings) -> None:
    if settings.ssl_keyfile and not settings.ssl_certfile:
        raise ServeError("--ssl-keyfile needs --ssl-certfile too.")
    if settings.workers > 1 and sys.platform == "win32":
        raise ServeError("--workers is not there on Windows.")
    if settings.workers > 1 and settings.store == "memory":
        raise ServeError("--store memory is the memory of one process: with --workers use --store redis://HOST.")
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServeError(f"--host {settings.host} is no address of this machine: {error.strerror}.") from None
    addresses = {str(address[4][0]).partition("%")[0] for address in found}
    if settings.master_key is None and not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        raise ServeError(
            f"Without a key only this machine is served, and --host {settings.host} is open to others: set "
            "RXLLM_MASTER_KEY, or leave --host out."
        )
    if settings.store is not None:
        try:
            reach(settings.store)
        except (APIConnectionError, ValueError) as error:
            raise ServeError(f"--store: {error}") from None


def _listening(settings: Settings) -> socket.socket:
    address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    try:
        return socket.create_server(address[4][:2], family=address[0], backlog=2048)
    except OSError as error:
        raise ServeError(f"Nothing can listen on {settings.host}:{settings.port}: {error.strerror}.") from None


def _configuration(settings: Settings) -> uvicorn.Config:
    configuration = uvicorn.Config(
        application(settings),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        timeout_graceful_shutdown=settings.shutdown_timeout,
        timeout_keep_alive=_KEEP_CONNECTIONS,
        lifespan="on",
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    try:
        configuration.load()
    except OSError as error:  # ssl's errors too
        raise ServeError(f"The certificate or its key cannot be used: {error.strerror or error}.") from None
    return configuration


@contextlib.contextmanager
def _log_on_standard_error() -> Generator[logging.Handler]:
    """The access log, a line a request; of others, uvicorn's and asyncio's, what goes wrong."""
    writer = LogWriter(_STANDARD_ERROR)
    logging.getLogger().addHandler(writer)
    logging.getLogger("rxllm.proxy").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").addFilter(_is_no_stop)
    try:
        yield writer
    finally:
        writer.close()


def _is_no_stop(record: logging.LogRecord) -> bool:
    """Streams that are cut off at the end of a shutdown are in the access log; their tracebacks tell nothing."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))
