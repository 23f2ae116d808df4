"""`hybridinfer privacy scan`: what a text holds, as places and types; never the text itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ..privacy.detectors import COMPANION, scan

app = App(name="privacy", help="Show what a text holds that is private.")


@app.command(name="scan")
def scan_file(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show what the detectors find, as places and types, never the text itself.

    Exit code 0: nothing was found. 1: something was. 2: the file cannot be read, or the command line is wrong.

    Args:
        file: The text (UTF-8), or "-" for stdin.
        as_json: Print [{type, start, end, detector, validator, confidence}], in characters from the beginning.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror
        print(f"hybridinfer: cannot read {file}: {reason}", file=sys.stderr)
        return 2
    findings = scan(text)
    if as_json:
        keys = ("type", "start", "end", "detector", "validator", "confidence")
        print(json.dumps([{key: getattr(finding, key) for key in keys} for finding in findings], indent=1))
    else:
        for finding in findings:
            line = text.count("\n", 0, finding.start) + 1
            column = finding.start - text.rfind("\n", 0, finding.start)
            print(
                f"{line}:{column}: {finding.type} [{finding.start}:{finding.end}] {finding.detector}, {finding.validator}"
            )
    return int(any(finding.type not in COMPANION for finding in findings))
