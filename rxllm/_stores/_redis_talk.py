"""What is said to Redis, without any I/O: commands of a store become commands of Redis, tried again where that helps.

A stream is two keys, which a cluster keeps together: a Redis Stream with the entries, whose ids are ``1-0``, ``2-0``
and so on, and behind them one more with the ending; and a hash with what there is to know of it. Whatever writes is a
script: it happens wholly or not at all, and asking for it again changes nothing.
"""

import hashlib
import math
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

from rxllm._stores._protocol import (
    LONGEST_PAGE,
    LONGEST_WAIT,
    Append,
    Command,
    Create,
    Finish,
    Page,
    Read,
    Renew,
    Stop,
    Verdict,
)
from rxllm.exceptions import APIConnectionError

__all__ = ["Ask", "Broken", "Pause", "Refused", "Talk"]


@dataclass(frozen=True)
class Ask:
    """Send this command; its reply, or a ``Refused`` or ``Broken``."""

    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Pause:
    """Wait that many seconds; nothing."""

    seconds: float


@dataclass(frozen=True)
class Refused:
    """Redis answered with an error."""

    name: str
    reason: str


@dataclass(frozen=True)
class Broken:
    """Redis could not be asked, or has not answered. ``passing`` tells that it may another time."""

    reason: str
    passing: bool


_Step = Ask | Pause
_Steps = Generator[_Step, Any, Any]

# Pauses between tries, in seconds: the first, and the longest; each is shortened by chance.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

# Errors of a Redis that is starting, is becoming another's replica, or is looking for its cluster.
_PASSING: Final = ("ReadOnlyError", "MasterDownError", "ClusterDownError", "TryAgainError", "BusyLoadingError")


class _Script:
    def __init__(self, text: str) -> None:
        self.text = _PRELUDE + text
        self.digest = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324  the name that Redis gives it


# ARGV: token, lease, keep, and what the script takes; times in milliseconds, by the clock of Redis.
_PRELUDE: Final = """
local state, entries = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', state, 'token', 'count', 'ending', 'heard', 'lease')
local token, count, ending = known[1], tonumber(known[2] or '0'), known[3]

local function keep_for(milliseconds)
  redis.call('PEXPIRE', state, milliseconds)
  redis.call('PEXPIRE', entries, milliseconds)
end
local function hear()
  redis.call('HSET', state, 'count', count, 'heard', string.format('%.0f', now))
  keep_for(ARGV[2] + ARGV[3])
end
local function finish(how)
  redis.call('XADD', entries, (count + 1) .. '-0', 'e', how)
  redis.call('HSET', state, 'ending', how)
  keep_for(ARGV[3])
end
"""

_CREATE: Final = _Script("""
if token then
  return {token == ARGV[1] and 'done' or 'taken'}
end
redis.call('HSET', state, 'token', ARGV[1], 'lease', ARGV[2])
hear()
return {'done'}
""")

_WRITING: Final = """
if not token then return {'missing'} end
if token ~= ARGV[1] then return {'taken'} end
if ending then return {'over', ending} end
"""

# ARGV 4: the number of the first entry, 5 and on: the entries.
_APPEND: Final = _Script(
    _WRITING
    + """
local first = tonumber(ARGV[4])
if first > count + 1 then return {'gap'} end
for at = 5, #ARGV do
  if first + at - 5 > count then
    count = count + 1
    redis.call('XADD', entries, count .. '-0', 'd', ARGV[at])
  end
end
hear()
return {'done'}
"""
)

# ARGV 4: how many entries there are, 5: the ending.
_FINISH: Final = _Script(
    _WRITING
    + """
if tonumber(ARGV[4]) ~= count then return {'gap'} end
finish(ARGV[5])
return {'done'}
"""
)

# ARGV 4: the ending.
_STOP: Final = _Script("""
if not token then return {'missing'} end
if ending then return {'over', ending} end
finish(ARGV[4])
return {'done'}
""")

# For one who has found nothing. ARGV 4: the number to read after, 5: the ending of what is abandoned, 6: whether to
# write it.
_LOOK: Final = _Script("""
if not token then return {'missing'} end
local after = tonumber(ARGV[4])
if ending then
  if after < count then return {'news'} end
  if after <= count + 1 then return {'over', ending} end
end
if after > count then return {'beyond'} end
if after < count then return {'news'} end
local left = known[4] + known[5] - now
if left > 0 then return {'open', string.format('%.0f', left)} end
if ARGV[6] == '0' then return {'late'} end
finish(ARGV[5])
return {'over', ARGV[5]}
""")


