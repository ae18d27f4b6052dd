"""A real Redis for the tests, which writes everything to a disk before it acknowledges it."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import redis

from tests.server import PATIENCE

__all__ = ["RedisServer"]


class RedisServer:
    """A Redis with a folder of its own, on a Unix socket in it; skips the test where there is no program for it."""

    def __init__(self, password: str | None = None) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip("redis-server is not installed")
        self._folder = tempfile.TemporaryDirectory(prefix="rxllm-redis-")
        self._socket = Path(self._folder.name) / "s"
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "dir": self._folder.name,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "daemonize": "no",
            "maxmemory": "64mb",
        }
        if password:
            options["requirepass"] = password
        self._command = [program, *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._process: subprocess.Popen[bytes] | None = None
        self._password = password
        self.url = f"unix://{f':{password}@' if password else ''}{self._socket}"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Starts it, and waits until it has read what it wrote and says that it is ready."""
        self._process = process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        said: list[bytes] = []
        for line in process.stdout:
            said.append(line)
            if b"ready to accept connections" in line.lower():
                return
        self.kill()
        raise RuntimeError(f"redis-server has not started: {said}")

    def kill(self) -> None:
        """Kills it at once, as a crash would."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate(timeout=PATIENCE)
            self._socket.unlink(missing_ok=True)

    def client(self) -> Any:
        """A client of redis-py's, to look into it with."""
        return redis.Redis(unix_socket_path=str(self._socket), password=self._password)
