"""Every mistake in a policy is found at load, at its place, with what to do about it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from hybridinfer.errors import PolicyError
from hybridinfer.policy import load as module
from hybridinfer.policy import names
from hybridinfer.policy.load import digest, load, load_with_source, loads, shipped, shipped_names
from hybridinfer.policy.model import Policy, Rung, TargetBlock

GOOD = """\
version: 1
targets:
  local: {kind: onnx, model: m}
  cloud: {kind: openai, model: m}
  sorry: {kind: canned, text: sorry}
boundaries:
  - {name: stay, when: {privacy: secret}, cloud: never}
rules:
  - {name: easy, when: {complexity: low}, use: [local, cloud, sorry]}
  - {name: rest, use: [cloud, local, sorry]}
"""


def errors(old: str = "", new: str = "") -> list[str]:
    """What the loader says of GOOD with one change."""
    assert old in GOOD
    with pytest.raises(PolicyError) as caught:
        loads(GOOD.replace(old, new, 1) if old else GOOD + new, "p")
    return [str(problem) for problem in caught.value.problems]


def place(text: str) -> str:
    """Where « stands in the text."""
    before = text[: text.index("«")]
    newline = "\n"
    return f"p:{before.count(newline) + 1}:{len(before) - before.rfind(newline)}"


def test_a_good_policy_loads():
    """What the file says is what the model holds."""
    policy = loads(GOOD)
    assert list(policy.targets) == ["local", "cloud", "sorry"]
    assert policy.rules[0].when.levels == {"complexity": ("low",)}
    assert list(policy.signals) == ["privacy", "complexity", "size", "budget"]


AT_TARGET = "{kind: openai, model: m}"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        # unknown keys, at every depth
        ("rules:", "«rulez:\n  - x\nrules:", "unknown key 'rulez'; did you mean 'rules'?"),
        (AT_TARGET, "{kind: openai, model: m, «modle: x}", "unknown key 'modle' in targets.cloud; did you mean 'model'?"),
        ("cloud: never", "cloud: never, «zone: x", "unknown key 'zone' in boundaries[0]; did you mean 'zones'?"),
        ("name: rest,", "name: rest, «uses: [x],", "unknown key 'uses' in rules[1]; did you mean 'use'?"),
        (AT_TARGET, "{kind: openai, model: m, price: {«inputs: 1}}", "unknown key 'inputs' in targets.cloud.price; did you mean 'input'?"),
        ("", "resilience:\n  retry: {«attempt: 3}\n", "unknown key 'attempt' in resilience.retry; did you mean 'attempts'?"),
        ("", "tests:\n  - {name: t, given: {«promt: x}, expect: {}}\n", "unknown key 'promt' in tests[0].given; did you mean 'prompt'?"),
        ("", "budgets:\n  - {«zzz: 1, name: b, usd: 1, per: day}\n", "unknown key 'zzz' in budgets[0]; there are name, usd, per, by, window, time_zone, pace, on_ledger_down"),
        (
            "targets:",
            "targets:\n  kind: {kind: canned, text: x, «version: 1}",
            "unknown key 'version' in targets.kind; did you mean 'region'?",
        ),
        # missing keys
        ("version: 1\n", "", "p:1:1: 'version' is missing; add 'version: ...'"),
        ("{kind: onnx, model: m}", "{model: m}", "p:3:3: 'kind' is missing in targets.local; add 'kind: ...'"),
        ("{name: rest, use", "«{use", "'name' is missing in rules[1]; add 'name: ...'"),
        # unknown words
        ("version: 1", "version: «2", "unknown version of the policy format; write 'version: 1'"),
        ("version: 1", "version: «'1'", "unknown version of the policy format; write 'version: 1'"),
        ("cloud: never", "cloud: «nevr", "boundaries[0].cloud: unknown value 'nevr'; did you mean 'never'?"),
        (AT_TARGET, "{kind: openai, model: m, zone: «local}", "targets.cloud.zone: unknown value 'local'; there are device, network, cloud"),
        ("", "resilience: {retry_on: [«timeouts]}\n", "resilience.retry_on[0]: unknown value 'timeouts'; did you mean 'timeout'?"),
        ("{complexity: low}", "{needs: «tool}", "rules[0].when.needs[0]: unknown value 'tool'; did you mean 'tools'?"),
        (AT_TARGET, "{kind: openai, model: m, zone: «[a]}", "targets.cloud.zone: unknown value of the wrong shape; there are device, network, cloud"),
        # shapes
        ("version: 1", "targetz", "p:2:8: not YAML: mapping values are not allowed in this context; check quotes, brackets and indentation"),
        (AT_TARGET, "«[x]", "targets.cloud: not a block; write 'key: value' pairs below it"),
        ("{privacy: secret}", "«secret", "boundaries[0].when: not a block; write 'key: value' pairs below it"),
        ("{privacy: secret}", "{privacy: «3}", "boundaries[0].when.privacy: not a list; write [a, b], or one entry per line with '- '"),
        ("{privacy: secret}", "{privacy: [«1]}", "boundaries[0].when.privacy[0]: not text; put it into quotes"),
        ("model: m", "model: «5", "targets.local.model: not text; put it into quotes"),
        ("text: sorry", "text: «true", "targets.sorry.text: not text; put it into quotes"),
        ("use: [local, cloud, sorry]", "use: «[]", "rules[0].use: empty; write at least one entry"),
        ("name: rest", "name: «''", "rules[1].name: empty; write a name"),
        ("name: rest", "name: «xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "rules[1].name: too long; write at most 100 characters"),
        # durations
        (AT_TARGET, "{kind: openai, model: m, timeout: «8}", "targets.cloud.timeout: not a duration; write it with its unit, such as 250ms, 8s or 5m"),
        (AT_TARGET, "{kind: openai, model: m, timeout: «8.0}", "targets.cloud.timeout: not a duration; write it with its unit, such as 250ms, 8s or 5m"),
        (AT_TARGET, "{kind: openai, model: m, timeout: «8 s}", "targets.cloud.timeout: not a duration; write it with its unit, such as 250ms, 8s or 5m"),
        (AT_TARGET, "{kind: openai, model: m, timeout: «0s}", "targets.cloud.timeout: a duration is more than zero and at most a year; write it such as 250ms, 8s or 5m"),
        (AT_TARGET, "{kind: openai, model: m, timeout: «99999h}", "targets.cloud.timeout: a duration is more than zero and at most a year; write it such as 250ms, 8s or 5m"),
        # numbers, which nothing converts
        (AT_TARGET, "{kind: openai, model: m, max_tokens: «'5'}", "targets.cloud.max_tokens: not a whole number; write digits without quotes"),
        (AT_TARGET, "{kind: openai, model: m, max_tokens: «true}", "targets.cloud.max_tokens: not a whole number; write digits without quotes"),
        (AT_TARGET, "{kind: openai, model: m, max_tokens: «5.0}", "targets.cloud.max_tokens: not a whole number; write digits without quotes"),
        (AT_TARGET, "{kind: openai, model: m, max_tokens: «0}", "targets.cloud.max_tokens: must be more than 0; change the number"),
        ("", "resilience: {retry: {attempts: «11}}\n", "resilience.retry.attempts: must be at most 10; change the number"),
        ("", "resilience: {retry: {attempts: «0}}\n", "resilience.retry.attempts: must be at least 1; change the number"),
        ("", "budgets: [{name: b, usd: «'5', per: day}]\n", "budgets[0].usd: not an amount of USD; write a number without quotes and without a currency sign, such as 0.02"),
        ("", "budgets: [{name: b, usd: «yes, per: day}]\n", "budgets[0].usd: not an amount of USD; write a number without quotes and without a currency sign, such as 0.02"),
        ("", "budgets: [{name: b, usd: «true, per: day}]\n", "budgets[0].usd: not an amount of USD; write a number without quotes and without a currency sign, such as 0.02"),
        ("", "budgets: [{name: b, usd: «0, per: day}]\n", "budgets[0].usd: must be more than 0; change the number"),
        ("", "signals: {privacy: {levels: {a: 0, b: «high}}}\n", "signals.privacy.levels.b: not a number; write it without quotes, such as 0.5"),
        ("", "signals: {privacy: {levels: «{a: 0.5}}}\n", "signals.privacy.levels: levels begin at 0 and rise; such as {low: 0.0, high: 0.6}"),
        ("", "signals: {privacy: {levels: «{a: 0, b: 0}}}\n", "signals.privacy.levels: levels begin at 0 and rise; such as {low: 0.0, high: 0.6}"),
        ("", "signals: {privacy: {levels: {a: 0, b: «1.5}}}\n", "signals.privacy.levels.b: must be at most 1; change the number"),
        ("", "signals: {privacy: {levels: «{}}}\n", "signals.privacy.levels: empty; write at least one entry"),
        # blocks that contradict themselves
        ("model: m}", "model: m, zone: «network}", "targets.local.zone: kind onnx answers inside this process; leave out 'zone'"),
        (AT_TARGET, "{kind: openai, model: m, zone: «device}", "targets.cloud.zone: kind openai does not answer inside this process; say 'zone: network' for a server of your own, or leave it out"),
        ("{kind: canned, text: sorry}", "«{kind: canned}", "targets.sorry: a canned target needs its 'text'; write the reply that users shall see"),
        (AT_TARGET, "«{kind: openai}", "targets.cloud: a target of kind openai needs its 'model'; add 'model: ...'"),
        (AT_TARGET, "{kind: openai, model: m, text: «x}", "targets.cloud.text: only canned targets have a 'text'; remove it, or say 'kind: canned'"),
        ("model: m}", "model: m, base_url: «'https://x.example'}", "targets.local.base_url: kind onnx answers inside this process; leave out 'base_url'"),
        (AT_TARGET, "{kind: openai, model: m, base_url: «'http://x.example/v1'}", "targets.cloud.base_url: base_url must be https; plain http is for this machine (127.0.0.1) and for your own servers ('zone: network')"),
        (AT_TARGET, "{kind: openai, model: m, base_url: «'http://127.0.0.1.evil.example'}", "targets.cloud.base_url: base_url must be https; plain http is for this machine (127.0.0.1) and for your own servers ('zone: network')"),
        (AT_TARGET, "{kind: openai, model: m, base_url: «'ftp://127.0.0.1'}", "targets.cloud.base_url: base_url must be https; plain http is for this machine (127.0.0.1) and for your own servers ('zone: network')"),
        (AT_TARGET, "{kind: openai, model: m, base_url: «nowhere}", "targets.cloud.base_url: not a URL; write it such as https://api.example.com/v1"),
        (AT_TARGET, "{kind: openai, model: m, base_url: «'https://[x'}", "targets.cloud.base_url: not a URL; write it such as https://api.example.com/v1"),
        ("cloud: never", "cloud: never, zones: device", "p:7:5: boundaries[0]: a boundary has exactly one of cloud, zones, regions and targets; split it into several"),
        (", cloud: never", "", "p:7:5: boundaries[0]: a boundary has exactly one of cloud, zones, regions and targets; split it into several"),
        (AT_TARGET, "{kind: openai, model: m, price: «{input: 1}}", "targets.cloud.price: a price names both 'input' and 'output'; add the other one, in USD per million tokens"),
        ("model: m}", "model: m, replicas: «[{api_key: '${env:K}'}]}", "targets.local.replicas: kind onnx answers inside this process; leave out 'replicas'"),
        ("", "budgets: [{name: b, usd: 1, per: day, time_zone: «Mars/Base}]\n", "budgets[0].time_zone: no such time zone; write its IANA name, such as Europe/Berlin"),
        ("", "budgets: [{name: b, usd: «10000000, per: day}]\n", "budgets[0].usd: a budget is at most 9 million USD; books are exact up to there"),
        ("", "budgets: [{name: b, usd: 1, per: request, pace: «even}]\n", "budgets[0].pace: only a calendar window has a pace; leave out 'pace'"),
        ("", "budgets: [{name: b, usd: 1, per: day, window: rolling, pace: «even}]\n", "budgets[0].pace: only a calendar window has a pace; leave out 'pace'"),
        # names
        ("[local, cloud, sorry]", "[«lokal, cloud, sorry]", "unknown target 'lokal'; did you mean 'local'?"),
        ("[cloud, local, sorry]", "[cloud, local, «zzz]", "unknown target 'zzz'; there are local, cloud, sorry"),
        ("[local, cloud, sorry]", "[local, cloud, «local]", "target 'local' stands twice in one rule; keep the first"),
        ("privacy: secret", "privacy: «secrt", "privacy has no level 'secrt'; did you mean 'secret'?"),
        ("privacy: secret", "privacy: [personal, «sercet]", "privacy has no level 'sercet'; did you mean 'secret'?"),
        ("privacy: secret", "«privcy: secret", "unknown signal 'privcy'; did you mean 'privacy'?"),
        ("complexity: low", "«tag: low", "unknown signal 'tag'; did you mean 'tags'?"),
        ("cloud: never", "targets: [local, «sory]", "unknown target 'sory'; did you mean 'sorry'?"),
        ("kind: onnx", "kind: «onxx", "unknown kind 'onxx'; did you mean 'onnx'?"),
        ("", "signals: {«privcy: {levels: {a: 0}}}\n", "unknown signal 'privcy'; did you mean 'privacy'?"),
        ("", "signals: {mood: {kind: «privat, levels: {a: 0}}}\n", "unknown signal 'privat'; did you mean 'privacy'?"),
        ("", "signals: {«tags: {kind: size, levels: {a: 0}}}\n", "a signal cannot be called 'tags'; 'when' uses this word; choose another"),
        ("name: rest", "name: «easy", "two rules are called 'easy'; give each a name of its own"),
        ("", "tests: [{name: t, given: {down: «clod}, expect: {}}]\n", "unknown target 'clod'; did you mean 'cloud'?"),
        ("", "tests: [{name: t, expect: {never: [«clod]}}]\n", "unknown target 'clod'; did you mean 'cloud'?"),
        ("", "tests: [{name: t, expect: {masked: «clod}}]\n", "unknown target 'clod'; did you mean 'cloud'?"),
        ("", "tests: [{name: t, expect: {answered_by: «clod}}]\n", "unknown target 'clod'; did you mean 'cloud'?"),
        ("", "tests: [{name: t, expect: {rule: «esy}}]\n", "unknown rule 'esy'; did you mean 'easy'?"),
        ("", "tests: [{name: t, given: {levels: {privacy: «secrt}}, expect: {}}]\n", "privacy has no level 'secrt'; did you mean 'secret'?"),
        ("", "tests: [{name: t, expect: {levels: {«privcy: secret}}}]\n", "unknown signal 'privcy'; did you mean 'privacy'?"),
    ],
)  # fmt: skip
def test_mistakes(old, new, error):
    """One mistake gives one line: file, line, column, what is wrong, what to do. « marks the place in the text."""
    text = GOOD.replace(old, new, 1) if old else GOOD + new
    if "«" in text:
        error = f"{place(text)}: {error}"
    assert errors(old, new.replace("«", "")) == [error]


def test_several_mistakes_are_reported_together_in_the_order_of_the_file():
    """Nobody has to fix a file one error at a time."""
    text = GOOD.replace("never", "nevr").replace("model: m", "modle: m", 1).replace("  sorry:", "  cloud: {}\n  sorry:")
    with pytest.raises(PolicyError) as caught:
        loads(text, "p")
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(3, 23), (5, 3), (8, 50)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (AT_TARGET, "{kind: openai, model: m, api_key: «sk-THE-SECRET-0123456789abcdef}"),
        (AT_TARGET, "{kind: openai, model: m, api_key: «'$OPENAI_API_KEY THE-SECRET'}"),
        (AT_TARGET, "{kind: openai, model: m, base_url: «'https://me:THE-SECRET@x.example'}"),
        (AT_TARGET, "{kind: openai, model: m, options: {api_key: «THE-SECRET}}"),
        (AT_TARGET, "{kind: openai, model: m, options: {headers: {Authorization: «Bearer THE-SECRET-1234}}}"),
        (AT_TARGET, "{kind: openai, model: m, options: {x: [«sk-THE-SECRET-0123456789abcdef]}}"),
        (AT_TARGET, "{kind: openai, model: m, base_url: «'https://x.example?k=sk-THE-SECRET-0123456789abcdef'}"),
        (AT_TARGET, "{kind: openai, model: «sk-THE-SECRET-0123456789abcdef}"),
        ("", "signals: {privacy: {levels: {a: 0}, options: {token: «THE-SECRET}}}\n"),
    ],
)
def test_a_secret_is_refused_and_never_shown(old, new):
    """A key that is written out is an error whose text does not repeat it."""
    found = [line for line in errors(old, new.replace("«", "")) if "secret is never written" in line]
    assert [line.split(": ")[0] for line in found] == [place(GOOD.replace(old, new, 1) if old else GOOD + new)]
    assert "THE-SECRET" not in "".join(errors(old, new.replace("«", "")))


def test_pydantic_itself_does_not_show_a_secret():
    """Building a model in Python with a literal key does not put it into the traceback either."""
    with pytest.raises(ValueError) as caught:
        Policy.model_validate({"version": 1, "targets": {"t": {"kind": "openai", "api_key": "THE-SECRET"}}})
    assert "THE-SECRET" not in str(caught.value)


def test_references_to_the_environment_are_kept():
    """`${env:NAME}` names where the key is found; in options it stays as it is written."""
    policy = loads(
        GOOD.replace(AT_TARGET, '{kind: openai, model: m, api_key: "${env:K}", options: {token: "${env:T}"}}')
    )
    assert policy.targets["cloud"].api_key == "K"
    assert policy.targets["cloud"].options == {"token": "${env:T}"}


def test_a_key_in_a_tests_prompt_is_no_secret_of_the_policy():
    """Tests need leaked keys as examples."""
    loads(GOOD + "tests: [{name: t, given: {prompt: sk-0123456789abcdef0123}, expect: {}}]\n")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/v1", "http://localhost/v1", "http://[::1]:1/v1", "https://x.example"]
)
def test_loopback_needs_no_https(url):
    """Plain http is allowed where no network is crossed."""
    policy = loads(GOOD.replace(AT_TARGET, f"{{kind: openai, model: m, base_url: '{url}'}}"))
    assert url in {target.base_url for target in policy.targets.values()}


def test_own_servers_need_no_https():
    """Plain http is allowed to a server that the policy calls its own."""
    policy = loads(GOOD.replace(AT_TARGET, "{kind: openai, model: m, zone: network, base_url: 'http://llm.internal'}"))
    assert policy.targets["cloud"].base_url == "http://llm.internal"


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("8s", 8), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("0.5ms", 0.0005)]
)
def test_durations(text, seconds):
    """Durations carry their unit and are seconds inside."""
    policy = loads(GOOD.replace(AT_TARGET, f"{{kind: openai, model: m, timeout: {text}}}"))
    assert policy.targets["cloud"].timeout == pytest.approx(seconds)


def test_seconds_in_python():
    """Code may give seconds as a float; a file may not."""
    assert TargetBlock(kind="canned", text="x", timeout=1.5).timeout == 1.5
    with pytest.raises(ValueError, match="more than zero"):
        TargetBlock(kind="canned", text="x", timeout=-1.0)


def test_money_is_exact():
    """An amount is the decimal that was written."""
    policy = loads(GOOD + "budgets: [{name: b, usd: 0.1, per: day}]\n")
    assert policy.budgets[0].usd == Decimal("0.1")


def test_names_that_yaml_1_1_would_turn_into_truth_values_work():
    """A target may be called `on` and a level `no`."""
    policy = loads(
        "version: 1\n"
        "targets: {on: {kind: canned, text: off}}\n"
        "signals: {size: {levels: {no: 0, yes: 0.5}}}\n"
        "rules: [{name: y, when: {size: [no]}, use: on}, {name: 22:30, use: on}]\n"
    )
    assert policy.rules[0].use == ("on",)
    assert policy.targets["on"].text == "off"
    assert policy.rules[0].when.levels == {"size": ("no",)}
    assert policy.rules[1].name == "22:30"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "p:1:1: the policy is empty; begin with 'version: 1', 'targets:' and 'rules:'"),
        (
            "- a\n",
            "p:1:1: the policy is not a block of 'key: value' lines; begin with 'version: 1', 'targets:' and 'rules:'",
        ),
        (
            "hello",
            "p:1:1: the policy is not a block of 'key: value' lines; begin with 'version: 1', 'targets:' and 'rules:'",
        ),
    ],
)
def test_what_is_not_a_policy_at_all(text, error):
    """An empty file, a list and a word are refused with how to begin."""
    with pytest.raises(PolicyError) as caught:
        loads(text, "p")
    assert str(caught.value) == error


def test_a_file_loads_by_path_and_by_text_of_its_path(tmp_path: Path):
    """Both kinds of path serve."""
    file = tmp_path / "p.yaml"
    file.write_text(GOOD, encoding="utf-8")
    assert load(file) == load(str(file)) == loads(GOOD)


def test_a_byte_order_mark_is_skipped(tmp_path: Path):
    """Windows editors write one."""
    file = tmp_path / "p.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load(file) == loads(GOOD)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"version: 1\nname: \xe9t\xe9\n", "2:7: not UTF-8; save the file as UTF-8"),
        (b"#" * 1_000_001, "1:1: larger than 1 MB; a policy is short; is this the right file?"),
    ],
)
def test_unreadable_files(raw, error, tmp_path: Path):
    """Wrong encodings and huge files are refused before they are parsed."""
    file = tmp_path / "p.yaml"
    file.write_bytes(raw)
    with pytest.raises(PolicyError) as caught:
        load(file)
    assert str(caught.value) == f"{file}:{error}"


def test_a_file_that_is_not_there(tmp_path: Path):
    """A wrong path is a PolicyError too."""
    with pytest.raises(PolicyError) as caught:
        load(tmp_path / "gone.yaml")
    assert (
        str(caught.value) == f"{tmp_path / 'gone.yaml'}:1:1: cannot be read: no such file or directory; check the path"
    )


def test_a_mapping_is_a_policy_too():
    """Problems of a mapping are named by their path."""
    tree = {"version": 1, "targets": {"a": {"kind": "canned", "text": "x"}}, "rules": [{"name": "r", "use": "a"}]}
    assert load(tree).rules[0].use == ("a",)
    with pytest.raises(PolicyError) as caught:
        load(tree | {"targets": {"a": {"kind": "canned", "text": 5}}})
    assert str(caught.value) == "<dict>:1:1: targets.a.text: not text; put it into quotes"


def test_a_policy_object_is_checked_for_names():
    """What was built in Python is held to the same names."""
    policy = loads(GOOD)
    assert load(policy) is policy
    broken = policy.model_copy(
        update={"rules": (policy.rules[0].model_copy(update={"rungs": (Rung(target="gone"),)}),)}
    )
    with pytest.raises(PolicyError) as caught:
        load(broken)
    assert "unknown target 'gone'" in str(caught.value)


def test_a_loaded_policy_knows_where_its_parts_stand(tmp_path: Path):
    """Tools can point at lines."""
    file = tmp_path / "p.yaml"
    file.write_text(GOOD, encoding="utf-8")
    policy, source = load_with_source(file)
    assert policy.rules[1].name == "rest"
    assert source.position(("rules", 1)) == (10, 5)


def test_kinds_of_installed_packages_are_known_by_name(monkeypatch):
    """A kind from an entry point is accepted and nothing of it is imported."""
    monkeypatch.setattr(
        names, "installed", {"hybridinfer.targets": ["vllm"], "hybridinfer.signals": ["mood"]}.__getitem__
    )
    policy = loads(
        GOOD.replace("kind: openai, model: m", "kind: vllm") + "signals: {mood: {levels: {calm: 0, angry: 0.5}}}\n"
    )
    assert policy.targets["cloud"].kind == "vllm"
    with pytest.raises(PolicyError, match=r"there are onnx, .*canned, .*vllm"):
        loads(GOOD.replace("kind: openai, model: m", "kind: zzzzzz"))


def test_installed_lists_entry_points_by_name():
    """Names come from the packages' metadata."""
    assert "pytest" in names.installed("console_scripts")


