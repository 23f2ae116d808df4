"""A model's file from the Hugging Face hub, where huggingface_hub is installed and the hub can be reached."""

from __future__ import annotations

import os
import socket
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any

from .progress import Progress
from .source import SourceFailed

if TYPE_CHECKING:
    from pathlib import Path

    from .catalogue import HubSource
    from .progress import Report

_PROBE_SECONDS = 5.0


def from_hub(source: HubSource, work: Path, report: Report) -> Path:
    """Download into `work` with the user's own hub configuration (token, endpoint, proxy). Raises `SourceFailed`."""
    try:
        from huggingface_hub import constants, hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        raise SourceFailed("the hub needs the package huggingface_hub: pip install 'hybridinfer-sdk[hub]'") from None
    if not _reachable(constants.ENDPOINT):
        raise SourceFailed("the model hub cannot be reached")
    report(Progress(stage="fetch", done=0, total=0))
    try:
        file = hf_hub_download(source.repo, source.file, local_dir=work / "hub", tqdm_class=_bar(report))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise SourceFailed(f"the model hub failed ({type(error).__name__})") from error
    return work / "hub" / os.path.relpath(file, work / "hub")


def _reachable(endpoint: str) -> bool:
    """Whether it is worth asking: the hub's client retries for half a minute where there is no network."""
    address = urllib.parse.urlsplit(endpoint)
    if urllib.request.getproxies().get(address.scheme):
        return True  # the proxy knows; we do not
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=_PROBE_SECONDS):
            return True
    except OSError:
        return False


def _bar(report: Report) -> Any:
    """A progress bar class that draws nothing and tells `report`."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc, type-arg, unused-ignore]  # tqdm ships no types
        def __init__(self, *args: Any, **options: Any) -> None:
            self._seen, self._whole = int(options.get("initial") or 0), int(options.get("total") or 0)
            super().__init__(*args, **options | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            self._seen += int(n or 0)
            report(Progress(stage="fetch", done=self._seen, total=self._whole))

    return Bar
