"""Upper bounds for pictures and files, by the vendors' published formulas; ceilings where the size is unknown.

The pages are named from memory, as of 2026: no package that can be installed (the vendors' SDKs, genai-prices) states
these figures. So unknown models take the dearest formula, and a bill above its bound is booked in full all the same.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
from collections.abc import Mapping
from typing import Any

from ..types import File, Image
from .text import measure

CLAUDE_IMAGE = 4_784
"""Anthropic, "Vision": width * height / 750, after scaling to at most 2576 pixels on the long edge and this
many tokens (models before Opus 4.7: 1568 pixels and about 1,600)."""
PATCHES = 2_500
"""OpenAI, "Images and vision": 32-pixel patches, at most 1,536 (mini and nano), 2,500 (newer, detail high)
or 10,000 (newer, detail original)."""
PATCHES_ORIGINAL = 10_000
PATCH_FACTOR = 2.46
"""The highest published multiplier per patch (nano); 1.62 and 1.72 for the minis, 1 for the newest."""
FILE_TOKENS = 200_000
"""A file we cannot see (a URL, a vendor's file id): a whole context window."""
PAGE_TOKENS = 3_000
"""Anthropic, "PDF support": a page is 1,500 to 3,000 tokens of text, and a picture besides."""

_TILED = re.compile(
    r"gpt-4o|gpt-4\.1(?!-(?:mini|nano))|gpt-4\.5|gpt-4-|gpt-5(?![.\d])(?!-(?:mini|nano))|o1|o3(?!-mini)"
)
_MINI_TILE = re.compile(r"gpt-4o-mini")
_HEADER = 65_536
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def image_tokens(image: Image, model: str = "") -> int:
    """Prompt tokens of `image` for `model`, at most. An unknown size counts as the largest picture."""
    size, name = image_size(image), model.lower().rsplit("/", 1)[-1]
    if "claude" in name:
        return CLAUDE_IMAGE if size is None else min(math.ceil(size[0] * size[1] / 750) + 1, CLAUDE_IMAGE)
    if _TILED.match(name):
        # 85 and 170 per 512-pixel tile; scaled into 2048 x 2048, then to 768 on the short side: 8 tiles at most.
        tiles = 0 if image.detail == "low" else 8 if size is None else _tiles(*size)
        return 2_833 + 5_667 * tiles if _MINI_TILE.match(name) else 85 + 170 * tiles
    ceiling = PATCHES_ORIGINAL if image.detail == "original" else PATCHES
    patches = ceiling if size is None else min(math.ceil(size[0] / 32) * math.ceil(size[1] / 32), ceiling)
    return math.ceil(patches * PATCH_FACTOR)


def file_tokens(file: File, model: str = "") -> int:
    """Prompt tokens of `file` for `model`, at most.

    Text is counted. A PDF counts as its pages, each as text and as a picture. Anything else, and a PDF
    whose pages cannot be counted, has at most one token per byte.
    """
    if file.data is None:
        return FILE_TOKENS
    raw = _decoded(file.data)
    if raw is None:
        return len(file.data)
    if (file.media_type or "").startswith(("text/", "application/json")):
        return measure(raw.decode("utf-8", "replace"), model).tokens
    pages = len(_PAGE.findall(raw)) if raw.startswith(b"%PDF-") else 0
    return pages * (PAGE_TOKENS + image_tokens(Image(), model)) or len(raw)


def unseen_tokens(block: Any, model: str = "") -> int:
    """Prompt tokens, at most, of the pictures and files that a vendor's own block names or carries, at any depth.

    They come beside its JSON. What is known of a block is that it fits the vendor's types, so a document whose source is
    none of those that can be read here is a file that we cannot see.
    """
    match block:
        case {"type": "image"}:
            return image_tokens(Image(), model)
        case {"type": "document", "source": {"type": "text" | "content" | "base64"} as source}:
            return unseen_tokens(source, model)
        case {"type": "document" | "container_upload" | "file" | "url"} | {"audio": {"id": _}}:
            return FILE_TOKENS
        case {"type": "base64", "data": str(data)}:
            kind = block.get("media_type")
            return file_tokens(File(data=data, media_type=kind if isinstance(kind, str) else None), model)
        case Mapping():
            return sum(unseen_tokens(inner, model) for inner in block.values())
        case list() | tuple():
            return sum(unseen_tokens(inner, model) for inner in block)
        case _:
            return 0


def image_size(image: Image) -> tuple[int, int] | None:
    """Width and height in pixels from the header of PNG, GIF, JPEG or WebP data; None where it cannot be seen."""
    data = image.data
    if data is None and image.url is not None and image.url.startswith("data:"):
        data = image.url.partition(",")[2]
    raw = _decoded((data or "")[: _HEADER * 4])
    if not raw:
        return None
    if raw.startswith(b"\x89PNG\r\n\x1a\n") and len(raw) >= 24:
        return _pair(">II", raw, 16)
    if raw.startswith((b"GIF87a", b"GIF89a")) and len(raw) >= 10:
        return _pair("<HH", raw, 6)
    if raw.startswith(b"RIFF") and raw[8:12] == b"WEBP" and len(raw) >= 30:
        return _webp(raw)
    return _jpeg(raw) if raw.startswith(b"\xff\xd8") else None


def _pair(layout: str, raw: bytes, offset: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, raw, offset)
    return first, second


def _webp(raw: bytes) -> tuple[int, int] | None:
    """Source: RFC 9649, sections 2.5 to 2.7."""
    match raw[12:16]:
        case b"VP8X":
            return int.from_bytes(raw[24:27], "little") + 1, int.from_bytes(raw[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(raw[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = _pair("<HH", raw, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return None


def _jpeg(raw: bytes) -> tuple[int, int] | None:
    """Walk the segments to the frame header (SOF). Source: ITU T.81, annex B."""
    at = 2
    while at + 9 <= len(raw) and raw[at] == 0xFF:
        marker = raw[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = _pair(">HH", raw, at + 5)
            return width, height
        at += 1 if marker == 0xFF else 2 + int.from_bytes(raw[at + 2 : at + 4], "big")
    return None


def _tiles(width: int, height: int) -> int:
    scale = min(1.0, 2048 / max(width, height, 1))
    scale *= min(1.0, 768 / max(1.0, min(width, height) * scale))
    return max(1, math.ceil(width * scale / 512)) * max(1, math.ceil(height * scale / 512))


def _decoded(data: str) -> bytes | None:
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        return None
