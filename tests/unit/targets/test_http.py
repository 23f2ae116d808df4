"""The shared HTTP client, and where prompts may travel."""

from __future__ import annotations

import asyncio

import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.targets import http


@pytest.mark.anyio
async def test_targets_of_one_loop_share_one_client():
    """Two holders get the same client, and it stays open until the last lets go."""
    one, two = object(), object()
    client = await http.lease(one)
    assert await http.lease(two) is client
    await http.release(one)
    assert not client.is_closed
    await http.release(two)
    assert client.is_closed


@pytest.mark.anyio
async def test_a_client_is_built_once_for_holders_that_come_together():
    """Concurrent first calls end with one client."""
    holders = [object() for _ in range(3)]
    clients = await asyncio.gather(*(http.lease(holder) for holder in holders))
    assert len({id(client) for client in clients}) == 1
    for holder in holders:
        await http.release(holder)
    assert clients[0].is_closed


@pytest.mark.anyio
async def test_letting_go_without_a_lease_is_harmless():
    """A target that was never called can be closed; whoever holds a client keeps it."""
    holder = object()
    client = await http.lease(holder)
    await http.release(object())
    assert not client.is_closed
    await http.release(holder)


def test_each_loop_has_its_own_client():
    """A client used from a second loop fails, so none is."""

    async def borrow() -> object:
        holder = object()
        client = await http.lease(holder)
        await http.release(holder)
        return client

    assert asyncio.run(borrow()) is not asyncio.run(borrow())


@pytest.mark.anyio
async def test_redirects_are_not_followed_and_loopback_is_not_proxied(monkeypatch):
    """A prompt goes where the policy says, past the environment's proxies on this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    holder = object()
    client = await http.lease(holder)
    assert client.follow_redirects is False
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert client._transport_for_url(client.build_request("GET", f"http://{host}:1/").url) is client._transport
    assert client._transport_for_url(client.build_request("GET", "http://a.example/").url) is not client._transport
    await http.release(holder)


def test_limits_fit_into_the_attempts_time():
    """No single wait is longer than the attempt."""
    assert http.timeouts(30.0).as_dict() == {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 2.0}
    assert http.timeouts(0.5).as_dict() == {"connect": 0.5, "read": 0.5, "write": 0.5, "pool": 0.5}


@pytest.mark.parametrize(
    ("url", "zone"),
    [
        ("https://api.example.com/v1", "cloud"),
        ("http://127.0.0.1:8000/v1", "cloud"),
        ("http://localhost:11434/v1", "cloud"),
        ("http://[::1]:8000", "cloud"),
        ("http://10.0.0.5:8000/v1", "network"),
    ],
)
def test_safe_addresses_pass(url, zone):
    """https anywhere; http on this machine, or to one's own network."""
    assert http.checked_url(url, target="t", zone=zone) == url


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://api.example.com/v1", "plain http; use https"),
        ("http://127.0.0.1.example.com/v1", "plain http"),
        ("http://localhost.example.com/v1", "plain http"),
        ("ftp://api.example.com", "is not a URL"),
        ("api.example.com/v1", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("https://me:pass@api.example.com", "holds a password"),
    ],
)
def test_unsafe_addresses_are_configuration_errors(url, told):
    """The error names the target and says what to write; it does not repeat a password."""
    with pytest.raises(ConfigurationError, match=f"target 't': base_url.*{told}") as caught:
        http.checked_url(url, target="t", zone="cloud")
    assert "pass@" not in str(caught.value)
