"""The table of clients: what it says, what it may say, and that the documentation shows the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.doors.clients import KINDS, Kind, kind_of, read_kinds
from proxy.errors import OperatorFault

PAGE = Path(__file__).resolve().parents[2] / "docs" / "holds.md"
HEAD = (
    "| client | `User-Agent` begins with | bears silence | waits at most | interim | of them at most "
    "| measured with | notes |"
)
TAKES_100 = {
    "OpenAI/Python 3.52.0",
    "AsyncAzureOpenAI/Python 3.52.0",
    "Anthropic/Python 2.11.0",
    "AsyncAnthropic/Python 2.11.0",
    "Stripe/v1 PythonBindings/16.1.0",
    "PyGithub/Python",
    "OpenAPI-Generator/37.0.0/python",
    "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux",
    "Botocore/1.44.5 ua/2.1",
    "Python/3.11 aiohttp/3.14.5",
    "python-requests/2.34.2",
    "python-urllib3/2.8.0",
}
TAKES_102 = {"node", "undici"}
TAKES_NONE = {
    "",
    "Go-http-client/2.0",
    "kubectl/v1.32.0 (linux/amd64) kubernetes/70d3cc9",
    "OpenAPI-Generator/1.0.0/go",
    "OpenAPI-Generator/1.0.0/java",
    "OpenAI/JS 6.1.0",
    "Anthropic/JS 1.0.0",
    "Stripe/v1 NodeBindings/19",
    "Stripe/v1 GoBindings/80",
    "python-httpx/0.28",
    "python-httpx2/2.16",
    "curl/8.5.0",
    "Mozilla/5.0 python-requests/2.34.2",
    "node-fetch/3",
    "Java-http-client/17",
}


@pytest.mark.parametrize(
    ("agent", "interim"),
    [
        *((agent, 100) for agent in sorted(TAKES_100)),
        *((agent, 102) for agent in sorted(TAKES_102)),
        *((agent, None) for agent in sorted(TAKES_NONE)),
    ],
)
def test_only_clients_that_were_measured_take_interim_responses(agent: str, interim: int | None) -> None:
    kind = kind_of(agent)
    assert (kind.interim if kind else None) == interim


def test_a_long_user_agent_is_read_at_its_beginning_only() -> None:
    assert kind_of("python-requests/2 " + "x" * 100_000) is kind_of("python-requests/2 " + "y" * 100_000)
    assert kind_of(" " * 500 + "python-requests/2") is None


def test_the_documentation_shows_the_table() -> None:
    rows = PAGE.read_text("utf-8").split(HEAD)[1].split("\n\n")[0].splitlines()[2:]
    assert rows == [_row(kind) for kind in KINDS]


def _row(kind: Kind) -> str:
    cells = (
        kind.name,
        f"`{kind.user_agent}`".replace("|", "\\|"),
        _seconds(kind.read_timeout_s),
        _seconds(kind.total_timeout_s),
        f"`{kind.interim}`" if kind.interim else "none",
        str(kind.interims or ""),
        kind.measured,
        kind.notes,
    )
    return re.sub(" +", " ", f"| {' | '.join(cells)} |")


def _seconds(time_s: float | None) -> str:
    return f"{time_s:g} s" if time_s is not None else ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[", "not YAML"),
        ("{}", "not a list"),
        ("- 1", "not a list"),
        ("- {user_agent: x}", "needs a name"),
        ("- {name: x}", "needs a name"),
        ("- {name: x, user_agent: '('}", "no regular expression"),
        ("- {name: x, user_agent: 1}", "user_agent is not text"),
        ("- {name: x, user_agent: x, timeout: 1}", "there is no timeout"),
        ("- {name: x, user_agent: x, read_timeout_s: soon}", "not a number"),
        ("- {name: x, user_agent: x, read_timeout_s: true}", "not a number"),
        ("- {name: x, user_agent: x, read_timeout_s: 0}", "times above zero"),
        ("- {name: x, user_agent: x, total_timeout_s: .inf}", "times above zero"),
        ("- {name: x, user_agent: x, interim: 103, measured: y}", "100 or 102"),
        ("- {name: x, user_agent: x, interim: 100}", "measured with"),
        ("- {name: x, user_agent: x, interim: 100.5}", "not a whole number"),
        ("- {name: x, user_agent: x, interim: 100, measured: y, interims: 0}", "above zero"),
        ("- {name: x, user_agent: x}\n- {name: x, user_agent: y}", "twice"),
    ],
)
def test_a_table_that_says_what_cannot_be_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(OperatorFault, match=complaint):
        read_kinds(text)
