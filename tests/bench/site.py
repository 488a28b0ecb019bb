"""What all programs of one run share: the folder, the upstream's ports, the issuer, and templates filled in."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.certificate import Certificate, certificate
from tests.bench.keys import AGENTS, Keys
from tests.bench.stack import Program, free_ports

PEERS = Path(__file__).parent / "peers"
MODELS = "/api/v1/models"
FILE = "/api/v1/files/large"
CONTENT = f"{FILE}/content"
REFUNDS = "/api/v1/refunds"
TICKETS = "/api/v1/tickets"
LARGE_BYTES = 1 << 30
_FIELD = re.compile(r"@([a-z_]+)@")
_TICKETS = [{"id": number, "name": f"ticket-{number}", "state": "open"} for number in range(20)]
ANSWER = json.dumps({"items": _TICKETS}).ljust(1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One run's."""

    folder: Path
    origin: int
    """Port of the upstream; what agents reach through everything else."""
    origin_tls: int
    """The same over TLS, where the upstream is nginx."""
    drain: int
    certificate: Certificate
    keys: Keys = field(default_factory=lambda: Keys(issuer="https://issuer.example.test"))

    def fill(self, template: str, *, to: str, **more: object) -> Path:
        """The template with its fields filled in, as a file in the folder. Raises KeyError for a field nobody knows."""
        known = {
            "folder": self.folder, "origin": self.origin, "drain": self.drain, "answer": ANSWER,
            "issuer": self.keys.issuer, "audience": AGENTS, "jwks": self.keys.jwks(),
            "pem": self.folder / "issuer.pem", "user": getpass.getuser(), "scheme": "http",
            "origin_tls": self.origin_tls, "chain": self.certificate.chain, "key": self.certificate.key,
            "listen_tls": "", "tls_down": "", "tls_up": "", **more,
        }  # fmt: skip
        path = self.folder / to
        path.write_text(_FIELD.sub(lambda found: str(known[found[1]]), (PEERS / template).read_text("utf-8")), "utf-8")
        return path

    def environment(self, log: str) -> dict[str, str]:
        """What `deciding` reads."""
        return {
            "BENCH_PEM": str(self.folder / "issuer.pem"),
            "BENCH_ISSUER": self.keys.issuer,
            "BENCH_AUDIENCE": AGENTS,
            "BENCH_LOG": str(self.folder / log),
        }

    def upstream(self) -> Program:
        """nginx where it is installed, else our own."""
        nginx = shutil.which("nginx")
        if nginx:
            command = [nginx, "-c", str(self.fill("origin.conf", to="origin.conf"))]
        else:
            command = [sys.executable, "-m", "tests.bench.peers.origin", str(self.origin), str(self.folder)]
        return Program(name="origin", command=command, ports=(self.origin,), environment=python_path())


def site(folder: Path) -> Site:
    """A new one in an empty folder, with the files that the upstream serves."""
    origin, origin_tls, drain = free_ports(3)
    made = Site(folder=folder, origin=origin, origin_tls=origin_tls, drain=drain, certificate=certificate(folder))
    made.keys.write_pem(folder / "issuer.pem")
    (folder / "jwks.json").write_text(made.keys.jwks())
    (folder / "answer.json").write_text(ANSWER)
    with (folder / "large.bin").open("wb") as large:
        large.truncate(LARGE_BYTES)
    return made


def python_path() -> dict[str, str]:
    """So that a program in another folder finds these modules."""
    return {"PYTHONPATH": str(PEERS.parents[2])}
