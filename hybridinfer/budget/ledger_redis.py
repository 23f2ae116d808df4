"""The ledger of a fleet: a Redis or Valkey server that every machine's Router shares.

Each operation is one Lua script, so it is atomic across all budgets of a request. The server's memory is the book:
run it with `appendonly yes`, else a restart forgets what was spent. All keys share one hash slot of a cluster.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from ..errors import ConfigurationError
from .book import Book, Hold, LedgerDown, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

    from ..policy.model import Policy
    from .windows import Account

T = TypeVar("T")

_TIMEOUT = 2.0  # seconds for a connection or an answer
_CONNECTIONS = 32
_KEPT = 35 * 86_400  # seconds that a bucket is kept after it stopped to count

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
    _USED
    + """
local sums = {}
for i, account in ipairs(cjson.decode(ARGV[1])) do sums[i] = string.format('%.0f', used(account)) end
return sums
"""
)
_HOLD = (
    _USED
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
_SETTLE = """
local held = redis.call('HMGET', KEYS[1], 'amount', 'buckets')
if not held[1] then return false end
redis.call('DEL', KEYS[1])
local difference = string.format('%.0f', tonumber(ARGV[1]) - tonumber(held[1]))
for _, bucket in ipairs(cjson.decode(held[2])) do
  redis.call('HINCRBY', bucket, 'booked', difference)
  if ARGV[2] == '1' then redis.call('HINCRBY', bucket, 'estimated', ARGV[1]) end
end
return false
"""


class RedisStore:
    """Accounts in hashes `PREFIX:account:BUCKET:KEY`, holds in `PREFIX:hold:ID`; a hold's expiry is the server's.

    An expired hold vanishes and its amount stays booked: spent as reserved. Needs the extra `redis`.
    """

    def __init__(self, url: str, *, prefix: str = "{hybridinfer}") -> None:
        self._url = url
        self._prefix = prefix
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _Client] = WeakKeyDictionary()
        self._going: set[asyncio.Task[Any]] = set()
        parts = urlsplit(url)
        self._place = parts.hostname + f":{parts.port or 6379}" if parts.hostname else parts.path

    async def used(self, accounts: Sequence[Account]) -> tuple[int, ...]:
        """See `Store.used`."""
        sums = await self._eval(_READ, [], json.dumps([self._account(account) for account in accounts]))
        return tuple(map(int, sums))

    async def hold(self, hold: Hold) -> Refusal | None:
        """See `Store.hold`. A cancelled caller's hold is released behind it."""
        key = self._hold_key(hold.id)
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
        task = self._start(self._eval(_HOLD, [key], json.dumps(facts), json.dumps(accounts)))
        try:
            refused = await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda _: self._start(self._forget(hold.id)))
            raise
        return Refusal(int(refused[0]), int(refused[1])) if refused else None

    async def settle(self, hold_id: str, amount: int, *, estimated: bool) -> None:
        """See `Store.settle`. It happens even if the caller is cancelled meanwhile."""
        call = self._eval(_SETTLE, [self._hold_key(hold_id)], str(amount), "1" if estimated else "0")
        await asyncio.shield(self._start(call))

    async def release(self, hold_id: str) -> None:
        """See `Store.release`. It happens even if the caller is cancelled meanwhile."""
        await self.settle(hold_id, 0, estimated=False)

    async def aclose(self) -> None:
        """Wait for what is under way in this event loop, then disconnect it."""
        loop = asyncio.get_running_loop()
        while mine := [task for task in self._going if task.get_loop() is loop]:
            await asyncio.wait(mine)
        client = self._clients.pop(loop, None)
        if client is not None:
            await client.redis.aclose()

    async def _forget(self, hold_id: str) -> None:
        try:
            await self.release(hold_id)
        except LedgerDown:
            return  # the hold expires into spent: nobody is left to tell

    async def _eval(self, script: str, keys: list[str], *arguments: str) -> Any:
        import redis.exceptions

        try:
            return await self._client().scripts[script](keys=keys, args=arguments)
        except (redis.exceptions.RedisError, OSError) as error:
            raise LedgerDown(
                f"the ledger at {self._place} cannot be used ({type(error).__name__}); "
                "check that the server runs and that its address and password are right"
            ) from error

    def _client(self) -> _Client:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = _connect(self._url)
        return self._clients[loop]

    def _start(self, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(call)
        self._going.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._going.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that a caller who went away leaves no warning behind

    def _hold_key(self, hold_id: str) -> str:
        return f"{self._prefix}:hold:{hold_id}"

    def _account(self, account: Account) -> dict[str, object]:
        def key(bucket: int) -> str:
            return f"{self._prefix}:account:{bucket}:{account.key}"

        return {
            "bucket": key(account.bucket),
            "buckets": [key(bucket) for bucket in account.buckets],
        }


class RedisLedger(Book):
    """A `Ledger` on a server: `redis://[:password@]host:port/number`, `rediss://` for TLS, `unix://path`."""

    def __init__(self, policy: Policy, url: str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(policy, RedisStore(url), clock=clock)


class _Client(NamedTuple):
    """One event loop's connections."""

    redis: Redis
    scripts: Mapping[str, AsyncScript]


def _connect(url: str) -> _Client:
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
    except ImportError:
        raise ConfigurationError("a redis: ledger needs an extra; pip install 'hybridinfer-sdk[redis]'") from None
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_TIMEOUT,
        socket_timeout=_TIMEOUT,
        socket_connect_timeout=_TIMEOUT,
    )
    client = Redis.from_pool(pool)
    return _Client(client, {script: client.register_script(script) for script in (_READ, _HOLD, _SETTLE)})
