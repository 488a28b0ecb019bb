"""Streams of the openai and anthropic SDKs pass token by token, whether the call was held before or not.

The fake API keeps the second token back until the client has seen the first: a gate that waits for more would wait
for ever.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.clients.matrix.deciding import LAW
from tests.fakes.house import House, house
from tests.fakes.upstream import Answer, Received, upstream

OPEN_LAW = '@id("agents-may") permit (principal in Group::"bots", action, resource);'
# What people decide is the same for both; the shipped policies hold what no catalogue names.
LAWS = {"allowed": OPEN_LAW, "held": LAW}
TOKENS = ("The", " shop", " is", " open")
Tokens = AsyncIterator[str]


def openai_events() -> list[bytes]:
    def event(delta: dict[str, str], ended: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": ended}
        made = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        return b"data: %b\n\n" % json.dumps(made).encode()

    return [*(event({"content": token}) for token in TOKENS), event({}, "stop") + b"data: [DONE]\n\n"]


def anthropic_events() -> list[bytes]:
    def event(kind: str, **members: Any) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **members}).encode())

    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    begun = event("message_start", message={**message, "stop_reason": None, "stop_sequence": None})
    begun += event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    deltas = [event("content_block_delta", index=0, delta={"type": "text_delta", "text": token}) for token in TOKENS]
    ended = event("content_block_stop", index=0)
    ended += event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=usage)
    return [begun + deltas[0], *deltas[1:], ended + event("message_stop")]


async def openai_tokens(url: str, key: str) -> Tokens:
    async with openai.AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=key) as client:
        asked = [{"role": "user", "content": "Is it open?"}]
        stream = await client.chat.completions.create(model="m", messages=asked, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


async def anthropic_tokens(url: str, key: str) -> Tokens:
    async with anthropic.AsyncAnthropic(base_url=f"{url}/anthropic", api_key=key) as client:
        asked = [{"role": "user", "content": "Is it open?"}]
        async with client.messages.stream(model="m", max_tokens=8, messages=asked) as stream:
            async for token in stream.text_stream:
                yield token


def in_step(events: list[bytes], seen: asyncio.Semaphore) -> Answer:
    """Writes an event, and the next when the client has seen the one before."""

    async def write(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for number, event in enumerate(events):
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            if number < len(TOKENS):
                await seen.acquire()
        writer.write(b"0\r\n\r\n")

    return write


@asynccontextmanager
async def streaming(folder: Path, way: str, events: list[bytes], seen: asyncio.Semaphore) -> AsyncIterator[House]:
    async with upstream() as api:
        api.default = in_step(events, seen)
        upstreams = [
            {
                "name": name,
                "url": f"{api.url}/{name}",
                "connector": name,
                "catalogue": f"builtin:{name}",
                "private_networks": True,
                "credential": {"kind": "bearer", "token": "file:credential"},
            }
            for name in ("openai", "anthropic")
        ]
        review = '@id("review") permit (principal in Group::"leads", action in Action::"review", resource);'
        policies = LAWS[way] if way == "held" else f"{LAWS[way]}\n{review}"
        async with house(folder / "house", policies=policies, upstreams=upstreams) as home:
            yield home


@pytest.mark.parametrize("way", LAWS)
@pytest.mark.parametrize(
    ("tokens", "events"),
    [(openai_tokens, openai_events), (anthropic_tokens, anthropic_events)],
    ids=["openai", "anthropic"],
)
async def test_a_stream_passes_token_by_token(
    tmp_path: Path, way: str, tokens: Callable[[str, str], Tokens], events: Callable[[], list[bytes]]
) -> None:
    seen, came = asyncio.Semaphore(0), []
    async with asyncio.timeout(30), streaming(tmp_path, way, events(), seen) as home:
        if way == "held":
            home.begin(approved(home))
        async for token in tokens(home.gate.agents_url, home.agent_token()):
            came.append(token)
            seen.release()
        assert len(await home.holds()) == (1 if way == "held" else 0)
    assert tuple(came) == TOKENS


async def approved(home: House) -> None:
    assert (await home.person("ann").approve(await home.wait_for_hold())).status == 200
