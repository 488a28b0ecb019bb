"""The gate itself, as it is measured: its settings, its law, its catalogue of operations, of any size."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.bench.site import Site
from tests.bench.stack import Program, free_ports

START_S = 180.0
"""Ten thousand operations take their time to compile."""
OPERATIONS, POLICIES = 50, 10
"""As many as a small real configuration has."""
_NAMED = {
    "models.list": {"call": "GET /v1/models"},
    "files.get": {"call": "GET /v1/files/{file}/content"},
    # A write of bytes that nobody can read is held by the shipped policies; a read that takes a body is not.
    "files.put": {"call": "PUT /v1/files/{file}", "class": ["read"]},
    "tickets.get": {"call": "GET /v1/tickets/{ticket}", "resource": {"kind": "ticket", "field": "ticket"}},
    "tickets.create": {
        "call": "POST /v1/tickets",
        "fields": {"priority": {"in": "body", "type": "long"}, "subject": {"in": "body", "type": "text"}},
    },
    "refunds.create": {"call": "POST /v1/refunds", "fields": {"amount": {"in": "body", "type": "long"}}},
}
_LAW = """
@id("read") permit (principal in Group::"bots", action in Action::"read", resource in Upstream::"api");
@id("write") permit (principal in Group::"bots", action in Action::"write", resource in Upstream::"api");
@id("refund") @hold("finance")
forbid (principal is Agent, action == Action::"api:refunds.create", resource)
unless { context.approvals.count >= 1 };
@id("finance-reviews")
permit (principal in Group::"finance", action in Action::"review", resource in Upstream::"api");
"""
_MORE = '@id("more-{n}") permit (principal in Group::"team-{n}", action in Action::"read", resource);\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """How to start one gate, and where its doors are."""

    program: Program
    port: int
    approvers: int
    operators: int
    data: Path


def product(
    site: Site,
    *,
    name: str = "gate",
    policies: int = POLICIES,
    operations: int = OPERATIONS,
    law: str = "",
    **more: object,
) -> Product:
    """A gate with so many policies over so many operations, ready to be started. `law`: one of them, as text."""
    port, approvers, operators = free_ports(3)
    filler = "".join(_MORE.format(n=n) for n in range(policies - 4 - bool(law)))
    (site.folder / f"{name}.cedar").write_text(_LAW + law + filler)
    (site.folder / f"{name}-operations.yaml").write_text(yaml.safe_dump({"operations": _operations(operations)}))
    settings = site.fill(
        "assentry.yaml", to=f"{name}.yaml", port=port, approvers=approvers, operators=operators,
        law=f"{name}.cedar", catalogue=f"{name}-operations.yaml", data=f"{name}-data",
        **{"ca": "", "host": "127.0.0.1", "keys": site.origin, "scheme": "http", "tls": "", **more},
    )  # fmt: skip
    command = [str(Path(sys.executable).with_name("assentry")), "serve", "-c", str(settings)]
    program = Program(name=name, command=command, ports=(port, approvers, operators), start_s=START_S)
    return Product(
        program=program, port=port, approvers=approvers, operators=operators, data=site.folder / f"{name}-data"
    )


def _operations(count: int) -> dict[str, object]:
    filler = {
        f"kind{n % 100}.op{n}": {
            "call": f"GET /v1/kind{n % 100}/{{id}}/part{n}",
            "resource": {"kind": "thing", "field": "id"},
        }
        for n in range(count - len(_NAMED))
    }
    return {**_NAMED, **filler}
