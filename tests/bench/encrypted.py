"""Throughput with TLS on both sides: one certificate for all, verified by the load and by what is under test."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.bench.product import product
from tests.bench.rounds import Plan
from tests.bench.running import Run, start, stop
from tests.bench.site import Site
from tests.bench.stack import Program, free_ports
from tests.bench.throughput import Throughput, throughput
from tests.bench.variants import DIRECT, ENVOY_JWT, NGINX, OURS, Found, Variant, envoy_command, go_gate, tool

_TLS = "envoy.extensions.transport_sockets.tls.v3"


def encrypted(run: Run, *, plan: Plan) -> Mapping[str, Throughput]:
    """By name; nothing where nginx is not installed, which is the upstream that speaks TLS."""
    nginx = tool("nginx")
    if nginx is None:
        return {}
    live, _ = start(run, _variants(run.site, nginx))
    over_tls = replace(run, load=replace(run.load, ca_file=str(run.site.certificate.chain)))
    taken = throughput(over_tls, live, plan=plan)
    stop(run, live)
    return taken


def _variants(site: Site, nginx: str) -> Iterator[Found]:
    yield Variant(name=DIRECT, programs=(), port=site.origin_tls)
    (port,) = free_ports(1)
    config = site.fill(
        "nginx.conf", to="nginx-tls.conf", port=port, listen_tls="ssl", scheme="https", origin=site.origin_tls
    )
    yield _variant(NGINX, port, Program(name="nginx-tls", command=[nginx, "-c", str(config)], ports=(port,)))
    yield _gate(site)
    files = site.certificate.chain, site.certificate.key, site.certificate.chain
    yield go_gate(site, name="go-gate-tls", origin=f"https://localhost:{site.origin_tls}", tls=files)
    envoy = tool("envoy")
    if envoy is not None:
        yield _envoy(site, envoy)


def _gate(site: Site) -> Variant:
    chain, key = site.certificate.chain, site.certificate.key
    ours = product(
        site, name="gate-tls", scheme="https", host="localhost", origin=site.origin_tls,
        ca=f"ca_file: {chain}", tls=f"tls: {{certificate: {chain}, key: {key}}}",
    )  # fmt: skip
    return _variant(OURS, ours.port, ours.program)


def _envoy(site: Site, envoy: str) -> Variant:
    (port,) = free_ports(1)
    chain, key = str(site.certificate.chain), str(site.certificate.key)
    down = {"tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}]}
    up = {"validation_context": {"trusted_ca": {"filename": chain}}}
    config = site.fill(
        "envoy_jwt.yaml", to="envoy-tls.yaml", port=port, origin=site.origin_tls,
        tls_down=_socket("DownstreamTlsContext", {"common_tls_context": down}),
        tls_up=_socket("UpstreamTlsContext", {"common_tls_context": up, "sni": "localhost"}),
    )  # fmt: skip
    program = Program(name="envoy-tls", command=envoy_command(envoy, config), ports=(port,))
    return _variant(ENVOY_JWT, port, program)


def _socket(kind: str, settings: dict[str, object]) -> str:
    typed = {"@type": f"type.googleapis.com/{_TLS}.{kind}", **settings}
    return f"transport_socket: {json.dumps({'name': 'envoy.transport_sockets.tls', 'typed_config': typed})}"


def _variant(name: str, port: int, *programs: Program) -> Variant:
    return Variant(name=name, programs=programs, port=port)
