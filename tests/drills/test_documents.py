"""The drill in the documentation is one."""

from __future__ import annotations

import re
from pathlib import Path

from hybridinfer.drill.run import run_drill

STAGING = Path(__file__).parents[2] / "docs" / "staging.md"


def test_the_documented_drill_passes(tmp_path):
    """As it stands in docs/staging.md."""
    [text] = re.findall(r"^```yaml\n(name: .*?)^```", STAGING.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    file = tmp_path / "friday-evening.yaml"
    file.write_text(text, encoding="utf-8")
    assert run_drill(file).passed
