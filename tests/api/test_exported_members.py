"""The public names are a list; changing it is a decision."""

from __future__ import annotations

import subprocess
import sys

import hybridinfer

EXPORTED = """
    APITimeoutError AllTargetsFailed AsyncRouter AsyncStream Attempt AuthenticationError BadRequestError BudgetExceeded
    Code ConfigurationError ContentRefused Decision End File Health Hook HybridinferError Image Message ModelCorrupt
    ModelError ModelNotFound Opaque Policy PolicyError PrivacyViolation Problem RateLimitError Reason Receipt Removal
    Request RequestError Reset Response ResponseFormat Router Start Stream StreamEvent StreamInterrupted Text TextDelta
    TokenLogprob Tool ToolCall ToolCallDelta ToolChoice ToolResult Usage __version__ load_policy
""".split()  # noqa: SIM905 - a list that is read, not a column of quotes


def test_the_exported_names_are_these():
    """`hybridinfer.__all__` is the committed list, sorted."""
    assert hybridinfer.__all__ == EXPORTED
    assert sorted(EXPORTED) == EXPORTED


def test_every_exported_name_can_be_had():
    """Each lazy name resolves, in an interpreter that has loaded nothing else."""
    program = "import hybridinfer as h; print([n for n in h.__all__ if getattr(h, n, None) is None])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_dir_shows_what_is_exported():
    """`dir()` lists the public names without loading them."""
    assert dir(hybridinfer) == EXPORTED


def test_an_unknown_name_is_an_attribute_error():
    """A typing mistake fails as it does in any module."""
    program = "import hybridinfer\ntry: hybridinfer.Ruoter\nexcept AttributeError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "'Ruoter'" in done.stdout
