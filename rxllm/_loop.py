"""The loop that drives a Stream: a scheduler, its readers and its timers.

Whoever consumes a Stream (a ``for``, an ``async for``, ``run()``, a worker behind ``subscribe()``) does it with a loop,
and passes that loop down as the scheduler of the subscription. A Stream that is subscribed with a loop on that loop's
own thread *attaches* a reader to it and reads nothing by itself. All operators, callbacks and timers then run on the
loop's thread, one at a time, and the Rx grammar holds without locks.

With one open reader and nothing scheduled, the loop reads in the calling thread whenever the operators have nothing
ready: no thread, no queue, and a slow consumer slows the sender. With several readers, or a timer pending, each reader
is pumped by a worker (or a task) into a small buffer of its own, and the loop delivers what comes first.

``Loop`` decides; ``ThreadLoop`` and ``TaskLoop`` only wait, each in its way. Undelayed actions have a queue in the loop
and not reactivex's current-thread trampoline: a ``for`` inside somebody's callback would find that one taken.
"""

import asyncio
import contextlib
import heapq
import logging
import math
import queue
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from functools import partial
from itertools import count
from typing import Any, Final, Protocol, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

from rxllm import _workers

__all__ = ["AsyncReading", "Loop", "Source", "SyncReading", "TaskLoop", "ThreadLoop"]

_T = TypeVar("_T")

_log = logging.getLogger("rxllm")

# What a reading brings: items, its end, or what it raised.
_Packet = list[Any] | BaseException | None

# How many packets a pump may be ahead of its loop.
_BUFFERED_PACKETS: Final = 4
_ATTENTION: Final = 1.0
"""Seconds that the main thread waits at a time: a Ctrl-C that comes just before it waits wakes nobody."""


class SyncReading(Protocol):
    """What a ``ThreadLoop`` reads from. ``close`` may be called from any thread, and wakes a ``pull`` under way."""

    def pull(self) -> list[Any] | None:
        """The next items, ``None`` at the end."""
        ...

    def drain(self) -> None:
        """After the end: lets go of what the reading held."""
        ...

    def close(self) -> None:
        """Ends the reading at once."""
        ...


class AsyncReading(Protocol):
    """What a ``TaskLoop`` reads from."""

    async def pull(self) -> list[Any] | None:
        """The next items, ``None`` at the end."""
        ...

    async def drain(self) -> None:
        """After the end: lets go of what the reading held."""
        ...

    def close(self) -> bool:
        """Ends the reading at once; true where ``aclose`` is still to be awaited."""
        ...

    async def aclose(self) -> None:
        """Lets go of what the reading held, after ``close``."""
        ...


class Source(Protocol):
    """What a root Stream is made of: it opens a reading for each subscription."""

    def open(self) -> SyncReading:
        """A reading for a thread."""
        ...

    def open_async(self) -> AsyncReading:
        """A reading for an event loop."""
        ...


class _Step:
    """What the loop's turns ask their driver to do."""


_READ: Final = _Step()
_WAIT: Final = _Step()


