"""The command `hybridinfer`: one file per command, each imported only when it is called.

Data goes to stdout, talk to stderr. Exit codes: 0 it worked, 1 it failed or found something,
2 the command line is wrong, 130 Ctrl-C, 141 the reader of a pipe went away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..errors import HybridinferError
from . import quick

if TYPE_CHECKING:
    from cyclopts import App

COMMANDS = {
    "ask": "Answer one prompt and say who answered.",
    "explain": "Show what would happen to a prompt, and why. Nothing is called.",
    "policy": "Check, test, compare and simulate policies.",
    "drill": "Rehearse outages against a policy, and see every fallback happen.",
    "models": "List, fetch, verify and remove local models.",
    "privacy": "Show what a text holds that is private.",
    "usage": "Show what was spent, and what that saved.",
    "calibrate": "Choose the levels by recorded traffic, for a share, a cost or a quality.",
    "learn": "Refit the complexity score to the feedback on your own traffic.",
    "health": "Show how each target has done lately, and whether it could be called now.",
    "doctor": "Look at this machine's set-up and say what to change.",
    "demo": "See it work: about twenty prompts, then a staged outage.",
}
"""Every command with its line in the list. Each lives in the module of its name, as a function or an `app`."""
_GROUPS = frozenset({"drill", "policy", "models", "privacy", "usage"})


def build(*, lines: bool = False) -> App:
    """The command line as a cyclopts app. No command's module is imported yet.

    `lines`: describe the commands by the lines above, for a list of them all; otherwise each describes itself.
    """
    from cyclopts import App, Parameter

    app = App(
        name="hybridinfer",
        default_parameter=Parameter(show_default=_worth_telling),
        help="Decide, for every LLM request, whether a small model on this machine or a cloud answers it.",
        help_epilogue="HYBRIDINFER_POLICY names the policy, HYBRIDINFER_OFFLINE=1 forbids every download, "
        "HYBRIDINFER_DEBUG=1 shows tracebacks, NO_COLOR=1 removes colours.",
        version_format="plaintext",  # markdown would cost it 0.1 s
        version=__version__,
        result_action="return_int_as_exit_code_else_zero",
        suppress_keyboard_interrupt=False,
    )
    for name, line in COMMANDS.items():
        attribute = "app" if name in _GROUPS else name
        app.command(f"{__name__}.{name}:{attribute}", name=name, help=line if lines else None)
    app.register_install_completion_command(help="Install completion for this shell.")
    return app


def _worth_telling(default: object) -> Any:
    """A default as the help shows it; None: it goes without saying, as that a switch is off."""
    return None if default is None or default is False or default == () else str(default)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (without the program's name; None: this process's) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = quick.run(arguments)
        if code is None:
            code = int(build(lines=not COMMANDS.keys() & set(arguments[:1]))(arguments))
        sys.stdout.flush()  # a broken pipe shows here, not after the interpreter has gone
    except HybridinferError as error:
        if os.environ.get("HYBRIDINFER_DEBUG"):
            raise
        print(f"hybridinfer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nhybridinfer: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Python flushes stdout once more at exit; there it must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code
