"""Server-sent events, decoded from bytes that may be split anywhere.

Source: WHATWG HTML, "Server-sent events", 9.2.6. Only `data` matters here: both vendors repeat the event's
type inside it. Leaves out `id` and `retry`, which serve reconnecting; a broken answer is never resumed.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"


class Overflow(ValueError):
    """One event is larger than anything a model would say in one piece."""


class SseDecoder:
    """Feed it bytes, get the `data` of every event that became complete."""

    __slots__ = ("_data", "_held", "_limit", "_rest", "_started")

    def __init__(self, *, limit: int) -> None:
        self._rest: list[bytes] = []
        """Pieces of a line that has no end yet."""
        self._data: list[bytes] = []
        self._held = 0
        self._limit = limit
        self._started = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that `piece` completes.

        Raises:
            Overflow: an event grew beyond the limit.
        """
        self._held += len(piece)
        events: list[bytes] = []
        # Joined only when a line may end: a long one that comes in many pieces is copied once.
        if b"\n" in piece or b"\r" in piece or not self._started or self._rest[-1:] == [b"\r"]:
            buffer = b"".join((*self._rest, piece)) if self._rest else piece
            if not self._started:
                if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                    self._rest = [buffer]
                    return events
                self._started = True
                buffer = buffer.removeprefix(_BOM)
            # A trailing \r may be the first half of \r\n: it waits for what follows.
            end = max(buffer.rfind(b"\n"), buffer.rfind(b"\r", 0, -1)) + 1
            rest = buffer[end:]
            for line in buffer[:end].splitlines():
                self._line(line, events)
            self._rest = [rest[:-1], b"\r"] if rest.endswith(b"\r") else [rest] if rest else []
        else:
            self._rest.append(piece)
        if self._held > self._limit:
            self._held = sum(map(len, (*self._rest, *self._data)))
            if self._held > self._limit:
                raise Overflow("an event of the stream is larger than the limit")
        return events

    def flush(self) -> list[bytes]:
        """At the end of the stream: the event that its last blank line would have completed."""
        events: list[bytes] = []
        for line in (*b"".join(self._rest).splitlines(), b""):
            self._line(line, events)
        self._rest = []
        return events

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
        elif line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")
