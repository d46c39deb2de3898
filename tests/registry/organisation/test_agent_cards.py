"""The reader of Agent Cards: the shapes of cards/*.json, and any JSON at all."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.organisation.agent_cards import (
    MAX_ITEMS,
    MAX_PROBLEMS,
    AgentCard,
    Interface,
    Provider,
    SecurityScheme,
    Skill,
    read_card,
)
from registry.structure.urls import validate_agent_url

CARDS = Path(__file__).with_name("cards")
BAD_URL = "must be an http(s) URL, or a placeholder such as remote://no-inbound."
USER_INFO = "must not contain a user name or password."

EXPECTED = {
    "a2a_0_2_with_authentication": AgentCard(
        name="Travel Agent", description="Books trains and hotels", version="1.0.0", url="http://travel.example:10001/",
        interfaces=(Interface(url="http://travel.example:10001/", binding="JSONRPC"),),
        skills=(Skill(id="book", name="Book a trip", description="Finds and books", tags=("travel", "booking")),),
        capabilities=("streaming",), security_schemes=(SecurityScheme(name="bearer"),),
        input_modes=("text",), output_modes=("text", "text/plain"),
    ),
    "a2a_0_3_additional_interfaces": AgentCard(
        name="Currency Agent", description="Exchange rates", version="1.2.0", url="https://rates.example/a2a/v1",
        interfaces=(
            Interface(url="https://rates.example/a2a/v1", binding="JSONRPC", version="0.3.0"),
            Interface(url="https://rates.example/a2a/grpc", binding="GRPC", version="0.3.0"),
            Interface(url="https://rates.example/a2a/json", binding="HTTP+JSON", version="0.3.0"),
        ),
        skills=(Skill(id="convert", name="Convert", description="Converts amounts", tags=("finance",)),),
        capabilities=("streaming", "pushNotifications"), extensions=("https://rates.example/ext/audit/v1",),
        provider=Provider(organization="Example Rates", url="https://rates.example"),
        security_schemes=(
            SecurityScheme(name="google", type="openIdConnect"), SecurityScheme(name="key", type="apiKey"),
        ),
        input_modes=("application/json",), output_modes=("application/json",),
    ),
    "a2a_1_0_supported_interfaces": AgentCard(
        name="GeoSpatial Route Planner", description="Plans routes", version="2.0.0", url="https://geo.example/a2a/v1",
        interfaces=(
            Interface(url="https://geo.example/a2a/v1", binding="JSONRPC", version="1.0"),
            Interface(url="https://geo.example/a2a/grpc", binding="GRPC", version="1.0"),
            Interface(url="https://geo.example/a2a/old", binding="JSONRPC", version="0.3"),
        ),
        skills=(Skill(id="route", name="Route", description="Fastest route", tags=("maps",)),),
        capabilities=("streaming", "extendedAgentCard"),
        provider=Provider(organization="Example Geo", url="https://geo.example"),
        security_schemes=(
            SecurityScheme(name="google", type="openIdConnect"), SecurityScheme(name="mtls", type="mutualTLS"),
        ),
        input_modes=("application/json", "text/plain"), output_modes=("image/png",),
    ),
    "python_snake_case": AgentCard(
        name="weather", description="Forecasts", version="0.1.0", url="http://weather:8000",
        interfaces=(Interface(url="http://weather:8000", binding="JSONRPC", version="0.3.0"),),
        skills=(Skill(id="forecast", name="Forecast"),), capabilities=("pushNotifications",),
        input_modes=("text/plain",), output_modes=("text/plain",),
    ),
    "snake_case_supported_interfaces": AgentCard(
        name="search", version="1.0", url="http://search:8000/rpc",
        interfaces=(
            Interface(url="http://search:8000/rpc", binding="JSONRPC", version="1.0"),
            Interface(url="http://search:8000/rest", binding="HTTP+JSON", version="0.3.0"),
        ),
    ),
    "lists_of_strings": AgentCard(
        name="Researcher", capabilities=("search", "summarize"),
        skills=(Skill(id="web-search", name="web-search"), Skill(id="summaries", name="summaries")),
        security_schemes=(SecurityScheme(name="oauth2"), SecurityScheme(name="mtls")),
    ),
    "endpoints_object": AgentCard(
        name="Planner", version="3.1", url="https://planner.example/rpc", capabilities=("plan",),
        interfaces=(
            Interface(url="https://planner.example/rpc", binding="JSONRPC"),
            Interface(url="https://planner.example/v1", binding="HTTP+JSON"),
        ),
        security_schemes=(SecurityScheme(name="bearer"),), problems=(f"endpoints.health: {BAD_URL}",),
    ),
    "template_url": AgentCard(
        name="Starter", version="1.0.0", skills=(Skill(id="echo", name="Echo"),), capabilities=("streaming",),
        problems=(f"url: {BAD_URL}",),
    ),
    "relative_url": AgentCard(
        name="Gateway agent", version="1.0.0", url="https://gateway.example/agents/gateway",
        interfaces=(
            Interface(url="https://gateway.example/agents/gateway", binding="HTTP+JSON", version="1.0"),
        ),
        problems=(f"url: {BAD_URL}",),
    ),
    "nonsense_interfaces": AgentCard(
        name="Broken", url="https://works.example",
        interfaces=(Interface(url="https://works.example", binding="https://works.example/bindings/mqtt"),),
        problems=(
            f"supportedInterfaces[0].url: {BAD_URL}",
            "supportedInterfaces[0]: names no protocolBinding.",
            "supportedInterfaces[1].url: is missing.",
            "supportedInterfaces[2]: must be an object with url and protocolBinding.",
        ),
    ),
    "transport_in_supported_interfaces": AgentCard(
        name="Helper", version="1", url="https://helper.example",
        interfaces=(
            Interface(url="https://helper.example", binding="HTTP+JSON"),
            Interface(url="https://helper.example/grpc", binding="GRPC"),
        ),
        skills=(Skill(id="help", name="Help"),),
    ),
    "name_only": AgentCard(name="agent"),
    "without_name": AgentCard(
        description="An agent that nobody named", version="1.0.0", url="http://agent:1",
        interfaces=(Interface(url="http://agent:1", binding="JSONRPC"),), problems=("name: is missing.",),
    ),
    "credentials_in_urls": AgentCard(
        name="Careless", provider=Provider(organization="Careless Ltd"),
        problems=(f"url: {USER_INFO}", f"additionalInterfaces[0].url: {USER_INFO}", f"provider.url: {USER_INFO}"),
    ),
    "wrong_types": AgentCard(
        name="Odd", security_schemes=(SecurityScheme(name="a"), SecurityScheme(name="b")),
        problems=(
            "url: must be text.",
            "supportedInterfaces: must be a list.",
            "capabilities.streaming: must be true or false.",
            "description: must be text.",
            "version: must be text.",
            "skills: must be a list.",
            "provider: must be text.",
            "securitySchemes.a: must be an object.",
            "securitySchemes.b: names no type.",
            "defaultInputModes: must be a list.",
        ),
    ),
}  # fmt: skip

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = (
    "name", "description", "version", "url", "protocolVersion", "protocol_version", "preferredTransport",
    "supportedInterfaces", "additionalInterfaces", "endpoints", "capabilities", "extensions", "skills", "skill_id",
    "id", "tags", "uri", "type", "provider", "organization", "securitySchemes", "authentication", "schemes",
    "default_input_modes", "defaultOutputModes", "transport", "protocolBinding", "openIdConnectSecurityScheme",
)  # fmt: skip
URLS = (
    "http://a:1",
    "https://u:p@a",
    "remote://no-inbound",
    "not-a-url",
    "http://[",
    "http://\uff20",
    "http://a\udc80",
)
card_values = st.recursive(
    json_values | st.sampled_from(URLS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=30,
)
cards = st.dictionaries(st.sampled_from(FIELDS), card_values, max_size=10)


def read(name: str) -> Any:
    return json.loads((CARDS / f"{name}.json").read_text())


def test_every_card_has_an_expectation() -> None:
    assert {path.stem for path in CARDS.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_shape(name: str) -> None:
    assert read_card(read(name)) == EXPECTED[name]


@given(json_values | cards)
def test_any_json_is_read(card: Any) -> None:
    before = copy.deepcopy(card)
    found = read_card(card)
    assert repr(card) == repr(before), "the card was changed"
    assert len(found.problems) <= MAX_PROBLEMS
    assert all(problem.isprintable() and len(problem) < 1000 for problem in found.problems)
    for interface in found.interfaces:
        validate_agent_url(interface.url)
    assert found.url == (found.interfaces[0].url if found.interfaces else "")


def test_an_integer_that_python_refuses_to_print() -> None:
    assert read_card({"name": "a", "version": 10**5000}).problems == ("version: must be text.",)


@pytest.mark.parametrize("card", [None, [], "card", 3, True])
def test_not_an_object(card: Any) -> None:
    assert read_card(card) == AgentCard(problems=("The card must be a JSON object.",))


def test_the_name_follows_the_rule_for_names() -> None:
    assert read_card({"name": " Zoe\u0308 "}).name == "Zo\u00eb"
    found = read_card({"name": "CEO\u202egnp.exe"})
    assert found == AgentCard(problems=("name: must not contain control or invisible characters (U+202E).",))


def test_long_lists_and_many_problems_are_bounded() -> None:
    found = read_card({"name": "a", "skills": [{"id": str(number)} for number in range(5000)]})
    assert len(found.skills) == MAX_ITEMS
    assert found.problems == ("skills: has 5,000 items, only the first 100 are read.",)
    assert len(read_card({"name": "a", "skills": [None] * 5000}).problems) == MAX_PROBLEMS


def test_keys_that_could_not_be_seen_are_escaped_in_problems() -> None:
    found = read_card({"name": "a", "securitySchemes": {"x\u202ey\udc80": 1}})
    assert found.problems == ("securitySchemes.x\\u202ey\\udc80: must be an object.",)