class _Action(abc.DisposableBase):
    """Something scheduled."""

    __slots__ = ("_action", "_inner", "_scheduler", "_state", "cancelled", "timer")

    def __init__(self, scheduler: "Loop", action: abc.ScheduledAction[Any], state: Any, *, timer: bool) -> None:
        self._scheduler = scheduler
        self._action = action
        self._state = state
        self._inner = SingleAssignmentDisposable()
        self.cancelled = False
        self.timer = timer

    def invoke(self) -> None:
        self._inner.disposable = self._scheduler.invoke_action(self._action, self._state)

    def dispose(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self._scheduler.cancel(self)
            self._inner.dispose()


class _Port(abc.DisposableBase):
    """An open reading in a loop, and the observer that it feeds."""

    __slots__ = ("arrived", "closed", "items", "loop", "observer", "pump", "pumped", "reading", "slots")

    def __init__(self, loop: "Loop", reading: Any, observer: abc.ObserverBase[Any], slots: Any) -> None:
        self.loop = loop
        self.reading = reading
        self.observer = observer
        self.items: Iterator[Any] = iter(())
        # When the items came: those that were read in place came before any timer was set.
        self.arrived = 0.0
        self.pumped = False
        self.pump: Any = None
        self.closed = False
        self.slots = slots

    def dispose(self) -> None:
        self.loop.detach(self)


class _Sink(abc.ObserverBase[Any]):
    """The consumer that takes items one by one."""

    def __init__(self, loop: "Loop") -> None:
        self._loop = loop

    def on_next(self, value: Any) -> None:
        """An item."""
        self._loop.put(value)

    def on_error(self, error: Exception) -> None:
        """The end, with an error."""
        self._loop.finish(error)

    def on_completed(self) -> None:
        """The end."""
        self._loop.finish(None)


class _Ending(abc.ObserverBase[Any]):
    """The consumer of a loop's own subscription: with its end that is over, and nothing more is read on its account.

    reactivex disposes of what ``subscribe()`` gives, which the thread that called it may not have got yet.
    """

    def __init__(self, loop: "Loop", observer: abc.ObserverBase[Any]) -> None:
        self._loop = loop
        self._observer = observer
        self.on_next = observer.on_next  # type: ignore[method-assign]

    def on_next(self, value: Any) -> None:
        """Is the observer's own."""

    def on_error(self, error: Exception) -> None:
        try:
            self._observer.on_error(error)
        finally:
            self._loop.unsubscribe()

    def on_completed(self) -> None:
        try:
            self._observer.on_completed()
        finally:
            self._loop.unsubscribe()


class Loop(PeriodicScheduler):
    """The rules of a loop, without any waiting. ``pulled`` tells that a consumer takes the items one by one."""

    def __init__(self, *, pulled: bool) -> None:
        super().__init__()
        self.subscription = SingleAssignmentDisposable()
        self._pulled = pulled
        self._driven = pulled
        self._thread: int | None = threading.get_ident() if pulled else None
        self._ports: list[_Port] = []
        self._current: _Port | None = None
        self._actions: deque[_Action] = deque()
        self._timers: list[tuple[float, int, _Action]] = []
        self._live_timers = 0
        self._order = count()
        self._mutex = threading.RLock()
        # Counts what is added or closed, by any thread; while it stands still, a port that was alone still is.
        self._changes = 0
        self._waiting = False
        self._ready: deque[Any] = deque()
        self._over = False
        self._error: Exception | None = None
        self._sink: _Sink | None = None

    # -- a scheduler

    def schedule(self, action: abc.ScheduledAction[Any], state: Any = None) -> abc.DisposableBase:
        """Runs ``action`` on the loop's thread, after what is being delivered."""
        item = _Action(self, action, state, timer=False)
        self._actions.append(item)
        self._changes += 1
        self._stir()
        return item

    def schedule_relative(
        self, duetime: Any, action: abc.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        """Runs ``action`` on the loop's thread after ``duetime`` seconds."""
        seconds = self.to_seconds(duetime)
        if seconds <= 0:
            return self.schedule(action, state)
        item = _Action(self, action, state, timer=True)
        with self._mutex:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), item))
            self._live_timers += 1
        self._changes += 1
        self._stir()
        return item

    def schedule_absolute(
        self, duetime: Any, action: abc.ScheduledAction[Any], state: Any = None
    ) -> abc.DisposableBase:
        """Runs ``action`` on the loop's thread at ``duetime``."""
        return self.schedule_relative(self.to_datetime(duetime) - self.now, action, state)

    def cancel(self, item: _Action) -> None:
        """Something scheduled was disposed of. A timer stays in the heap until it would be due, and counts no more."""
        with self._mutex:
            if item.timer:
                item.timer = False
                self._live_timers -= 1
                if not self._live_timers:
                    self._timers.clear()

    # -- readings

    def here(self) -> bool:
        """Whether the caller is on this loop's thread, and the loop is running."""
        return self._driven and self._thread == threading.get_ident()

    def attach(self, source: Source, observer: abc.ObserverBase[Any]) -> abc.DisposableBase:
        """Opens a reading of ``source`` and feeds ``observer`` with it, on this loop."""
        port = self._open(source, observer)
        with self._mutex:
            self._ports.append(port)
        self._changes += 1
        self._stir()
        return port

    def detach(self, port: _Port) -> None:
        """Closes a port, from any thread."""
        if self._drop(port):
            self._close_reading(port)
            self._wake()

    def stop(self) -> None:
        """Ends everything that runs on this loop, from any thread."""
        self.subscription.dispose()
        for port in list(self._ports):
            self.detach(port)
        with self._mutex:
            self._actions.clear()
            for _, _, item in self._timers:
                item.timer = False
            self._timers.clear()
            self._live_timers = 0
        self._wake()

    def unsubscribe(self) -> None:
        """Ends the loop's own subscription, from any thread. What others share with it goes on."""
        self.subscription.dispose()
        self._wake()

    def _drop(self, port: _Port) -> bool:
        with self._mutex:
            if port.closed:
                return False
            port.closed = True
            port.items = iter(())
            with contextlib.suppress(ValueError):
                self._ports.remove(port)
        self._changes += 1
        return True

    def _finish(self, port: _Port, error: Exception | None) -> None:
        """A reading has ended: tells its observer."""
        if not self._drop(port):
            return
        if error is None:
            port.observer.on_completed()
        else:
            self._close_reading(port)
            port.observer.on_error(error)

    def _receive(self, port: _Port, packet: _Packet) -> None:
        """What a pump or a read brought."""
        if port.closed:
            return
        if isinstance(packet, list):
            port.items = iter(packet)
            self._current = port
        elif packet is None or isinstance(packet, Exception):
            self._finish(port, packet)
        else:
            self.detach(port)
            raise packet

    # -- turns

    def _turns(self) -> Generator[Any, None, None]:
        """Delivers what there is; yields the consumer's items, and ``_READ`` or ``_WAIT`` where there is nothing."""
        ready = self._ready
        while True:
            if self._actions or self._timers:
                self._run_what_is_due()
            while ready:
                yield ready.popleft()
            if self._over:
                return
            port = self._current
            if port is None:
                if self._reading_port() is not None:
                    yield _READ
                elif not self._pulled and self._retire():
                    return
                elif not self._actions:
                    yield _WAIT
                continue
            seen = self._changes
            if self._actions or self._timers or port.pumped or self._ports != [port]:
                seen = -1
            on_next, straight = port.observer.on_next, port.observer is self._sink
            while True:
                for item in port.items:
                    if straight:
                        yield item
                    else:
                        try:
                            on_next(item)
                        except AttributeError as error:
                            _explain(error)
                            raise
                        while ready:
                            yield ready.popleft()
                    if self._changes != seen:
                        break
                else:
                    if self._changes == seen:
                        # Nothing but this port can have anything: straight on.
                        yield _READ
                        continue
                    self._current = None
                    if port.pumped:
                        port.slots.release()
                break

    def _run_what_is_due(self) -> None:
        """Runs one action: the first undelayed one, else the first timer that is due.

        What had arrived before a timer was due is delivered before it: a slow consumer's own time is no silence of the
        source.
        """
        with self._mutex:
            if self._actions:
                item = self._actions.popleft()
            else:
                while self._timers and self._timers[0][2].cancelled:
                    heapq.heappop(self._timers)
                if not self._timers or self._timers[0][0] > min(time.monotonic(), self._oldest_arrival()):
                    return
                item = heapq.heappop(self._timers)[2]
                self._live_timers -= 1
                item.timer = False
        if not item.cancelled:
            item.invoke()

    def _reading_port(self) -> _Port | None:
        """The port to read in place: the only one, with nothing scheduled; ``None`` if pumps are wanted."""
        ports = self._ports[:2]
        if len(ports) == 1 and not (ports[0].pumped or self._live_timers or self._actions):
            return ports[0]
        return None

    def _seconds_to_wait(self) -> float | None:
        with self._mutex:
            while self._timers and self._timers[0][2].cancelled:
                heapq.heappop(self._timers)
            return max(self._timers[0][0] - time.monotonic(), 0.0) if self._timers else None

    def _is_idle(self) -> bool:
        return not (self._ready or self._actions or self._over or self._current)

    # -- who drives

    def _retire(self) -> bool:
        """Nobody takes items: with nothing left to drive, the driver goes. Whoever brings more, starts another."""
        with self._mutex:
            if self._ports or self._live_timers or self._actions:
                return False
            self._driven = False
            self._thread = None
            return True

    def _leave(self) -> None:
        """The consumer goes. What others still need of this loop's readings goes on by itself."""
        self.subscription.dispose()
        with self._mutex:
            self._pulled = self._driven = self._over = False
            self._thread = None
            self._ready.clear()
            pending = any(not action.cancelled for action in self._actions)
            more = bool(self._ports or self._live_timers or pending)
        if more:
            self._stir()

    def _stir(self) -> None:
        """Something was added: if nobody drives, somebody has to; if the driver waits, it wakes.

        On the loop's own thread it can wait all the same: on an event loop, another task has added something.
        """
        if self._thread == threading.get_ident():
            if self._waiting:
                self._wake()
            return
        with self._mutex:
            start = not self._driven
            self._driven = True
        if start:
            self._start()
        else:
            self._wake()

    def _subscribe(self, source: Observable[Any]) -> None:
        """Subscribes the consumer that takes items one by one."""
        sink = self._sink = _Sink(self)
        root: Source | None = getattr(source, "source", None)
        if root is None:
            self.subscription.disposable = source.subscribe(self.put, sink.on_error, sink.on_completed, scheduler=self)
            return
        # A root Stream has no operator between its reading and its consumer: none of reactivex is needed between them.
        try:
            self.subscription.disposable = self.attach(root, sink)
        except Exception as error:  # noqa: BLE001  the source could not be opened
            sink.on_error(error)

    def put(self, item: Any) -> None:
        """An item for the consumer, from any thread."""
        self._ready.append(item)
        if self._waiting:
            self._wake()

    def finish(self, error: Exception | None) -> None:
        """The end for the consumer, from any thread."""
        self._error = error
        self._over = True
        self._changes += 1
        if self._waiting:
            self._wake()

    def begin(
        self, subscribe: Callable[[abc.ObserverBase[Any], "Loop"], abc.DisposableBase], observer: abc.ObserverBase[Any]
    ) -> None:
        """Subscribes ``observer`` on this loop's own thread, as its first action."""

        def action(_: abc.SchedulerBase, __: Any = None) -> None:
            if self.subscription.is_disposed:
                return
            try:
                disposable = subscribe(_Ending(self, observer), self)
            except Exception as error:  # noqa: BLE001  the source's own subscribe function failed
                observer.on_error(error)
            else:
                self.subscription.disposable = disposable

        self.schedule(action)

    @abstractmethod
    def _oldest_arrival(self) -> float:
        """When the oldest packet that is still to be delivered arrived; infinity where there is none."""

    @abstractmethod
    def _open(self, source: Source, observer: abc.ObserverBase[Any]) -> _Port:
        """A port on a reading of the loop's own kind."""

    @abstractmethod
    def _close_reading(self, port: _Port) -> None:
        """Closes a port's reading, from any thread."""

    @abstractmethod
    def _start(self) -> None:
        """Starts a driver of the loop's own."""

    @abstractmethod
    def _wake(self) -> None:
        """Wakes the driver if it waits, from any thread."""


