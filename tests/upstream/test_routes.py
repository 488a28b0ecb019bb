"""Which upstream a host and a path lead to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Upstream
from proxy.errors import OperatorFault
from proxy.upstream.routes import Routes


def up(name: str, **settings: object) -> Upstream:
    return Upstream.model_validate({"name": name, "url": f"https://{name}.example", **settings})


ROUTES = Routes(
    [
        up("stripe"),
        up("payouts", prefix="/stripe/v1/payouts"),
        up("github", prefix="/gh/"),
        up("openai", host="ai.gate.example"),
        up("both", host="both.gate.example:8400", prefix="/both"),
    ]
)


def found(host: str, path: str) -> tuple[str, str] | None:
    route = ROUTES.find(host, path)
    return (route.upstream.name, route.path) if route else None


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("gate", "/stripe/v1/refunds", ("stripe", "/v1/refunds")),
        ("gate", "/stripe", ("stripe", "/")),
        ("gate", "/stripe/", ("stripe", "/")),
        ("gate", "/stripe/a%2Fb/%e2", ("stripe", "/a%2Fb/%e2")),
        ("gate", "/stripes/v1", None),
        ("gate", "/Stripe/v1", None),
        ("gate", "/%73tripe/v1", None),
        ("gate", "/stripe/v1/payouts", ("payouts", "/")),
        ("gate", "/stripe/v1/payouts/po_1", ("payouts", "/po_1")),
        ("gate", "/stripe/v1/payoutsx", ("stripe", "/v1/payoutsx")),
        ("gate", "/gh/repos", ("github", "/repos")),
        ("gate", "/github/repos", None),
        ("gate", "/openai/v1", None),
        ("gate", "/", None),
        ("gate", "", None),
        ("gate", "/both/x", ("both", "/x")),
        ("ai.gate.example", "/v1/models", ("openai", "/v1/models")),
        ("AI.Gate.Example:8400", "/v1/models", ("openai", "/v1/models")),
        ("ai.gate.example", "/stripe/v1", ("openai", "/stripe/v1")),
        ("both.gate.example:8400", "/both/x", ("both", "/both/x")),
        ("both.gate.example", "/x", None),
        ("notai.gate.example", "/v1", None),
    ],
)
def test_a_place_at_the_door_leads_to_its_upstream(host: str, path: str, expected: tuple[str, str] | None):
    assert found(host, path) == expected


def test_an_empty_prefix_takes_what_no_other_takes():
    routes = Routes([up("rest", prefix="/"), up("stripe")])
    places = [routes.find("gate", path) for path in ("/x/y", "/stripe/y", "/")]
    assert [(route.upstream.name, route.path) for route in places if route] == [
        ("rest", "/x/y"),
        ("stripe", "/y"),
        ("rest", "/"),
    ]


@pytest.mark.parametrize(
    "pair",
    [
        (up("a", prefix="/x"), up("b", prefix="/x/")),
        (up("a", host="h.example"), up("b", host="H.example")),
        (up("a"), up("b", prefix="/a")),
    ],
)
def test_two_upstreams_cannot_claim_the_same_place(pair: tuple[Upstream, Upstream]):
    with pytest.raises(OperatorFault):
        Routes(pair)


@given(st.text(st.sampled_from("/abst ripe.%"), max_size=20))
def test_what_was_matched_and_what_is_left_make_up_the_path(path: str):
    route = ROUTES.find("gate", "/" + path)
    if route is not None:
        assert route.path.startswith("/")
        assert ("/" + path).endswith(route.path) or route.path == "/"
