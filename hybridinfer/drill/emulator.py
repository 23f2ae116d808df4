"""A vendor on this machine: OpenAI's chat completions and responses, and Anthropic's messages, over real HTTP.

```python
async with Emulator() as emulator:
    emulator.outage("/v1/messages", Status(status=529), times=2)
    ...  # point a target's base_url at emulator.base_url_anthropic
    assert emulator.requests[0].body["model"] == "claude-haiku-5-5"
```
It listens on 127.0.0.1 only, answers the same to the same request, says in every text that it is an emulator, and
fails on demand. To a client that speaks TLS it answers as a server does that accepts no protocol of the client's.
In threads: `with Emulator() as emulator:`, or `start_in_thread()` and `stop()`.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from .faults import Fault, Refuse
from .serve import serve
from .wire import Seen, TlsHello, Wire, read

if TYPE_CHECKING:
    from types import TracebackType

EVERYTHING = "*"
Where = str | Callable[[Seen], bool]
"""A path (`/v1/messages`), a model, `*`, or what says yes to some requests."""
_BACKLOG = 128


@dataclass(slots=True, eq=False)
class Outage:
    """A fault that is switched on. `times` None: until `end()`; a script's next fault comes first."""

    where: Where
    faults: list[Fault | None]
    times: int | None
    probability: float
    emulator: Emulator

    def end(self) -> None:
        """Switch it off."""
        self.emulator._end(self)  # noqa: SLF001 -- two halves of one thing

    def strikes(self, seen: Seen, chance: random.Random) -> bool:
        """Whether the next fault is for this request; the dice are thrown only for one that it may be for."""
        where = self.where
        meant = where(seen) if callable(where) else where in (EVERYTHING, seen.path, seen.model)
        return meant and self.times != 0 and (self.probability >= 1 or chance.random() < self.probability)

    def take(self) -> Fault | None:
        """The next fault; None where a script lets the request pass."""
        if self.times is None:
            return self.faults[0]
        self.times -= 1
        return self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]


