"""The ledger of a fleet: a Redis or Valkey server that every machine's Router shares.

Each operation is one Lua script, so it is atomic across all budgets of a request; operations that wait at the same
time travel together. All keys share one hash slot of a cluster.

The server's memory is the book: run it with `appendonly yes`, else a restart forgets what was spent. The book has an
id, by which a process sees that it is another one than it has spent from; then it books once more what it spent itself.
The server's clock is everybody's: machines whose clocks differ agree on windows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from hashlib import sha1
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from ..errors import ConfigurationError
from .book import Book, Hold, LedgerDown, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from redis.asyncio import Redis

    from ..policy.model import Policy
    from ..types import Standing
    from .book import Reservation
    from .windows import Account

logger = logging.getLogger("hybridinfer")

_TIMEOUT = 2.0  # seconds for a connection or an answer
_BATCH = 128
_KEPT = 35 * 86_400  # seconds that a bucket is kept after it stopped to count
_OWN = 10_000  # buckets whose sums a process remembers
_NOTHING: Mapping[str, tuple[int, int]] = {}

_SAME_BOOK = """
if redis.call('HGET', KEYS[2], 'id') ~= ARGV[#ARGV] then return redis.error_reply('BOOK is another one') end
"""
# A number leaves Lua as text of whole nano-dollars: up to 2^53 (money.MAX_NANO) a double is exact.
_USED = """
local function used(account)
  local sum = 0
  for _, key in ipairs(account.buckets) do
    sum = sum + tonumber(redis.call('HGET', key, 'booked') or '0')
  end
  return sum
end
"""
_READ = (
    _SAME_BOOK
    + _USED
    + """
local sums = {}
for i, account in ipairs(cjson.decode(ARGV[1])) do sums[i] = string.format('%.0f', used(account)) end
return sums
"""
)
_HOLD = (
    _SAME_BOOK
    + _USED
    + """
local hold, accounts, current = cjson.decode(ARGV[1]), cjson.decode(ARGV[2]), {}
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
for i, account in ipairs(accounts) do
  local sum = used(account)
  if not hold.forced and sum + hold.amount > account.limit then return {i - 1, string.format('%.0f', sum)} end
end
local amount = string.format('%.0f', hold.amount)
for i, account in ipairs(accounts) do
  redis.call('HINCRBY', account.bucket, 'booked', amount)
  redis.call('EXPIRE', account.bucket, account.kept)
  current[i] = account.bucket
end
redis.call('HSET', KEYS[1], 'amount', amount, 'receipt', hold.receipt, 'target', hold.target,
  'buckets', cjson.encode(current))
redis.call('EXPIRE', KEYS[1], hold.patience)
return false
"""
)
_SETTLE = (
    _SAME_BOOK
    + """
local held = redis.call('HMGET', KEYS[1], 'amount', 'buckets')
if not held[1] then return false end
redis.call('DEL', KEYS[1])
local difference, buckets = string.format('%.0f', tonumber(ARGV[1]) - tonumber(held[1])), cjson.decode(held[2])
for _, bucket in ipairs(buckets) do
  redis.call('HINCRBY', bucket, 'booked', difference)
  if ARGV[2] == '1' then redis.call('HINCRBY', bucket, 'estimated', ARGV[1]) end
end
return {difference, unpack(buckets)}
"""
)
# Into another book than it knew (ARGV[4]) a process enters itself once: a repeated call shall not book its sums twice.
_JOIN = """
local book, sums = redis.call('HGET', KEYS[1], 'id'), cjson.decode(ARGV[3])
if not book then
  book = ARGV[1]
  redis.call('HSET', KEYS[1], 'id', book)
end
if book ~= ARGV[4] and next(sums) and redis.call('HSETNX', KEYS[1], ARGV[2], 'has booked again') == 1 then
  for _, sum in ipairs(sums) do
    redis.call('HINCRBY', sum[1], 'booked', sum[2])
    redis.call('EXPIRE', sum[1], sum[3])
  end
end
return book
"""

_SHA = {script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (_READ, _HOLD, _SETTLE)}


class RedisStore:
    """Accounts in hashes `PREFIX:account:BUCKET:KEY`, holds in `PREFIX:hold:ID`, the book's id in `PREFIX:book`.

    A hold's expiry is the server's: it vanishes, and its amount stays booked: spent as reserved. Raises ConfigurationError without the
    extra `redis`.
    """

    def __init__(self, url: str, *, prefix: str = "{hybridinfer}") -> None:
        if find_spec("redis") is None:
            raise ConfigurationError("a redis: ledger needs an extra; pip install 'hybridinfer-sdk[redis]'")
        self._url = url
        self._prefix = prefix
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()

    async def ahead(self) -> float:
        """Seconds that the server's clock is ahead of this machine's. Raises LedgerDown."""
        line = self._line()
        if line.ahead is None:
            await self.used(())
        return line.ahead or 0.0

    async def used(self, accounts: Sequence[Account]) -> tuple[int, ...]:
        """See `Store.used`."""
        sums = await self._line().ask(_READ, self._prefix, json.dumps([self._account(account) for account in accounts]))
        return tuple(map(int, sums))

    async def hold(self, hold: Hold) -> Refusal | None:
        """See `Store.hold`. A cancelled caller's hold is released behind it."""
        facts = {
            "amount": hold.amount,
            "patience": hold.expires - hold.now,
            "forced": hold.forced,
            "receipt": hold.receipt_id,
            "target": hold.target,
        }
        accounts = [
            {**self._account(account), "limit": account.limit, "kept": account.until - hold.now + _KEPT}
            for account in hold.accounts
        ]
        line, books = self._line(), {str(one["bucket"]): (hold.amount, int(str(one["kept"]))) for one in accounts}
        try:
            refused = await line.ask(
                _HOLD, self._hold_key(hold.id), json.dumps(facts), json.dumps(accounts), books=books
            )
        except asyncio.CancelledError:
            line.ask(_SETTLE, self._hold_key(hold.id), "0", "0").add_done_callback(_forget)
            raise
        return Refusal(int(refused[0]), int(refused[1])) if refused else None

    async def settle(self, hold_id: str, amount: int, *, estimated: bool) -> None:
        """See `Store.settle`. It happens even if the caller is cancelled meanwhile."""
        await self._line().ask(_SETTLE, self._hold_key(hold_id), str(amount), "1" if estimated else "0")

    async def release(self, hold_id: str) -> None:
        """See `Store.release`. It happens even if the caller is cancelled meanwhile."""
        await self.settle(hold_id, 0, estimated=False)

    async def aclose(self) -> None:
        """Wait for what is under way in this event loop, then disconnect it."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.aclose()

    def _line(self) -> _Line:
        loop = asyncio.get_running_loop()
        if loop not in self._lines:
            self._lines[loop] = _Line(self._url, f"{self._prefix}:book")
        return self._lines[loop]

    def _hold_key(self, hold_id: str) -> str:
        return f"{self._prefix}:hold:{hold_id}"

    def _account(self, account: Account) -> dict[str, object]:
        def key(bucket: int) -> str:
            return f"{self._prefix}:account:{bucket}:{account.key}"

        return {"bucket": key(account.bucket), "buckets": [key(bucket) for bucket in account.buckets]}


class RedisLedger(Book):
    """A `Ledger` on a server: `redis://[:password@]host:port/number`, `rediss://` for TLS, `unix://path`."""

    def __init__(self, policy: Policy, url: str, *, clock: Callable[[], float] | None = None) -> None:
        """`clock`: seconds since the epoch; None: the server's."""
        self._server = RedisStore(url)
        self._ahead = 0.0
        self._follows = clock is None
        super().__init__(policy, self._server, clock=clock or (lambda: time.time() + self._ahead))

    async def standing(self, tags: Mapping[str, str]) -> Standing:
        """See `Ledger.standing`."""
        with contextlib.suppress(LedgerDown):  # the standing itself finds out
            await self._set_clock()
        return await super().standing(tags)

    async def reserve(self, *, receipt_id: str, target: str, usd: Decimal, tags: Mapping[str, str]) -> Reservation:
        """See `Ledger.reserve`."""
        await self._set_clock()
        return await super().reserve(receipt_id=receipt_id, target=target, usd=usd, tags=tags)

    async def _set_clock(self) -> None:
        if self._follows:
            self._ahead = await self._server.ahead()


class _Call(NamedTuple):
    script: str
    key: str
    arguments: tuple[str, ...]
    books: Mapping[str, tuple[int, int]]
    answer: asyncio.Future[Any]


class _Line:
    """One event loop's connection. Calls stand in line, and all that wait go out together, in order."""

    def __init__(self, url: str, book_key: str) -> None:
        self.ahead: float | None = None
        """Seconds that the server's clock is ahead of ours; None: never asked."""
        self._redis = _connect(url)
        self._book_key = book_key
        self._book = ""
        self._name = os.urandom(12).hex()
        self._own: dict[str, tuple[int, int]] = {}
        """What this process has in use: bucket -> nano-dollars, and seconds that the bucket is kept."""
        parts = urlsplit(url)
        self._place = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path  # without the password
        self._waiting: list[_Call] = []
        self._sender: asyncio.Task[None] | None = None

    def ask(
        self, script: str, key: str, *arguments: str, books: Mapping[str, tuple[int, int]] = _NOTHING
    ) -> asyncio.Future[Any]:
        """Queue a script. It runs even if nobody waits for its answer any more. The answer may be LedgerDown.

        `books`: what it adds to which bucket, and how many seconds that is kept.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Call(script, key, arguments, books, answer))
        if self._sender is None or self._sender.done():
            self._sender = loop.create_task(self._send())
        return answer

    async def aclose(self) -> None:
        """Send what waits, then disconnect."""
        if self._sender is not None:
            await asyncio.wait([self._sender])
        await self._redis.aclose()

    async def _send(self) -> None:
        import redis.exceptions

        while self._waiting:
            calls, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            answers: list[Any] = []
            try:
                answers = await self._execute(calls)
                again = [n for n, answer in enumerate(answers) if _must_join(answer)]
                if again:
                    await self._join()
                    for n, answer in zip(again, await self._execute([calls[n] for n in again]), strict=True):
                        answers[n] = answer
            except (redis.exceptions.RedisError, OSError) as error:
                answers = [error if _must_join(answer) else answer for answer in answers] or [error] * len(calls)
            for call, answer in zip(calls, answers, strict=True):
                self._give(call, answer)

    async def _execute(self, calls: list[_Call]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.evalsha(_SHA[call.script], 2, call.key, self._book_key, *call.arguments, self._book)
            pipe.time()
            began = time.time()
            *given, (seconds, micro) = await pipe.execute(raise_on_error=False)
        self.ahead = seconds + micro / 1e6 - (began + time.time()) / 2
        for call, answer in zip(calls, given, strict=True):
            self._remember(call, answer)
        return given

    def _remember(self, call: _Call, answer: Any) -> None:
        """What the book now holds of ours."""
        if call.script == _HOLD and answer is None:
            for bucket, (amount, kept) in call.books.items():
                self._own[bucket] = (self._own.get(bucket, (0, 0))[0] + amount, kept)
            while len(self._own) > _OWN:
                del self._own[next(iter(self._own))]
        elif call.script == _SETTLE and isinstance(answer, list):
            difference, *buckets = answer
            for bucket in {one.decode() for one in buckets} & self._own.keys():
                before, kept = self._own[bucket]
                self._own[bucket] = (before + int(difference), kept)

    async def _join(self) -> None:
        """Teach the server our scripts, and begin or take up its book; book once more what it forgot of ours."""
        for script in _SHA:
            await self._redis.script_load(script)
        sums = [(bucket, str(amount), kept) for bucket, (amount, kept) in self._own.items() if amount > 0]
        arguments = (os.urandom(12).hex(), self._name, json.dumps(sums), self._book)
        book = await self._redis.eval(_JOIN, 1, self._book_key, *arguments)
        if self._book not in ("", book.decode()):
            logger.warning("the ledger at %s forgot its book; what this process spent is booked again", self._place)
        self._book = book.decode()

    def _give(self, call: _Call, answer: object) -> None:
        if call.answer.done():
            return
        if not isinstance(answer, Exception):
            call.answer.set_result(answer)
            return
        down = LedgerDown(
            f"the ledger at {self._place} cannot be used ({type(answer).__name__}); "
            "check that the server runs and that its address and password are right"
        )
        down.__cause__ = answer
        call.answer.set_exception(down)


def _must_join(answer: object) -> bool:
    """The server knows neither our scripts nor us: it is new to us, or was emptied."""
    import redis.exceptions

    another = isinstance(answer, redis.exceptions.ResponseError) and str(answer).startswith("BOOK")
    return another or isinstance(answer, redis.exceptions.NoScriptError)


def _connect(url: str) -> Redis:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # Once more at once, for a connection that the server closed while idle: holds and ends bear repetition.
    retry = Retry(NoBackoff(), 1)
    client: Redis = Redis.from_url(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT, retry=retry)
    return client


def _forget(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()  # looked at: the caller is gone, and what cannot be released expires into spent
