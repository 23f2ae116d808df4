"""Keys of vendors, by format (gitleaks' rule data, see `vendors.toml`), and beside a vendor's name in an assignment."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from ..finding import Finding
from .hints import Gate
from .text import entropy, is_placeholder
from .view import View

_ASSIGN = r"[ \t\w.-]{0,20}[\s'\"`\]]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,|\bis\b)[\x60'\"\s=]{0,5}"
_END = r"(?![A-Za-z0-9_-])"
_EXTRA = (
    ("square oauth", ("sq0csp-",), r"\bsq0csp-[\w-]{40,60}", 3.0),
    ("groq", ("gsk_",), r"\bgsk_[A-Za-z0-9]{40,60}", 3.5),
    ("openrouter", ("sk-or-",), r"\bsk-or-(?:v\d-)?[a-f0-9]{32,80}", 3.0),
    ("sk-style key", ("sk-", "sk_"), r"\bsk[-_][A-Za-z0-9_-]{20,}+", 3.5),
    ("replicate", ("r8_",), r"\br8_[A-Za-z0-9]{37}", 3.0),
    ("google oauth", ("gocspx-",), r"\bGOCSPX-[A-Za-z0-9_-]{28}", 3.0),
    ("google refresh token", ("ya29.", "1//0"), r"\b(?:ya29\.[A-Za-z0-9_-]{20,400}|1//0[A-Za-z0-9_-]{30,150})", 3.5),
    ("azure storage key", ("accountkey=",), r"(?i:AccountKey)=([A-Za-z0-9+/]{86}==)", 4.0),
    ("azure sas", ("sig=",), r"[?&]sig=([A-Za-z0-9%+/=]{40,90})", 3.5),
    ("discord bot token", (".",), r"\b[MNO][A-Za-z0-9]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}", 4.0),
    ("telegram bot token", (":aa",), r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", 3.5),
    (
        "discord webhook",
        ("discord.com/api/webhooks", "discordapp.com/api/webhooks"),
        r"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_-]{60,80}",
        3.0,
    ),
    ("twilio account", ("ac",), r"\bAC[0-9a-f]{32}", 3.0),
    ("supabase", ("sbp_",), r"\bsbp_[a-f0-9]{40}", 3.0),
    ("mailgun", ("key-",), r"\bkey-[a-f0-9]{32}", 3.0),
    ("docker", ("dckr_pat_",), r"\bdckr_pat_[A-Za-z0-9_-]{27}", 3.0),
    ("nvidia", ("nvapi-",), r"\bnvapi-[A-Za-z0-9_-]{60,70}", 3.5),
    ("xai", ("xai-",), r"\bxai-[A-Za-z0-9]{60,90}", 3.5),
    ("tavily", ("tvly-",), r"\btvly-(?:dev-)?[A-Za-z0-9]{28,40}", 3.0),
    ("cerebras", ("csk-",), r"\bcsk-[a-z0-9]{40,60}", 3.0),
    ("supabase secret", ("sb_secret_",), r"\bsb_secret_[A-Za-z0-9_-]{20,60}", 3.5),
    ("resend", ("re_",), r"\bre_[A-Za-z0-9]{8}_[A-Za-z0-9]{20,40}", 3.5),
    ("google api key", ("aq.",), r"\bAQ\.[A-Za-z0-9_-]{40,80}", 3.5),
    ("jina", ("jina_",), r"\bjina_[A-Za-z0-9_-]{40,70}", 3.5),
    ("together", ("tgp_v1_",), r"\btgp_v1_[A-Za-z0-9_-]{30,60}", 3.5),
    ("firecrawl", ("fc-",), r"\bfc-[a-f0-9]{32}", 3.0),
    ("fireworks", ("fw_",), r"\bfw_[A-Za-z0-9]{20,40}", 3.5),
    ("e2b", ("e2b_",), r"\be2b_[a-f0-9]{40}", 3.0),
    ("voyage", ("pa-",), r"\bpa-[A-Za-z0-9_-]{43}", 4.0),
    ("apify", ("apify_api_",), r"\bapify_api_[A-Za-z0-9]{30,50}", 3.5),
    ("render", ("rnd_",), r"\brnd_[A-Za-z0-9]{26,40}", 3.5),
    ("fly machines", ("fm1_", "fm2_", "fm1r_", "fm2r_"), r"\bfm[12]r?_[A-Za-z0-9+/=]{40,4000}", 3.5),
    ("neon", ("napi_",), r"\bnapi_[a-z0-9]{40,80}", 3.0),
    ("posthog", ("phx_",), r"\bphx_[A-Za-z0-9]{40,60}", 3.5),
    ("context7", ("ctx7sk-",), r"\bctx7sk-[a-f0-9-]{30,50}", 3.0),
    ("tailscale", ("tskey-",), r"\btskey-[a-z]{2,8}-[A-Za-z0-9]{8,24}-[A-Za-z0-9]{16,40}", 3.0),
)
"""Formats that the rule data lacks, from the vendors' own documentation: name, keywords, pattern, least entropy."""


class Format(NamedTuple):
    """One vendor's key."""

    name: str
    keywords: tuple[str, ...]
    pattern: str
    entropy: float


def detect(view: View) -> Iterator[Finding]:
    """Keys that a vendor's format or name gives away."""
    if not view.token_spans:
        return
    gate, formats, labelled = _rules()
    for word in sorted(gate.present(view.tokens)):
        for rule in formats.get(word, ()):
            for match in _near(view, word, rule.pattern):
                yield from _judge(match, rule.name, rule.entropy)
        if word in labelled:
            for match in _near(view, word, f"(?i){re.escape(word)}{_ASSIGN}({labelled[word]})"):
                if any(map(str.isdecimal, match[1])):
                    yield from _judge(match, word, 2.5)


def _near(view: View, keyword: str, pattern: str) -> Iterator[re.Match[str]]:
    """The matches of `pattern` around the places of `keyword`."""
    for start, end in view.token_windows:
        if view.lower.find(keyword, start, end) >= 0:
            yield from _compiled(pattern).finditer(view.text, start, end)


def _judge(match: re.Match[str], name: str, least: float) -> Iterator[Finding]:
    group = next((number for number in range(1, (match.re.groups or 0) + 1) if match[number] is not None), 0)
    value = match[group]
    wordy = match.re.flags & re.IGNORECASE and not any(map(str.isdecimal, value))
    if not wordy and entropy(value) >= least and not is_placeholder(value):
        yield Finding(
            type="credential",
            start=match.start(group),
            end=match.end(group),
            detector="credentials",
            validator=f"format {name}",
            confidence=0.95,
        )


@cache
def _rules() -> tuple[Gate, dict[str, list[Format]], dict[str, str]]:
    """The gate of all words; the formats of each keyword; the value beside each vendor's name."""
    data = tomllib.loads(files(__name__.rpartition(".")[0]).joinpath("vendors.toml").read_text("utf-8"))
    formats = [
        Format(rule["name"], tuple(rule["keywords"]), rule["pattern"], rule.get("entropy", 2.0))
        for rule in data["format"]
    ]
    formats += (Format(*extra) for extra in _EXTRA)
    by_keyword: dict[str, list[Format]] = {}
    for rule in formats:
        for keyword in rule.keywords:
            by_keyword.setdefault(keyword, []).append(rule)
    gate = Gate()
    gate.add(*by_keyword, *data["labelled"])
    return gate, by_keyword, data["labelled"]


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(f"(?i)(?:{pattern[4:]}){_END}" if pattern.startswith("(?i)") else f"(?:{pattern}){_END}")