class Emulator:
    """The server. Its methods may be called from any thread.

    Args:
        latency: Seconds before every answer.
        pace: Seconds between two pieces of a stream.
        keys: The API keys that it accepts; None: any.
        seed: Of the dice for outages with a probability.
    """

    def __init__(
        self, *, latency: float = 0.0, pace: float = 0.0, keys: Iterable[str] | None = None, seed: int = 0
    ) -> None:
        self.latency = latency
        self.pace = pace
        self.keys = None if keys is None else frozenset(keys)
        self.requests: list[Seen] = []
        """Everything that arrived, in order."""
        self.arrived = threading.Event()
        """Set when a request has arrived; clear it to wait for the next one."""
        self.open_connections = 0
        self.accepted = 0
        """Connections since the start."""
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._outages: list[Outage] = []
        self._chance = random.Random(seed)  # noqa: S311 -- dice, not secrets
        self._lock = threading.Lock()
        self._port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listener: socket.socket | None = None
        self._closed: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def base_url_openai(self) -> str:
        """What `base_url` of a target of kind openai must be."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def base_url_anthropic(self) -> str:
        """What `base_url` of a target of kind anthropic must be."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._port

    @property
    def closed_port(self) -> int:
        """A port of 127.0.0.1 where nobody listens while it runs: it is taken, and connections are refused."""
        assert self._closed is not None, "it runs"
        return int(self._closed.getsockname()[1])

    def outage(self, where: Where, fault: Fault, *, times: int | None = None, probability: float = 1.0) -> Outage:
        """Let requests fail. Of several outages the first that strikes does; one whose dice spare a request passes it on.

        Args:
            where: A path (`/v1/messages`), a model, `*`, or a function of the request as it arrived.
            fault: How.
            times: For so many requests; None: until the outage's `end()`.
            probability: Of each request that it is for.

        Raises:
            ValueError: `Refuse` for less than everything: start one emulator per target.
        """
        return self._begin(Outage(where, [fault], times, probability, self))

    def script(self, where: Where, faults: Iterable[Fault | None]) -> Outage:
        """One fault for each request in turn; None lets it pass. After the last one all is well."""
        listed = list(faults)
        return self._begin(Outage(where, listed, len(listed), 1.0, self))

    def heal(self) -> None:
        """End every outage."""
        for outage in list(self._outages):
            self._end(outage)

    async def idle(self) -> None:
        """Wait until no connection is open. On the emulator's own loop only."""
        await self._quiet.wait()

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def __enter__(self) -> Self:
        return self.start_in_thread()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_in_thread(self) -> Self:
        """Serve from a thread of its own, until `stop()`; returns when it listens."""
        ready = threading.Event()

        async def main() -> None:
            self._start()
            ready.set()
            await finished.wait()
            await self._stop()

        finished = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(main()), name="emulator", daemon=True)
        self._finished = finished
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """End the thread, with every connection and every wait in it."""
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._finished.set)
            self._thread.join()
            self._thread = None

    def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))  # and no listen
        self._listen()

    async def _stop(self) -> None:
        tasks = [*self._connections, *self._hang_up()]
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._closed is not None:
            self._closed.close()
            self._closed = None
        self._loop = None

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=_BACKLOG)
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        self._listener = listener
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listener))

    def _hang_up(self) -> list[asyncio.Task[None]]:
        """Stop listening and drop every connection; the tasks that are ending."""
        ending = list(self._connections)
        for task in ending:
            task.cancel()
        if self._accepting is not None:
            self._accepting.cancel()
            ending.append(self._accepting)
        if self._listener is not None:
            # The cancelled accept lets go of the descriptor first.
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
        self._accepting = self._listener = None
        return ending

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = loop.create_task(self._connection(connection))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _connection(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        task = asyncio.current_task()
        transport, protocol = await loop.connect_accepted_socket(lambda: _Protocol(reader, task), connection)
        self.open_connections += 1
        self.accepted += 1
        self._quiet.clear()
        wire = Wire(asyncio.StreamWriter(transport, protocol, reader, loop))
        try:
            while (seen := await read(reader)) is not None:
                self.requests.append(seen)
                self.arrived.set()
                await asyncio.sleep(self.latency)
                if not await serve(seen, wire, self._fault(seen), pace=self.pace, keys=self.keys):
                    break
        except TlsHello:
            wire.no_tls()
        except (ConnectionError, asyncio.CancelledError):
            transport.abort()  # the client left, or the emulator ends: at once, in either case
        finally:
            self.open_connections -= 1
            if not self.open_connections:
                self._quiet.set()
            transport.close()

    def _fault(self, seen: Seen) -> Fault | None:
        with self._lock:
            striking = next((one for one in self._outages if one.strikes(seen, self._chance)), None)
            return None if striking is None else striking.take()

    def _begin(self, outage: Outage) -> Outage:
        refusing = any(isinstance(fault, Refuse) for fault in outage.faults)
        if refusing and (outage.where != EVERYTHING or outage.times is not None or outage.probability < 1):
            raise ValueError("Refuse closes the whole emulator: use it with '*', and one emulator for each target")
        with self._lock:
            self._outages.append(outage)
        if refusing:
            self._on_loop(self._hang_up)
        return outage

    def _end(self, outage: Outage) -> None:
        with self._lock:
            if outage not in self._outages:
                return
            self._outages.remove(outage)
            refused = any(isinstance(fault, Refuse) for other in self._outages for fault in other.faults)
        if any(isinstance(fault, Refuse) for fault in outage.faults) and not refused:
            self._on_loop(self._listen)

    def _on_loop(self, action: Callable[[], Any]) -> None:
        """Run `action` on the emulator's loop, from wherever this is called, and wait for it."""
        if self._loop is None:
            raise RuntimeError("the emulator is not running; use 'async with Emulator() as emulator'")
        try:
            here = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            action()
            return
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(act)
        done.wait()


class _Protocol(asyncio.StreamReaderProtocol):
    """Streams whose task ends when the client leaves, even while it waits for something else."""

    def __init__(self, reader: asyncio.StreamReader, task: asyncio.Task[None] | None) -> None:
        super().__init__(reader)
        self._serving = task

    def eof_received(self) -> bool:
        super().eof_received()
        return False  # close: nobody listens to a half-closed connection

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._serving is not None:
            self._serving.cancel()
