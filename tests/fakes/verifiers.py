"""Fixtures for tests of identity: a wall clock moved by hand, an issuer on that clock, verifiers that clean up.

Imported by name into the test modules that use them.
"""

from __future__ import annotations

import pytest

from proxy.doors.arrival import BearerText
from proxy.errors import IdentityFault
from proxy.identity.issuers import KeySource
from proxy.identity.tokens import TokenVerifier
from tests.fakes.issuer import FakeIssuer

NOW = 1_800_000_000.0


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The wall clock of issuers and verifiers."""
    return Clock()


@pytest.fixture
async def idp(clock):
    """An issuer named `corp` that signs with ES256."""
    async with FakeIssuer(now=clock) as issuer:
        yield issuer


@pytest.fixture
async def verify(clock):
    """Makes verifiers of the issuers' settings given; closes what they opened."""
    sources: list[KeySource] = []

    def make(*issuers, cache_size=50_000):
        sources.append(KeySource(issuers))
        return TokenVerifier(issuers, sources[-1], now=clock, cache_size=cache_size)

    yield make
    for source in sources:
        await source.close()


async def refusal(verifier: TokenVerifier, text: str) -> IdentityFault:
    """The fault that the token meets at the agents' door, once it is sure that it leaks nothing and was not kept."""
    with pytest.raises(IdentityFault) as caught:
        await verifier.agent(BearerText(text))
    fault = caught.value
    assert verifier.believed(BearerText(text)) is None
    assert not any(part in str(fault) for part in text.split(".") if len(part) > 6)
    return fault
