"""Connections on asyncio: nothing lost, nothing endless, every failure by httpcore2's name."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import ipaddress
import socket
import ssl
from contextlib import suppress

import httpcore2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.targets import connection as module
from hybridinfer.targets.connection import Backend, Connection

pytestmark = pytest.mark.anyio


class _Server:
    """A server on this machine whose side of each connection is `talk`."""

    def __init__(self, talk, tls: ssl.SSLContext | None = None) -> None:
        self._talk = talk
        self._tls = tls
        self._talking: set[asyncio.Task] = set()

    async def __aenter__(self) -> Connection:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.connection = await Backend().connect_tcp("127.0.0.1", port, timeout=30)
        return self.connection

    async def __aexit__(self, *_: object) -> None:
        await self.connection.aclose()
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(*self._talking)
        await asyncio.sleep(0)  # the transports let go of their sockets

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._talking.add(asyncio.current_task())
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()


async def _all(connection: Connection) -> bytes:
    parts = []
    while piece := await connection.read(65536, timeout=30):
        parts.append(piece)
    return b"".join(parts)


async def test_what_was_said_comes_and_then_nothing():
    """The bytes in order, then the end, again and again."""

    async def talk(_, writer):
        writer.write(b"one two")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with _Server(talk) as connection:
        assert await connection.read(3, timeout=30) == b"one"
        assert await _all(connection) == b" two"
        assert await connection.read(9) == b""
        assert connection.get_extra_info("is_readable")


async def test_small_writes_travel_together_with_the_next_read():
    """A head and its body are one packet: nothing leaves before somebody waits for the answer."""
    heard: list[bytes] = []

    async def talk(reader, writer):
        heard.append(await reader.read(100))
        writer.write(b"ok")

    async with _Server(talk) as connection:
        await connection.write(b"head ")
        await connection.write(b"body")
        await asyncio.sleep(0)
        assert heard == []
        assert await connection.read(9, timeout=30) == b"ok"
    assert heard == [b"head body"]


async def test_much_is_sent_before_it_is_read():
    """A large body does not wait for a read, and arrives whole."""
    body = bytes(range(256)) * 8192

    async def talk(reader, writer):
        writer.write(b"got " + str((await reader.readexactly(len(body))) == body).encode())

    async with _Server(talk) as connection:
        await connection.write(body, timeout=30)
        assert await connection.read(99, timeout=30) == b"got True"


async def test_a_peer_that_takes_nothing_is_a_write_timeout():
    """Writing gives up; the memory that waits is bounded by one write."""
    stuck = asyncio.Event()

    async def talk(_, writer):
        writer.transport.pause_reading()
        await stuck.wait()

    async with _Server(talk) as connection:
        with pytest.raises(httpcore2.WriteTimeout):
            await connection.write(bytes(1 << 28), timeout=0.05)
        stuck.set()


async def test_silence_is_a_read_timeout_and_harms_nothing():
    """What comes later can still be read."""
    speak = asyncio.Event()

    async def talk(_, writer):
        await speak.wait()
        writer.write(b"late")

    async with _Server(talk) as connection:
        with pytest.raises(httpcore2.ReadTimeout):
            await connection.read(9, timeout=0.01)
        assert not connection.get_extra_info("is_readable")
        speak.set()
        assert await connection.read(9) == b"late"


async def test_a_cancelled_read_loses_no_byte():
    """Whoever reads next gets everything."""
    speak = asyncio.Event()

    async def talk(_, writer):
        await speak.wait()
        writer.write(b"all of it")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with _Server(talk) as connection:
        reading = asyncio.create_task(connection.read(9, timeout=30))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        speak.set()
        assert await _all(connection) == b"all of it"


async def test_a_broken_connection_is_a_read_error():
    """A reset is not an end."""

    async def talk(reader, writer):
        await reader.read(9)
        option = (socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.get_extra_info("socket").setsockopt(*option)
        writer.transport.abort()

    async with _Server(talk) as connection:
        await connection.write(b"hello")
        with pytest.raises(httpcore2.ReadError) as caught:
            await connection.read(9, timeout=30)
        assert isinstance(caught.value.__cause__, OSError)
        await connection.write(bytes(1 << 20), timeout=30)  # the next read tells again
        with pytest.raises(httpcore2.ReadError):
            await connection.read(9)


class _Transport(asyncio.Transport):
    """Notes whether reading is on."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.aborted = False

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True


@given(
    st.lists(st.one_of(st.binary(min_size=25, max_size=40), st.integers(1, 50)), max_size=40),
    st.sampled_from([None, OSError("reset")]),
)
async def test_any_splits_give_the_same_bytes(steps, end):
    """However pieces come and are read: same bytes in order, at most a piece beyond the bound, then end or error."""
    connection, transport = Connection(), _Transport()
    connection.connection_made(transport)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MOST_UNREAD", 60)
        said, got, there = b"", b"", 0
        for step in steps:
            if isinstance(step, bytes):
                if transport.reading:
                    connection.data_received(step)
                    said, there = said + step, there + len(step)
            elif there:
                piece = await connection.read(step)
                got, there = got + piece, there - len(piece)
            assert transport.reading == (there <= 60) or (not transport.reading and there == 60)
        connection.connection_lost(end)
        while there:
            piece = await connection.read(7)
            got, there = got + piece, there - len(piece)
        assert got == said
        if end is None:
            assert await connection.read(7) == b""
        else:
            with pytest.raises(httpcore2.ReadError):
                await connection.read(7)


