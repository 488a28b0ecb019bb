"""Headers that repeat the body are compared where they mean something, and do not travel where they mean nothing."""

from __future__ import annotations

import base64

import pytest

from connectors.apis.mcp.messages import Notification, Request
from connectors.apis.mcp.mirrors import mismatch, travelling

META = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
CALL = Request(
    id=1, method="tools/call", params={"name": "add", "arguments": {"region": "eu", "deep": [{"n": 5}]}, **META}
)
NEW = (("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "add"))


def without(name: str):
    return tuple(pair for pair in NEW if pair[0] != name)


def coded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def test_headers_that_repeat_the_body_go_together_with_it():
    assert mismatch(NEW, CALL) is None
    assert mismatch((*without("mcp-name"), ("mcp-name", coded("add"))), CALL) is None
    assert mismatch((*NEW, ("mcp-param-region", "eu"), ("mcp-param-n", "5")), CALL) is None


@pytest.mark.parametrize(
    "headers",
    [
        without("mcp-method"),
        without("mcp-name"),
        (*without("mcp-method"), ("mcp-method", "tools/list")),
        (*without("mcp-method"), ("mcp-method", "Tools/Call")),
        (*without("mcp-name"), ("mcp-name", "drop")),
        (*without("mcp-name"), ("mcp-name", "=?base64?YWRk=?=")),
        (*without("mcp-name"), ("mcp-name", "=?base64?YWRl?=")),
        (*without("mcp-name"), ("mcp-name", "=?base64?_/8=?=")),
        (*NEW, ("mcp-name", "add")),
        (*NEW, ("mcp-method", "tools/list")),
        (*NEW, ("mcp-param-region", "us")),
        (*NEW, ("mcp-param-region", "eu"), ("mcp-param-region", "us")),
        (*NEW, ("mcp-param-region", "=?base64?!?=")),
        without("mcp-protocol-version"),
        (*without("mcp-protocol-version"), ("mcp-protocol-version", "2025-11-25")),
    ],
)
def test_headers_that_say_something_else_than_the_body_are_a_mismatch(headers):
    found = mismatch(headers, CALL)
    assert found is not None
    assert found.code == -32020


def test_a_body_of_an_older_revision_under_a_newer_header_is_a_mismatch():
    old = Request(id=1, method="tools/call", params={"name": "add"})
    found = mismatch(NEW, old)
    assert found is not None
    assert found.code == -32020


@pytest.mark.parametrize("version", ["2026-07-29", "1999-01-01", "", "2026-07-28, 2025-11-25"])
def test_a_revision_that_is_not_spoken_is_told_so(version: str):
    found = mismatch((("mcp-protocol-version", version),), CALL)
    assert found is not None
    assert (found.code, found.requested) == (-32022, version)


def test_older_revisions_have_no_mirrors_and_newer_ones_no_sessions():
    old = (("mcp-protocol-version", "2025-11-25"), ("mcp-method", "x"), ("mcp-name", "y"), ("mcp-param-z", "1"))
    assert mismatch(old, Request(id=1, method="tools/call", params={"name": "add"})) is None
    assert travelling((*old, ("mcp-session-id", "s"))) == (old[0], ("mcp-session-id", "s"))
    assert travelling((*NEW, ("mcp-session-id", "s"), ("last-event-id", "1"))) == NEW


def test_a_notification_of_the_new_revision_needs_no_mirrors():
    assert mismatch(NEW[:1], Notification(method="notifications/cancelled", params={})) is None