class Talk:
    """How a store's commands are said to Redis.

    Args:
        name: the store's address, for people to read.
        prefix: what all its keys begin with.
        keep: how long a stream is kept after its end, in seconds.
        lease: how long a publisher may be silent, in seconds.
        patience: how long to ask a Redis that does not answer, in seconds.
        clean: takes secrets out of a text.
    """

    def __init__(
        self,
        name: str,
        prefix: str,
        keep: float,
        lease: float,
        patience: float,
        clean: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._prefix = prefix
        self._lease = lease
        self._times = (_milliseconds(lease), _milliseconds(keep))
        self._patience = patience
        self._clean = clean
        self._clock = clock

    def perform(self, command: Command) -> _Steps:
        """The steps of a command. Returns its ``Page`` or ``Verdict``.

        Raises:
            APIConnectionError: Redis does not answer, or refuses.
        """
        tag = f"{self._prefix}{{{command.key}}}:"
        keys = (f"{tag}state", f"{tag}entries")
        match command:
            case Read():
                return (yield from self._read(command, keys))
            case Create(_, token):
                reply = yield from self._run(_CREATE, keys, token)
            case Append(_, token, first, entries):
                reply = yield from self._run(_APPEND, keys, token, first, *entries)
            case Renew(_, token):
                reply = yield from self._run(_APPEND, keys, token, 1)
            case Finish(_, token, count, ending):
                reply = yield from self._run(_FINISH, keys, token, count, ending)
            case Stop(_, ending):
                reply = yield from self._run(_STOP, keys, "", ending)
        return Verdict(reply[0].decode(), *reply[1:])

    def _read(self, command: Read, keys: tuple[str, str]) -> _Steps:
        # BLOCK 0 would wait for ever.
        block = ("BLOCK", _milliseconds(min(command.wait, LONGEST_WAIT))) if command.wait > 0 else ()
        while True:
            after = f"{command.after}-0"
            reply = yield from self._ask("XREAD", "COUNT", LONGEST_PAGE, *block, "STREAMS", keys[1], after)
            if reply:
                return _page(reply[0][1], self._lease)
            kind, *said = yield from self._run(_LOOK, keys, "", command.after, command.abandoned, 0)
            if kind == b"late":
                # A publisher cannot renew its lease where Redis itself was not there.
                spared = self._lease - (yield from self._uptime())
                if spared > 0:
                    return Page("open", patience=spared)
                kind, *said = yield from self._run(_LOOK, keys, "", command.after, command.abandoned, 1)
            match kind:
                case b"over":
                    return Page("over", ending=said[0])
                case b"open":
                    return Page("open", patience=int(said[0]) / 1000)
                case b"news":
                    block = ()  # it came in between
                case _:
                    return Page(kind.decode())

    def _uptime(self) -> Generator[_Step, Any, float]:
        """For how many seconds Redis has been there; where it does not say so, for ever."""
        reply = yield from self._ask("INFO", "server", refusable=True)
        if isinstance(reply, bytes):
            for line in reply.splitlines():
                name, _, value = line.partition(b":")
                if name == b"uptime_in_seconds":
                    return float(value)
        return math.inf

    def _run(self, script: _Script, keys: tuple[str, str], token: str, *arguments: Any) -> _Steps:
        given = (2, *keys, token, *self._times, *arguments)
        reply = yield from self._ask("EVALSHA", script.digest, *given, refusable=True)
        if isinstance(reply, Refused):
            # It does not know the script; or it refuses it for another reason, which it then gives again.
            reply = yield from self._ask("EVAL", script.text, *given)
        return reply

    def _ask(self, *arguments: Any, refusable: bool = False) -> _Steps:
        """The reply to a command, asked for again for as long as the patience lasts."""
        pause, deadline = _FIRST_PAUSE, math.inf
        while True:
            told = yield Ask(arguments)
            if isinstance(told, Refused):
                if told.name not in _PASSING and refusable:
                    return told
                told = Broken(told.reason, told.name in _PASSING)
            if not isinstance(told, Broken):
                return told
            now = self._clock()
            deadline = min(deadline, now + self._patience)
            seconds = pause * random.uniform(0.5, 1)  # noqa: S311  so that not all come back at once
            if not told.passing or now + seconds >= deadline:
                raise self._error(told)
            yield Pause(seconds)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _error(self, broken: Broken) -> APIConnectionError:
        for_how_long = f", and was asked again for {self._patience:g} s" if broken.passing else ""
        reason = self._clean(broken.reason)
        return APIConnectionError(
            f"The store at {self._name} cannot be used{for_how_long}: {reason}", code="unreachable"
        )


def _page(rows: list[Any], patience: float) -> Page:
    entries: list[tuple[str, bytes]] = []
    for number, (field, value) in rows:
        if field == b"e":
            return Page("over", entries, value)
        entries.append((number[:-2].decode(), value))
    return Page("open", entries, patience=patience)


def _milliseconds(seconds: float) -> int:
    return max(math.ceil(seconds * 1000), 1)
