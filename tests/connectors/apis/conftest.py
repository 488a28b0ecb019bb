"""A whole call around a naming, for what needs one."""

from __future__ import annotations

import pytest

from connectors.apis.naming import Named
from policy.call import Call, CallId, Target
from policy.principal import Identity, Principal


@pytest.fixture
def a_call():
    def made(found: Named, path: str) -> Call:
        return Call(
            id=CallId("call_00000000000000000000000000"),
            upstream=found.operation.upstream,
            environment="test",
            target=Target(method=found.operation.method, path=path),
            body_digest="",
            body_length=0,
            operation=found.operation,
            input=found.input,
            resource=found.resource,
            sensitivity=found.sensitivity,
            principal=Principal(agent=Identity("corp:bot"), expires_at=2_000_000_000),
            peer="127.0.0.1",
            sample=0,
            received_at=0,
        )

    return made
