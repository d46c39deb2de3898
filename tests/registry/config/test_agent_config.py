"""`config.yaml`: what is known of it, what is kept, and where an error is."""

import pytest

from registry.config import agent_config
from registry.config.agent_config import SubWorkspace
from registry.exceptions import Invalid

FULL = b"""
name: Reviewer
description: Reads changes
version: 1.2
author: ada
tier: 2
runtime: langgraph
runtime_config: {model: "anthropic:claude", required_env: [ANTHROPIC_API_KEY]}
skills: [review, {id: security}]
tools: [{name: search}, grep]
shared_context: [guide.md, more/style.md]
env: {required: [GITHUB_TOKEN, WORKSPACE_ID, ANTHROPIC_API_KEY], optional: [DEBUG]}
sub_workspaces:
  - {config: tester, name: Tester, role: Runs tests}
  - {name: Writer}
  - {config: scout}
unknown: {kept: true}
"""


def test_everything_known_is_read_and_everything_is_kept() -> None:
    config = agent_config.read(FULL)
    assert (config.name, config.description, config.version, config.author) == (
        "Reviewer",
        "Reads changes",
        "1.2",
        "ada",
    )
    assert (config.tier, config.runtime, config.model) == (2, "langgraph", "anthropic:claude")
    assert (config.skills, config.tools) == (("review", "security"), ({"name": "search"}, "grep"))
    assert config.shared_context == ("guide.md", "more/style.md")
    assert config.required_env == ("GITHUB_TOKEN", "ANTHROPIC_API_KEY")
    assert config.sub_workspaces == (
        SubWorkspace(name="Tester", role="Runs tests", config="tester"),
        SubWorkspace(name="Writer"),
        SubWorkspace(name="scout", config="scout"),
    )
    assert config.values["unknown"] == {"kept": True}


def test_an_empty_file_says_nothing() -> None:
    assert agent_config.read(b"# nothing\n") == agent_config.NONE


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[a]", "config.yaml: must be a mapping of keys to values"),
        ("name: x\ntier: 5", "config.yaml, line 2, column 7: tier must be 1, 2, 3 or 4"),
        ("tier: true", "config.yaml, line 1, column 7: tier must be 1, 2, 3 or 4"),
        ("name: [x]", "config.yaml, line 1, column 7: name must be a text"),
        ("skills: x", "config.yaml, line 1, column 9: skills must be a list"),
        ("skills: [[x]]", "config.yaml, line 1, column 9: skills must be a list of texts"),
        ("env: [x]", "config.yaml, line 1, column 6: env must be a mapping of keys to values"),
        ("env: {required: [a b]}", "config.yaml, line 1, column 6: env 'a b' is no name of an environment variable"),
        ("shared_context: [../x]", 'config.yaml, line 1, column 17: shared_context path "../x": must not contain'),
        (
            "sub_workspaces: [x]",
            "config.yaml, line 1, column 17: sub_workspaces must be a list of {config, name, role}",
        ),
        ("sub_workspaces: [{role: x}]", "config.yaml, line 1, column 17: sub_workspaces needs a name or a config"),
    ],
)
def test_a_value_of_a_wrong_type_is_named_with_its_place(text: str, error: str) -> None:
    with pytest.raises(Invalid) as refused:
        agent_config.read(text.encode())
    assert refused.value.message.startswith(error)


def test_a_written_file_reads_the_same() -> None:
    values = {"name": "Ünicode: #1", "tier": 2, "skills": ["a"], "empty": None, "prompt": "two\nlines\n"}
    written = agent_config.write(values)
    assert agent_config.read(written).values == {name: value for name, value in values.items() if name != "empty"}


def test_changed_values_replace_those_of_the_file_and_no_change_leaves_its_text() -> None:
    text = b"# a comment\nname: A\ntier: 1\n"
    assert agent_config.changed(text, {"tier": None, "runtime": ""}) == text
    assert agent_config.read(agent_config.changed(text, {"tier": 2})).values == {"name": "A", "tier": 2}
    assert agent_config.read(agent_config.changed(None, {"tier": 2})).values == {"tier": 2}


def test_what_is_written_is_read_again_also_if_it_is_large() -> None:
    for text in ("🤖 Say hello\n", "🤖 Say: hello\n" * 5_000):
        config = agent_config.read(agent_config.write({"name": "A", "description": text, "version": "1.0"}))
        assert (config.description, config.version) == (text, "1.0")
    assert "🤖" in agent_config.write({"description": "🤖"}).decode()