def _explain(error: AttributeError) -> None:
    """Says what to do where an operator on chunks was given something else, a thing that types alone would tell."""
    if error.name == "choices":
        error.add_note(
            f"An operator on chunks was given a {type(error.obj).__name__}: put it before those that make something "
            "else of chunks, as text_deltas() does."
        )


class ThreadLoop(Loop):
    """A loop on a thread: the consumer's own, or a worker's."""

    def __init__(self, *, pulled: bool = True) -> None:
        super().__init__(pulled=pulled)
        self._inbox: queue.SimpleQueue[tuple[float, _Port, _Packet] | None] = queue.SimpleQueue()
        self._arrived: deque[tuple[float, _Port, _Packet]] = deque()  # taken from the inbox, still to be delivered
        self._woken = False

    def pull(self, source: Observable[_T]) -> Generator[_T, None, None]:
        """The items of ``source``, read as they are asked for. Leaving it cancels."""
        try:
            self._thread = threading.get_ident()
            self._subscribe(source)
            for step in self._turns():
                if step is _READ:
                    self._thread = threading.get_ident()
                    self._read(self._ports[:1])
                elif step is _WAIT:
                    self._thread = threading.get_ident()
                    self._wait()
                else:
                    yield step
        finally:
            error, self._error = self._error, None
            self._leave()
        if error is not None:
            try:
                raise error
            finally:
                del error

    def drive(self) -> None:
        """Runs until nothing is left to drive."""
        self._thread = threading.get_ident()
        while True:
            try:
                for step in self._turns():
                    if step is _READ:
                        self._read(self._ports[:1])
                    elif step is _WAIT:
                        self._wait()
            except Exception as error:  # noqa: BLE001  a callback of the consumer's own raised
                # reactivex disposes of nothing then. What others share with this consumer goes on.
                self.subscription.dispose()
                hook = threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
                threading.excepthook(hook)
            except BaseException:
                self.stop()
                self._retire()
                raise
            else:
                return

    def _read(self, ports: list[_Port]) -> None:
        """Reads in place, from the first of ``ports``; there is none where another thread has just closed it."""
        for port in ports:
            try:
                packet = port.reading.pull()
            except Exception as error:  # noqa: BLE001  whatever a source raises is its observer's on_error
                self._receive(port, error)
                return
            except BaseException:
                self.detach(port)
                raise
            if packet is None:
                try:
                    self._receive(port, None)
                finally:
                    port.reading.drain()
            elif not port.closed:
                port.items = iter(packet)
                self._current = port

    def _wait(self) -> None:
        for port in list(self._ports):
            if not port.pumped and not self._start_pump(port):
                # The interpreter is shutting down and starts no thread any more: this one reads, and timers are late.
                self._read([port])
                return
        self._waiting = True
        try:
            if self._is_idle() and not self._arrived:
                seconds = self._seconds_to_wait()
                if threading.current_thread() is threading.main_thread():
                    seconds = _ATTENTION if seconds is None else min(seconds, _ATTENTION)
                message = self._inbox.get(timeout=seconds)
                if message is not None:
                    self._arrived.append(message)
        except queue.Empty:
            return
        finally:
            self._waiting = self._woken = False
        if self._arrived:
            arrived, port, packet = self._arrived.popleft()
            port.arrived = arrived
            self._receive(port, packet)

    def _oldest_arrival(self) -> float:
        with contextlib.suppress(queue.Empty):
            while True:
                message = self._inbox.get_nowait()
                if message is None:
                    self._woken = False
                else:
                    self._arrived.append(message)
        if self._current is not None:
            return self._current.arrived
        return self._arrived[0][0] if self._arrived else math.inf

    def _start_pump(self, port: _Port) -> bool:
        port.pumped = True
        try:
            threading.Thread(target=self._pump, args=(port,), name="rxllm-reader", daemon=True).start()
        except RuntimeError:
            port.pumped = False
        return port.pumped

    def _pump(self, port: _Port) -> None:
        """Reads, and does nothing else."""
        packet: _Packet = []
        while isinstance(packet, list):
            port.slots.acquire()
            if port.closed:
                return
            try:
                packet = port.reading.pull()
            except BaseException as error:  # noqa: BLE001  whatever a source raises is for the loop to deliver
                packet = error
            self._inbox.put((time.monotonic(), port, packet))
        if packet is None:
            port.reading.drain()

    def _open(self, source: Source, observer: abc.ObserverBase[Any]) -> _Port:
        return _Port(self, source.open(), observer, threading.Semaphore(_BUFFERED_PACKETS))

    def _close_reading(self, port: _Port) -> None:
        try:
            port.reading.close()
        except Exception as error:  # noqa: BLE001  what a source raises while it is closed has nobody left to go to
            _log.warning("A source raised while it was closed: %r", error)
        finally:
            port.slots.release()

    def _start(self) -> None:
        _workers.start(self)

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._inbox.put(None)


