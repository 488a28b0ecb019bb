"""The command line's way to the approvers' API: one exchange, and exit statuses that scripts can rely on.

0 done; 1 refused (a policy, a race, a hold that is not there); 2 wrong usage; 3 the gate could not be reached or could
not decide; 4 the gate does not know you.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from config.paths import TOKEN_FILE_VARIABLE, TOKEN_VARIABLE, URL_VARIABLE
from proxy.cli.screen import line

DEFAULT_URL = "http://127.0.0.1:8401"
_LIMIT_S = 30

Json = dict[str, object]

UrlOption = Annotated[str, typer.Option("--url", envvar=URL_VARIABLE, help="The approvers' door.")]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar=TOKEN_FILE_VARIABLE,
        help=f"File with your access token. Without it: the variable {TOKEN_VARIABLE}.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Where the gate is and who asks."""

    url: str
    token: str

    def get(self, path: str, *, query: Mapping[str, str] | None = None) -> Json:
        """The document at `path`; leaves with an exit status when there is none."""
        return asyncio.run(self._exchange("GET", path, query=query, document=None))

    def post(self, path: str, document: Json) -> Json:
        """The answer to `document`; leaves with an exit status when it is a refusal."""
        return asyncio.run(self._exchange("POST", path, query=None, document=document))

    async def _exchange(
        self, method: str, path: str, *, query: Mapping[str, str] | None, document: Json | None
    ) -> Json:
        import aiohttp

        limit = aiohttp.ClientTimeout(total=_LIMIT_S)
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            async with (
                aiohttp.ClientSession(timeout=limit, headers=headers, trust_env=False) as session,
                session.request(
                    method, f"{self.url.rstrip('/')}{path}", params=query, json=document, allow_redirects=False
                ) as answer,
            ):
                said = await answer.json(content_type=None)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            leave(3, f"The gate at {self.url} does not answer ({type(exc).__name__}). Is `assentry serve` running?")
        if status >= 400:
            detail = said.get("detail", "no reason given") if isinstance(said, dict) else "no reason given"
            leave(4 if status == 401 else 3 if status >= 500 else 1, str(detail))
        return said if isinstance(said, dict) else {}


def gate(url: str, token_file: Path | None) -> Gate:
    """The gate as the options say; leaves with status 2 when there is no token."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if token_file is not None:
        try:
            token = token_file.read_text("utf-8")
        except OSError as exc:
            leave(2, f"The token file {str(token_file)!r} cannot be read: {exc.strerror}.")
    if not token.strip():
        leave(2, f"No access token: give --token-file, or set {TOKEN_VARIABLE}.")
    return Gate(url=url, token=token.strip())


def leave(status: int, why: str) -> NoReturn:
    """Say why on standard error and exit."""
    # A gate's refusal may quote an agent.
    typer.echo(line(why), err=True)
    raise typer.Exit(status)
