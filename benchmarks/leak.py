"""Leak bench: canary values in every field of a request, recording sinks behind the lock, and what got through.

    python benchmarks/leak.py

Prints one line per boundary with the canary bytes that reached a sink; exit code 1 when there is any. `Sink` stands in
for a cloud; `CANARIES`, `requests` and `traces` are for every other path that has to be proved (see `tests/`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote

from hybridinfer.policy.model import Policy
from hybridinfer.privacy.egress import Clearance, Guarded
from hybridinfer.signals.base import Standing
from hybridinfer.signals.privacy import PrivacySignal
from hybridinfer.targets.base import Finish, TargetEvent, TargetFailed, TargetInfo
from hybridinfer.types import (
    File,
    Image,
    Message,
    Opaque,
    Request,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    ToolResult,
)

CANARIES: Mapping[str, str] = {
    "national_id": "219-09-9999",
    "payment_card": "4111 1111 1111 1111",
    "email": "canary.bird@corp-mail.io",
    "phone": "+41 44 668 18 00",
    "iban": "DE89 3704 0044 0532 0130 00",
    "password": "the password is Canary4Bird",
    "credential": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "connection_string": "postgres://app:Canary4Bird@db.corp.io/x",
    "address": "221B Baker Street",
}
"""One value of every kind that matters; all are made up."""


def requests(canary: str) -> Iterator[tuple[str, Request]]:
    """The same small request with `canary` in one place after the other, and the name of the place."""
    plain = Request(messages=(Message(role="user", parts=(Text(text="Tell me a story."),)),))

    def with_message(*parts: object, role: str = "user") -> Request:
        extra = Message(role=role, parts=parts)  # type: ignore[arg-type]
        return replace(plain, messages=(extra, *plain.messages))

    yield "system", with_message(Text(text=canary), role="system")
    yield "user text", with_message(Text(text=canary))
    yield "two parts", with_message(Text(text=canary[:7]), Text(text=canary[7:]))
    yield "assistant", with_message(Text(text=canary), role="assistant")
    call = ToolCall(id="1", name="f", arguments=json.dumps({"note": canary}))
    yield "tool arguments", with_message(call, role="assistant")
    yield (
        "tool arguments, escaped",
        with_message(
            replace(call, arguments='{"note": "' + "".join(f"\\u{ord(char):04x}" for char in canary) + '"}'),
            role="assistant",
        ),
    )
    yield "tool arguments, no json", with_message(replace(call, arguments=canary), role="assistant")
    yield "tool result", with_message(ToolResult(call_id="1", content=(Text(text=canary),)), role="tool")
    yield "foreign block", with_message(Opaque(dialect="anthropic", data={"type": "thinking", "thinking": canary}))
    yield "file name", with_message(File(name=f"{canary}.pdf", data="AAAA"))
    yield "image address", with_message(Image(url=f"https://corp.io/?q={quote(canary)}"))
    yield "base64", with_message(Text(text=base64.b64encode(f"note: {canary}".encode()).decode()))
    yield "percent-encoded", with_message(Text(text="".join(f"%{byte:02X}" for byte in canary.encode())))
    yield "full width", with_message(Text(text="".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in canary)))
    yield "zero width", with_message(Text(text="\u200b".join(canary)))
    yield "tool definition", replace(plain, tools=(Tool(name="f", description=canary, parameters={}),))
    yield "tool schema", replace(plain, tools=(Tool(name="f", parameters={"description": canary}),))
    yield "metadata", replace(plain, metadata={"note": canary})
    yield "metadata key", replace(plain, metadata={canary: "note"})
    yield "user", replace(plain, user=canary)
    yield "headers", replace(plain, extra_headers={"X-Note": canary})
    yield "stop", replace(plain, stop=(canary,))


def traces(canary: str, seen: str) -> list[str]:
    """The forms of `canary` that `seen` holds: as it is, without signs, escaped, percent-encoded, in base64."""
    squeezed = "".join(filter(str.isalnum, canary))
    secret = canary.rpartition(" ")[2] if canary.startswith("the password") else canary
    forms = {
        "as it is": secret,
        "escaped": "".join(f"\\u{ord(char):04x}" for char in secret),
        "percent-encoded": "".join(f"%{byte:02X}" for byte in secret.encode()),
        "base64": base64.b64encode(f"note: {canary}".encode()).decode(),
        "full width": "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in secret),
    }
    found = [name for name, form in forms.items() if form in seen]
    if squeezed.isdecimal() and squeezed in "".join(filter(str.isalnum, seen)):
        found.append("without signs")
    return found


class Sink:
    """A cloud that writes down every byte it is given, and echoes it."""

    def __init__(self, name: str = "cloud") -> None:
        self.info = TargetInfo(name=name, kind="openai", zone="cloud")
        self.seen: list[str] = []

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Record `request`, give its last text back."""
        self.seen.append(f"{request} {stream}")
        yield TextDelta(text=request.messages[0].text)
        yield Finish(finish_reason="stop")

    def count_tokens(self, request: Request) -> int:
        """None are used."""
        return len(request.messages)

    async def warmup(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""


def policy(cloud: str) -> Policy:
    """One cloud behind a boundary for all that is not public."""
    return Policy.model_validate(
        {
            "version": 1,
            "targets": {"cloud": {"kind": "openai", "model": "m"}, "sorry": {"kind": "canned", "text": "no"}},
            "boundaries": [{"name": "private", "when": {"privacy": ["personal", "secret"]}, "cloud": cloud}],
            "rules": [{"name": "all", "use": ["cloud", "sorry"]}],
        }
    )


async def leaks(cloud: str) -> tuple[int, int, list[str]]:
    """How many requests were tried and how many left for the cloud; and every trace of a canary at the sink."""
    rules = policy(cloud)
    signal = PrivacySignal(rules.signals["privacy"])
    tried = sent = 0
    found: list[str] = []
    for kind, canary in CANARIES.items():
        for place, request in requests(canary):
            sink = Sink()
            tried += 1
            levels = {"privacy": signal.score(request, Standing()).level}
            clearance = Clearance(request=request, levels=levels, tags={})
            try:
                async for _ in Guarded(sink, rules).stream(request, stream=True, clearance=clearance):
                    pass
            except TargetFailed:
                pass
            sent += bool(sink.seen)
            found += (f"{kind} in {place}: {trace}" for seen in sink.seen for trace in traces(canary, seen))
    return tried, sent, found


def main() -> int:
    """Print what leaked under each kind of boundary."""
    total = 0
    for cloud in ("never", "masked"):
        tried, sent, found = asyncio.run(leaks(cloud))
        total += len(found)
        print(f"cloud: {cloud:7} {tried} requests, {sent} left for the cloud, {len(found)} traces of a canary")
        for line in found:
            print(f"  {line}")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