class TaskLoop(Loop):
    """The same on a running asyncio event loop, with tasks in the place of threads."""

    def __init__(self, event_loop: asyncio.AbstractEventLoop, *, pulled: bool = True) -> None:
        super().__init__(pulled=pulled)
        self._event_loop = event_loop
        self._inbox: deque[tuple[float, _Port, _Packet]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._pumps: set[_Port] = set()
        self._closings: set[asyncio.Task[None]] = set()

    async def pull(self, source: Observable[_T]) -> AsyncGenerator[_T, None]:
        """The items of ``source``, read as they are asked for. Leaving it cancels."""
        try:
            self._thread = threading.get_ident()
            self._subscribe(source)
            for step in self._turns():
                if step is _READ:
                    await self._read()
                elif step is _WAIT:
                    await self._wait()
                else:
                    yield step
        finally:
            error, self._error = self._error, None
            self._leave()
            await self._settle()
        if error is not None:
            try:
                raise error
            finally:
                del error

    async def drive(self) -> None:
        """Runs until nothing is left to drive."""
        self._thread = threading.get_ident()
        try:
            while True:
                try:
                    for step in self._turns():
                        if step is _READ:
                            await self._read()
                        elif step is _WAIT:
                            await self._wait()
                except Exception as error:  # noqa: BLE001  a callback of the consumer's own raised
                    # reactivex disposes of nothing then. What others share with this consumer goes on.
                    self.subscription.dispose()
                    context = {"message": "A callback of a Stream raised", "exception": error}
                    self._event_loop.call_exception_handler(context)
                except BaseException:
                    self.stop()
                    self._retire()
                    raise
                else:
                    return
        finally:
            await self._settle()

    async def _read(self) -> None:
        """Reads in place, from the only port; there is none where another thread has just closed it."""
        for port in self._ports[:1]:
            try:
                packet = await port.reading.pull()
            except Exception as error:  # noqa: BLE001  whatever a source raises is its observer's on_error
                self._receive(port, error)
                return
            except BaseException:
                self.detach(port)
                raise
            if packet is None:
                try:
                    self._receive(port, None)
                finally:
                    await port.reading.drain()
            elif not port.closed:
                port.items = iter(packet)
                self._current = port

    async def _wait(self) -> None:
        for port in list(self._ports):
            if not port.pumped:
                port.pumped = True
                port.pump = pump = self._event_loop.create_task(self._pump(port))
                self._pumps.add(port)
                # Also of a task that was cancelled before it began.
                pump.add_done_callback(partial(self._forget, port))
        if not self._inbox:
            self._waiting = True
            self._waiter = waiter = self._event_loop.create_future()
            seconds = self._seconds_to_wait()
            timer = None if seconds is None else self._event_loop.call_later(seconds, self._wake_here)
            try:
                if self._is_idle():
                    await waiter
            finally:
                self._waiting = False
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        if self._inbox and not self._actions:
            arrived, port, packet = self._inbox.popleft()
            port.arrived = arrived
            self._receive(port, packet)

    def _oldest_arrival(self) -> float:
        if self._current is not None:
            return self._current.arrived
        return self._inbox[0][0] if self._inbox else math.inf

    async def _pump(self, port: _Port) -> None:
        """Reads, and does nothing else."""
        packet: _Packet = []
        while isinstance(packet, list):
            await port.slots.acquire()
            if port.closed:
                return
            try:
                packet = await port.reading.pull()
            except BaseException as error:  # noqa: BLE001  whatever a source raises is for the loop to deliver
                packet = error
            self._inbox.append((time.monotonic(), port, packet))
            self._wake_here()
        if packet is None:
            await port.reading.drain()

    def _forget(self, port: _Port, pump: "asyncio.Task[None]") -> None:
        """A pump has ended; who waits for it may go on."""
        self._pumps.discard(port)
        if not pump.cancelled():
            return
        # It never began, or was cancelled while it waited for room: its port will bring nothing any more.
        self._inbox.append((time.monotonic(), port, asyncio.CancelledError()))
        self._wake_here()

    async def _settle(self) -> None:
        """Waits until what was let go of is gone; what others still need goes on."""
        while waited := [*self._closings, *(port.pump for port in self._pumps if port.closed)]:
            await asyncio.wait(waited)

    def _open(self, source: Source, observer: abc.ObserverBase[Any]) -> _Port:
        return _Port(self, source.open_async(), observer, asyncio.Semaphore(_BUFFERED_PACKETS))

    def _close_reading(self, port: _Port) -> None:
        if port.reading.close():
            self._on_event_loop(self._let_go, port)
        self._on_event_loop(port.slots.release)

    def _let_go(self, port: _Port) -> None:
        closing = self._event_loop.create_task(self._aclose(port))
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)

    async def _aclose(self, port: _Port) -> None:
        try:
            await port.reading.aclose()
        except Exception as error:  # noqa: BLE001  what a source raises while it is closed has nobody left to go to
            _log.warning("A source raised while it was closed: %r", error)

    def _on_event_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        """Calls on the event loop's thread: now if this is it."""
        if self._thread == threading.get_ident():
            call(*arguments)
        else:
            with contextlib.suppress(RuntimeError):  # the event loop is closed: nothing of it is left to tell
                self._event_loop.call_soon_threadsafe(call, *arguments)

    def _start(self) -> None:
        self._on_event_loop(lambda: _workers.start_task(self, self._event_loop))

    def _wake(self) -> None:
        self._on_event_loop(self._wake_here)

    def _wake_here(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
