"""What `hybridinfer health --probe` sends and prints, given the ledger of other requests."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from hybridinfer.cli import main
from hybridinfer.drill.emulator import Emulator


def probe(clouds: Sequence[str], ledger: Path) -> tuple[list[str], str]:
    """The requests that an emulator got in place of `clouds`, and all that was printed, as text and as JSON."""
    with tempfile.TemporaryDirectory() as folder, Emulator() as emulator, patch.dict(os.environ, LEAK_KEY="none"):
        cloud = {
            "kind": "openai",
            "model": "m",
            "base_url": emulator.base_url_openai,
            "api_key": "${env:LEAK_KEY}",
            "price": {"input": 1, "output": 1},
        }
        policy = {
            "version": 1,
            "targets": dict.fromkeys(clouds, cloud),
            "budgets": [{"name": "day", "usd": 100, "per": "day"}],
            "rules": [{"name": "all", "use": list(clouds)}],
        }
        file = Path(folder) / "hybridinfer.yaml"
        file.write_text(json.dumps(policy))
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            for form in ([], ["--json"]):
                main(["health", "--probe", "--policy", str(file), "--ledger", str(ledger), *form])
        return [f"{seen.headers} {seen.body}" for seen in emulator.requests], printed.getvalue()