def test_a_digest_ignores_comments_and_the_order_of_keys():
    """The same policy written differently has the same name."""
    head, rules = GOOD.split("rules:\n")
    other = "# x\nrules:\n" + rules + head
    assert digest(loads(other)) == digest(loads(GOOD))
    assert len(digest(loads(GOOD))) == 12


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cloud: never", "cloud: masked"),
        ("[local, cloud, sorry]", "[cloud, local, sorry]"),
        ("kind: onnx, model: m", "kind: onnx, model: n"),
        ("rules:", "name: x\nrules:"),
    ],
)
def test_a_digest_changes_with_every_change(old, new):
    """Another policy has another name; the order of a list counts."""
    assert digest(loads(GOOD.replace(old, new))) != digest(loads(GOOD))


def test_a_digest_does_not_depend_on_writing_defaults():
    """A default that is written out changes nothing."""
    assert digest(loads(GOOD + "resilience: {deadline: 20s}\n")) == digest(loads(GOOD))
    assert digest(loads(GOOD + "resilience: {deadline: 20000ms}\n")) == digest(loads(GOOD))


def test_a_dumped_policy_loads_again():
    """What a policy dumps to is a policy file again, durations and conditions as they are written."""
    text = GOOD + (
        "budgets: [{name: b, usd: 0.25, per: day}]\n"
        "resilience: {deadline: 1500ms, last_rung: 250ms}\n"
        "tests: [{name: t, given: {down: cloud}, expect: {never: cloud}}]\n"
    )
    policy = loads(
        text.replace("{complexity: low}", "{complexity: low, needs: tools, tags: {team: [a, b]}}").replace(
            AT_TARGET, '{kind: openai, model: m, api_key: "${env:K}", price: {input: 0.1, output: 0.2}}'
        )
    )
    tree = policy.model_dump(mode="json", exclude_unset=True)
    assert tree["rules"][0]["when"] == {"complexity": ["low"], "needs": ["tools"], "tags": {"team": ["a", "b"]}}
    assert tree["resilience"] == {"deadline": "1.5s", "last_rung": "250ms"}
    assert load(tree) == policy