async def test_the_end_wakes_who_waits_to_write():
    """A writer held up by a peer that goes away is let go."""
    connection, transport = Connection(), _Transport()
    transport.write = lambda _: connection.pause_writing()
    connection.connection_made(transport)
    writing = asyncio.create_task(connection.write(bytes(1 << 17)))
    await asyncio.sleep(0)
    assert not writing.done()
    connection.connection_lost(None)
    await writing


async def test_nobody_there_is_a_connect_error():
    """A refused connection and a name without an address keep their cause."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(httpcore2.ConnectError) as caught:
            await Backend().connect_tcp("127.0.0.1", free.getsockname()[1])
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_no_connection_in_time_is_a_connect_timeout(monkeypatch):
    """A host that drops packets does not hold anybody up for minutes."""

    async def never(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr(module, "start_connection", never)
    with pytest.raises(httpcore2.ConnectTimeout):
        await Backend().connect_tcp("192.0.2.1", 443, timeout=0.01)


async def test_options_and_addresses_reach_the_socket():
    """What httpcore2 passes on is set, and what it asks for is told."""
    option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connection = await Backend().connect_tcp("localhost", port, local_address="127.0.0.1", socket_options=[option])
        assert connection.get_extra_info("server_addr")[1] == port
        assert connection.get_extra_info("client_addr")[0] == "127.0.0.1"
        assert connection.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connection.get_extra_info("ssl_object") is None
        await connection.aclose()
        assert connection.get_extra_info("is_readable")


async def test_a_cancelled_connection_leaves_no_socket():
    """At whatever turn of the loop the caller goes away; a socket that is lost is a ResourceWarning."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        for turns in range(40):
            connecting = asyncio.create_task(Backend().connect_tcp("localhost", server.getsockname()[1]))
            for _ in range(turns):
                await asyncio.sleep(0)
            connecting.cancel()
            with suppress(asyncio.CancelledError):
                await (await connecting).aclose()
        gc.collect()


def test_it_runs_on_uvloop():
    """Its loop has other methods, and other errors."""
    uvloop = pytest.importorskip("uvloop")

    async def talk(_, writer):
        writer.write(b"hi")

    async def ask() -> bytes:
        async with _Server(talk) as connection:
            return await connection.read(9, timeout=30)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(ask()) == b"hi"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(the server's side, a client that trusts it)."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    alternatives = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    paper = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(secret + paper.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cafile=pem)
    return server, client


async def _echo(reader, writer):
    while said := await reader.read(65536):
        writer.write(said)
        await writer.drain()


async def test_tls_carries_both_ways(certificate):
    """Encrypted, with the certificate checked, in any size."""
    server, client = certificate
    body = bytes(range(256)) * 1024
    async with _Server(_echo, server) as connection:
        assert await connection.start_tls(client, server_hostname="127.0.0.1", timeout=30) is connection
        assert connection.get_extra_info("ssl_object").version() == "TLSv1.3"
        await connection.write(body, timeout=30)
        got = b""
        while len(got) < len(body):
            got += await connection.read(65536, timeout=30)
        assert got == body


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # asyncio's server side of a failed handshake
async def test_a_certificate_that_nobody_vouches_for_is_a_connect_error(certificate):
    """The cause tells that it was TLS."""
    server, _ = certificate
    async with _Server(_echo, server) as connection:
        with pytest.raises(httpcore2.ConnectError) as caught:
            await connection.start_tls(ssl.create_default_context(), server_hostname="127.0.0.1", timeout=30)
        assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_a_handshake_without_an_answer_is_a_connect_timeout(certificate):
    """A server that accepts and says nothing does not hold anybody up."""
    quiet = asyncio.Event()

    async def talk(*_):
        await quiet.wait()

    async with _Server(talk) as connection:
        with pytest.raises(httpcore2.ConnectTimeout):
            await connection.start_tls(certificate[1], server_hostname="127.0.0.1", timeout=0.05)
        quiet.set()


async def test_a_server_that_leaves_within_the_handshake_is_a_connect_error(certificate):
    """It was never a connection."""

    async def talk(reader, _):
        await reader.read(1)

    async with _Server(talk) as connection:
        with pytest.raises(httpcore2.ConnectError):
            await connection.start_tls(certificate[1], server_hostname="127.0.0.1", timeout=30)


async def test_a_connection_that_ends_within_the_handshake_is_a_connect_error(monkeypatch, certificate):
    """asyncio may answer with no transport at all."""

    async def nothing(*_, **__):
        return None

    async with _Server(_echo) as connection:
        monkeypatch.setattr(asyncio.get_running_loop(), "start_tls", nothing)
        with pytest.raises(httpcore2.ConnectError, match="handshake"):
            await connection.start_tls(certificate[1])


async def test_a_cancelled_handshake_leaves_no_connection(certificate):
    """The socket is closed with the task."""
    quiet = asyncio.Event()

    async def talk(*_):
        await quiet.wait()

    async with _Server(talk) as connection:
        shaking = asyncio.create_task(connection.start_tls(certificate[1], server_hostname="127.0.0.1"))
        await asyncio.sleep(0)
        shaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shaking
        quiet.set()
        assert connection.get_extra_info("is_readable")
