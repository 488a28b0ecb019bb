"""The SDKs of the APIs that agents meet most, each as its documentation shows it, with retries at their defaults."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import anthropic
import github
import openai
import requests
import stripe

from tests.clients.matrix.asking import Client, Meanwhile, Said, Site, saying
from tests.fakes.upstream import Received

_THREADS = ThreadPoolExecutor(max_workers=128, thread_name_prefix="client")
"""The SDKs are synchronous, and all of their calls wait at once."""


def in_thread(ask: Callable[[Site], str]) -> Callable[[Site], Awaitable[str]]:
    """The same, beside the loop."""

    async def asked(site: Site) -> str:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, ask, site)

    return asked


def _openai(site: Site) -> str:
    with openai.OpenAI(base_url=f"{site.url}/v1", api_key=site.credential, timeout=site.timeout_s) as client:
        made = client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": site.mark}])
    return f"{type(made).__name__} {made.id}"


def completion(_: Received, mark: str) -> Said:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Done."}}
    made = {"id": mark, "object": "chat.completion", "created": 1, "model": "gpt-test", "choices": [choice]}
    return Said(body=json.dumps(made).encode())


def _anthropic(site: Site) -> str:
    with anthropic.Anthropic(base_url=site.url, api_key=site.credential, timeout=site.timeout_s) as client:
        asked = [{"role": "user", "content": site.mark}]
        made = client.messages.create(model="claude-test", max_tokens=8, messages=asked)
    return f"{type(made).__name__} {made.id}"


def message(_: Received, mark: str) -> Said:
    made = {
        "id": mark,
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [{"type": "text", "text": "Done."}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    return Said(body=json.dumps(made).encode())


def _stripe(site: Site) -> str:
    http = stripe.RequestsClient(timeout=site.timeout_s)
    client = stripe.StripeClient(site.credential, base_addresses={"api": site.url}, http_client=http)
    try:
        # StripeClient makes up a key for each call and does not try again by itself: an agent that does brings its own.
        made = client.v1.refunds.create({"charge": site.mark}, {"idempotency_key": f"refund-{site.mark}"})
    finally:
        http.close()
    return f"{type(made).__name__} {made.id}"


_MODULE = """
import json, os, sys
import stripe
stripe.api_base, stripe.api_key = os.environ["GATE"], os.environ["GATE_KEY"]
stripe.default_http_client = stripe.RequestsClient(timeout=float(sys.argv[2]))
try:
    made = stripe.Refund.create(charge=sys.argv[1])
    print(json.dumps([type(made).__name__, made.id]))
except stripe.StripeError as fault:
    print(json.dumps([type(fault).__name__, str(fault)]))
"""
"""In a process of its own, because the module has one base URL for all that a process does."""


async def _stripe_module(site: Site) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _MODULE, site.mark, f"{site.timeout_s}"),
        env={**os.environ, "GATE": site.url, "GATE_KEY": site.credential},
        stdout=asyncio.subprocess.PIPE,
    )
    name, said = json.loads((await process.communicate())[0])
    if name.endswith("Error"):
        raise getattr(stripe, name)(said)
    return f"{name} {said}"


def refund(_: Received, mark: str) -> Said:
    return Said(body=json.dumps({"id": f"re_{mark}", "object": "refund", "amount": 900, "charge": mark}).encode())


def _github(site: Site) -> str:
    auth = github.Auth.Token(site.credential)
    client = github.Github(base_url=site.url, auth=auth, timeout=int(site.timeout_s), lazy=True)
    try:
        made = client.get_repo("acme/shop").create_issue(site.mark)
        return f"{type(made).__name__} {made.title}"
    finally:
        client.close()


def issue(_: Received, mark: str) -> Said:
    url = "https://api.github.com/repos/acme/shop/issues/1"
    issue = {"id": 1, "number": 1, "title": mark, "state": "open", "url": url}
    return Said(status=201, body=json.dumps(issue).encode())


ROWS = (
    Client(
        name="openai",
        version=version("openai"),
        upstream="openai",
        settings={"catalogue": "builtin:openai", "connector": "openai"},
        ask=in_thread(_openai),
        answer=saying(completion),
        returns="ChatCompletion {mark}",
        refusal=openai.PermissionDeniedError,
        gives_up=(openai.APIConnectionError,),
        default_timeout="600 s",
        meanwhile=Meanwhile.WAITS_ON,
        unheard=Meanwhile.PENDING,
    ),
    Client(
        name="anthropic",
        version=version("anthropic"),
        upstream="anthropic",
        settings={"connector": "anthropic"},
        ask=in_thread(_anthropic),
        answer=saying(message),
        returns="Message {mark}",
        refusal=anthropic.PermissionDeniedError,
        gives_up=(anthropic.APIConnectionError,),
        default_timeout="600 s",
        meanwhile=Meanwhile.WAITS_ON,
        unheard=Meanwhile.PENDING,
    ),
    *(
        Client(
            name=name,
            version=version("stripe"),
            upstream="stripe",
            settings={"catalogue": "builtin:stripe", "connector": "stripe"},
            ask=ask,
            answer=saying(refund),
            returns="Refund re_{mark}",
            refusal=stripe.PermissionError,
            gives_up=(stripe.APIConnectionError,),
            default_timeout="80 s",
            meanwhile=Meanwhile.WAITS_ON,
            unheard=unheard,
        )
        for name, ask, unheard in (
            ("stripe, its module", _stripe_module, Meanwhile.OWN_RETRY),
            ("stripe, StripeClient", in_thread(_stripe), Meanwhile.TIMED_OUT),
        )
    ),
    Client(
        name="PyGithub",
        version=version("pygithub"),
        upstream="github",
        settings={"catalogue": "builtin:github", "connector": "github"},
        ask=in_thread(_github),
        answer=saying(issue),
        returns="Issue {mark}",
        refusal=github.GithubException,
        gives_up=(requests.exceptions.RequestException,),
        default_timeout="15 s",
        meanwhile=Meanwhile.WAITS_ON,
        unheard=Meanwhile.OWN_RETRY,
    ),
)