def test_shipped_policies_are_found_in_the_checkout():
    """An editable install reads `policies/` next to the package."""
    assert {"minimal", "default", "privacy-first", "cost-saver", "offline-field", "regulated", "staging"} <= set(
        shipped_names()
    )
    assert shipped("default").name == "default.yaml"


def test_shipped_policies_are_found_inside_an_installed_package(monkeypatch, tmp_path: Path):
    """A wheel carries them beside the package's code."""
    package = tmp_path / "site" / "hybridinfer"
    (package / "policies").mkdir(parents=True)
    (package / "policies" / "mine.yaml").write_text(GOOD, encoding="utf-8")
    monkeypatch.setattr(module, "__file__", str(package / "policy" / "load.py"))
    assert shipped_names() == ("mine",)
    assert shipped("mine") == package / "policies" / "mine.yaml"


@pytest.mark.parametrize("name", ["nothing", "../default", "../pyproject"])
def test_an_unknown_shipped_policy_is_an_error(name):
    """The names there are stand in the message, and a path is not a name."""
    with pytest.raises(PolicyError, match=r"no such shipped policy; there are .*default"):
        shipped(name)


def test_the_wheel_is_told_to_carry_the_shipped_policies():
    """The mapping that decision 0003 leans on stands in pyproject.toml."""
    import tomllib

    tree = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    assert tree["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]["policies"] == "hybridinfer/policies"
