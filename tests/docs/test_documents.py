"""Every policy and every program in the documentation works, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hybridinfer.cli import main

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document, language):
    """The blocks of one language in a document."""
    return [text for name, text in BLOCK.findall(document.read_text(encoding="utf-8")) if name == language]


def policies(document):
    """The whole policies in it."""
    return [text for text in blocks(document, "yaml") if text.startswith(("version:", "# yaml"))]


def named(documents):
    """Parameters with readable ids."""
    return [pytest.param(document, id=str(document.relative_to(ROOT))) for document in documents]


HAND_WRITTEN = [document for document in DOCUMENTS if document.name not in ("reference.md", "cli.md")]
WITH_POLICY = [document for document in HAND_WRITTEN if policies(document)]
WITH_PYTHON = [document for document in HAND_WRITTEN if blocks(document, "python")]


@pytest.mark.parametrize("document", named(WITH_POLICY))
def test_policies_in_documents_are_proven(document, tmp_path):
    """Each policy passes `hybridinfer policy check` and its own tests."""
    for number, text in enumerate(policies(document)):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        assert main(["policy", "check", str(file)]) == 0
        assert main(["policy", "test", str(file)]) == 0


@pytest.mark.parametrize("document", named(WITH_PYTHON))
def test_programs_in_documents_run(document, without_network, tmp_path, monkeypatch):
    """The Python blocks of a document run one after the other, beside its policy in policy.yaml."""
    monkeypatch.chdir(tmp_path)
    for text in policies(document)[-1:]:
        Path("policy.yaml").write_text(without_network(text), encoding="utf-8")
    namespace = {"__name__": "__main__"}
    programs = blocks(document, "python")
    assert programs
    for number, text in enumerate(programs):
        exec(compile(text, f"{document.name}[{number}]", "exec"), namespace)


@pytest.mark.parametrize("document", named(DOCUMENTS))
def test_links_lead_somewhere(document):
    """No relative link is broken."""
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target]
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_documents_are_found():
    """An empty list of documents would prove nothing."""
    assert {"README.md", "tutorial.md"} <= {document.name for document in WITH_PYTHON}


def test_every_environment_variable_is_documented():
    """What the code reads, docs/configuration.md explains, and nothing else."""
    sources = "\n".join(file.read_text(encoding="utf-8") for file in ROOT.glob("hybridinfer/**/*.py"))
    read = set(re.findall(r"\bHYBRIDINFER_[A-Z]+\b", sources))
    explained = set(re.findall(r"\bHYBRIDINFER_[A-Z]+\b", (ROOT / "docs/configuration.md").read_text(encoding="utf-8")))
    assert read == explained
