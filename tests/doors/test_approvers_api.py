"""The approvers' API over its socket: every route, for those who may, for those who may not, and for strangers."""

from __future__ import annotations

import asyncio
import re

import jsonschema_rs
import orjson
import pytest
import pytest_asyncio
from aiohttp import ClientTimeout

from policy.reasons import Reason
from proxy.doors import documents
from tests.fakes.approvers import approvers

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABSENT = "call_01JTESTTESTTESTTESTTESTTES"
NOBODY = {"fingerprint": "0" * 64}
ROUTES = [
    ("GET", "/v1/me", None),
    ("GET", "/v1/holds", None),
    ("GET", f"/v1/holds/{ABSENT}", None),
    ("POST", f"/v1/holds/{ABSENT}/approve", NOBODY),
    ("POST", f"/v1/holds/{ABSENT}/reject", NOBODY),
    ("POST", f"/v1/holds/{ABSENT}/withdraw", NOBODY),
    ("GET", "/v1/ledger/stream", None),
    ("GET", "/v1/denials", None),
    ("POST", "/v1/denials", {"kind": "subject", "value": "demo:nobody"}),
    ("DELETE", "/v1/denials/subject/demo:nobody", None),
]
named = pytest.mark.parametrize(("method", "path", "document"), ROUTES, ids=[f"{m} {p}" for m, p, _ in ROUTES])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(tmp_path_factory):
    async with approvers(tmp_path_factory.mktemp("office")) as running:
        yield running


def is_problem(page, reason):
    assert page.headers["Content-Type"].startswith("application/problem+json")
    assert page.json["reason"] == reason.value, page.json
    assert page.json["status"] == page.status
    documents.ProblemDocument.model_validate_json(page.body)
    return True


# Who is let in.


@named
async def test_a_stranger_is_asked_who_they_are(office, method, path, document):
    page = await office.api("", method, path, document)
    assert page.status == 401
    assert is_problem(page, Reason.IDENTITY_MISSING)
    assert page.headers["WWW-Authenticate"] == 'Bearer realm="approvers"'


@named
async def test_an_agents_token_is_refused(office, method, path, document):
    token = office.demo.issuer.agent_token("billing-bot")
    page = await office.api("", method, path, document, Authorization=f"Bearer {token}")
    assert page.status == 403
    assert is_problem(page, Reason.NOT_A_PERSON)


@named
async def test_a_token_that_somebody_acts_with_is_refused(office, method, path, document):
    token = office.demo.issuer.agent_token("billing-bot", aud="assentry-people", sub="ann", act={"sub": "billing-bot"})
    page = await office.api("", method, path, document, Authorization=f"Bearer {token}")
    assert page.status == 403
    assert is_problem(page, Reason.NOT_A_PERSON)


@named
async def test_an_agent_key_is_refused(office, method, path, document):
    page = await office.api("", method, path, document, Authorization=f"Bearer {office.demo.agent_key}")
    assert page.status == 401
    assert is_problem(page, Reason.IDENTITY_INVALID)


@pytest.mark.parametrize("shown", ["Basic YW5uOg==", "Bearer", "Bearer  ", "bearer x.y.z", "Token abc", "é"])
async def test_what_is_no_bearer_token_is_refused(office, shown):
    page = await office.api("", "GET", "/v1/me", Authorization=shown)
    assert page.status == 401


async def test_a_token_in_the_query_or_a_cookie_is_not_read(office):
    token = office.demo.issuer.person_token("ann")
    assert (await office.api("", "GET", f"/v1/me?access_token={token}")).status == 401
    assert (await office.api("", "GET", "/v1/me", Cookie=f"assentry-session={token}")).status == 401


async def test_a_session_of_the_console_does_not_open_the_api(office):
    async with office.browser() as ann:
        await ann.sign_in("ann")
        assert (await ann.get("/")).status == 200
        assert (await ann.get("/v1/me")).status == 401


async def test_who_you_are_is_said_back(office):
    page = await office.api("ann", "GET", "/v1/me")
    assert page.json == {"identity": "demo:ann", "name": "Ann", "groups": ["auditors", "finance-leads"]}


# Holds.


async def test_held_calls_are_listed_most_urgent_first_and_without_their_bodies(office):
    small, great = await office.held(25_000), await office.held(250_000)
    listed = (await office.api("ann", "GET", "/v1/holds")).json["holds"]
    ids = [hold["id"] for hold in listed]
    assert ids.index(great) < ids.index(small)
    assert {hold["severity"] for hold in listed[: ids.index(great) + 1]} == {"high"}
    assert all("amount=" not in hold["body"] for hold in listed)


async def test_the_settled_are_listed_apart_from_the_open(office):
    still, gone = await office.held(), await office.held()
    await office.decide("ann", "withdraw", gone)
    opened = [hold["id"] for hold in (await office.api("ann", "GET", "/v1/holds?state=open")).json["holds"]]
    settled = [hold["id"] for hold in (await office.api("ann", "GET", "/v1/holds?state=settled")).json["holds"]]
    assert (still in opened, still in settled) == (True, False)
    assert (gone in opened, gone in settled) == (False, True)


@pytest.mark.parametrize(
    "query", ["?state=all", "?state=", "?state=open&state=settled", "?state=OPEN", "?state=%00", "?state=%ff"]
)
async def test_any_other_state_is_refused(office, query):
    assert is_problem(await office.api("ann", "GET", f"/v1/holds{query}"), Reason.MALFORMED)


async def test_a_brief_says_what_will_happen_and_to_whom(office):
    call = await office.held(250_000, charge="ch_77", said={"Assentry-Reason": "ann@example.com complained"})
    seen = await office.show(call)
    assert seen["sentence"] == "Refund 2,500.00 EUR of charge ch_77, through stripe, prod"
    assert seen["body"] == "charge=ch_77&amount=250000"
    assert {"label": "amount", "text": "2,500.00 EUR (sent as 250000)"} in seen["change"]
    assert {"label": "owner", "text": "demo:olga"} in seen["who"]
    assert seen["hidden_bytes"] == 0
    if seen["agent_words"]:
        assert "ann@example.com" in seen["agent_words"][0]["text"]


async def test_a_secret_in_a_call_is_shown_as_a_stable_fingerprint(office):
    first, second = [
        await office.show(await office.held(body=f"charge=ch_s{n}&amount=25000&metadata[k]=sk_live_aaaabbbbcccc"))
        for n in (1, 2)
    ]
    assert "sk_live" not in orjson.dumps([first, second]).decode()
    marks = [set(re.findall(r"\[key hmac:[0-9a-f]{12}\]", str(seen))) for seen in (first, second)]
    assert marks[0] == marks[1]
    assert len(marks[0]) == 1


async def test_a_hold_that_nobody_has_is_not_found(office):
    for call in (ABSENT, "x", "%2e%2e", "call_%00", "%ff", "a" * 3000):
        page = await office.api("ann", "GET", f"/v1/holds/{call}")
        assert page.status == 404
        assert is_problem(page, Reason.NO_SUCH_HOLD)


async def test_an_approval_counts_and_the_brief_says_how_far_it_is(office):
    call = await office.held(250_000)
    before = await office.show(call)
    assert before["progress"][-1] == {"gate": "refund-over-1000", "group": "finance-leads", "have": 0, "need": 2}
    after = (await office.decide("ann", "approve", call)).json
    assert (after["state"], after["votes"]) == ("pending", [{"name": "Ann", "vote": "approve", "reason": ""}])
    assert after["progress"][-1] == {"gate": "refund-over-1000", "group": "finance-leads", "have": 1, "need": 2}
    listed = (await office.api("ben", "GET", "/v1/holds")).json["holds"]
    assert next(hold for hold in listed if hold["id"] == call)["progress"][-1]["have"] == 1
    done = (await office.decide("ben", "approve", call)).json
    assert (done["state"], done["progress"]) == ("approved", [])


async def test_the_same_person_does_not_count_twice(office):
    call = await office.held(250_000)
    await office.decide("ann", "approve", call)
    page = await office.decide("ann", "approve", call)
    assert page.status == 409
    assert is_problem(page, Reason.ALREADY_VOTED)


@pytest.mark.parametrize("act", ["approve", "reject", "withdraw"])
async def test_a_decision_on_something_else_than_what_is_held_is_refused(office, act):
    call, other = await office.held(), await office.held()
    shown = await office.show(other)
    decision = {"fingerprint": shown["fingerprint"], "shown": shown["shown"], "reason": "no"}
    page = await office.api("ann", "POST", f"/v1/holds/{call}/{act}", decision)
    assert page.status == 409
    assert is_problem(page, Reason.FINGERPRINT_CHANGED)
    assert (await office.show(call))["state"] == "pending"


async def test_who_comes_too_late_is_told_who_was_first(office):
    call = await office.held()
    await office.decide("ann", "reject", call, reason="twice already")
    page = await office.decide("ben", "approve", call)
    assert page.status == 409
    assert is_problem(page, Reason.ALREADY_DECIDED)
    assert "rejected by Ann" in page.json["detail"]


@pytest.mark.parametrize("reason", ["", "   ", "\t\n"])
async def test_a_rejection_without_a_reason_meets_the_policys_own_words(office, reason):
    call = await office.held()
    page = await office.decide("ann", "reject", call, reason=reason)
    assert page.status == 403
    assert is_problem(page, Reason.NOT_ENTITLED)
    assert "Say why" in page.json["detail"]


async def test_whoever_answers_for_the_agent_does_not_approve(office):
    call = await office.held()
    page = await office.decide("olga", "approve", call)
    assert page.status == 403
    assert is_problem(page, Reason.OWN_CALL)


async def test_more_than_was_shown_is_not_approved(office):
    call = await office.held(body="charge=ch_long&amount=25000&metadata[a]=" + "x" * 70_000 + "&metadata[b]=hidden")
    short = await office.show(call)
    assert short["hidden_bytes"] > 0
    assert "hidden" not in short["body"]
    page = await office.decide("ann", "approve", call)
    assert page.status == 409
    assert is_problem(page, Reason.NOT_SHOWN_WHOLE)
    whole = (await office.api("ann", "GET", f"/v1/holds/{call}?whole=true")).json
    assert whole["hidden_bytes"] == 0
    assert whole["body"].endswith("&metadata[b]=hidden")
    decision = {"fingerprint": whole["fingerprint"], "shown": whole["shown"]}
    assert (await office.api("ann", "POST", f"/v1/holds/{call}/approve", decision)).json["state"] == "approved"


async def test_what_was_not_shown_whole_may_still_be_rejected(office):
    call = await office.held(body="charge=ch_long2&amount=25000&metadata[a]=" + "x" * 70_000)
    assert (await office.decide("ann", "reject", call, reason="too long")).json["state"] == "rejected"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"{",
        b'"x"',
        b'{"fingerprint": "x"}',
        b'{"fingerprint": "%s"}' % (b"G" * 64),
        b'{"fingerprint": "%s", "force": true}' % (b"0" * 64),
        b'{"fingerprint": "%s", "reason": 5}' % (b"0" * 64),
        b'{"fingerprint": "%s", "reason": "%s"}' % (b"0" * 64, b"x" * 2001),
        b'{"fingerprint": "%s", "reason": "\\ud800"}' % (b"0" * 64),
        b"[" * 5000,
        b"\xff\xfe",
    ],
    ids=range(14),
)
async def test_a_malformed_decision_is_refused(office, body):
    page = await office.api("ann", "POST", f"/v1/holds/{ABSENT}/approve", body=body)
    assert page.status == 400
    assert is_problem(page, Reason.MALFORMED)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_a_decision_of_another_type_is_refused(office, kind):
    page = await office.api("ann", "POST", f"/v1/holds/{ABSENT}/approve", body=b"{}", Content_Type=kind)
    assert page.status == 415
    assert is_problem(page, Reason.ENCODING_NOT_ALLOWED)


async def test_a_body_without_end_is_refused(office):
    page = await office.api("ann", "POST", f"/v1/holds/{ABSENT}/approve", body=b" " * 70_000)
    assert page.status == 413
    assert is_problem(page, Reason.BODY_TOO_LARGE)


# The ledger and the deny list.


async def test_the_ledger_is_followed_by_auditors_only(office):
    for person in ("ben", "olga"):
        page = await office.api(person, "GET", "/v1/ledger/stream")
        assert page.status == 403
        assert is_problem(page, Reason.NOT_ENTITLED)
    call = ""
    bearer = {"Authorization": f"Bearer {office.demo.issuer.person_token('ann')}"}
    async with office.session.get(f"{office.url}/v1/ledger/stream", headers=bearer) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        assert await stream.content.readline() == b": following\n"
        call = await office.held()
        async with asyncio.timeout(10):
            async for line in stream.content:
                if line.startswith(b"data: ") and call.encode() in line:
                    break
        assert orjson.loads(line.removeprefix(b"data: "))["call"] == call


async def test_the_deny_list_is_for_operators_only(office):
    entry = {"kind": "subject", "value": "demo:mallory", "reason": "gone"}
    for person in ("ann", "ben"):
        assert is_problem(await office.api(person, "GET", "/v1/denials"), Reason.NOT_ENTITLED)
        assert is_problem(await office.api(person, "POST", "/v1/denials", entry), Reason.NOT_ENTITLED)
        assert is_problem(await office.api(person, "DELETE", "/v1/denials/subject/demo:mallory"), Reason.NOT_ENTITLED)
    assert (await office.api("olga", "GET", "/v1/denials")).json == {"denials": []}


async def test_an_operator_shuts_out_and_lets_in_again(office):
    added = await office.api("olga", "POST", "/v1/denials", {"kind": "subject", "value": "demo:ben", "reason": "left"})
    assert (added.status, added.json["by"]) == (200, "demo:olga")
    try:
        assert is_problem(await office.api("ben", "GET", "/v1/me"), Reason.IDENTITY_REVOKED)
        (listed,) = (await office.api("olga", "GET", "/v1/denials")).json["denials"]
        assert (listed["value"], listed["reason"], listed["at"][:2]) == ("demo:ben", "left", "20")
    finally:
        removed = await office.api("olga", "DELETE", "/v1/denials/subject/demo:ben")
    assert (removed.status, removed.body) == (204, b"")
    assert (await office.api("ben", "GET", "/v1/me")).status == 200
    again = await office.api("olga", "DELETE", "/v1/denials/subject/demo:ben")
    assert is_problem(again, Reason.NO_SUCH_HOLD)


async def test_who_wrote_a_denial_and_when_is_the_gates_to_say(office):
    forged = {"kind": "subject", "value": "demo:x", "by": "demo:ann", "at": "2020-01-01T00:00:00Z"}
    added = (await office.api("olga", "POST", "/v1/denials", forged)).json
    await office.api("olga", "DELETE", "/v1/denials/subject/demo:x")
    assert added["by"] == "demo:olga"
    assert not added["at"].startswith("2020")


@pytest.mark.parametrize("path", ["subject/nobody", "subject/demo:%0a", "subject/demo:%3Cb%3E", "token/%E2%80%AE:x"])
async def test_a_denial_that_cannot_be_is_not_removed(office, path):
    assert is_problem(await office.api("olga", "DELETE", f"/v1/denials/{path}"), Reason.MALFORMED)


# The door itself.


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost", "evil.example:{port}", "127.0.0.1:{port}.evil.example"],
)
async def test_another_host_is_not_served(office, host):
    host = host.format(port=office.url.rsplit(":", 1)[1])
    for path in ("/v1/me", "/openapi.json", "/", "/nothing"):
        page = await office.api("ann", "GET", path, Host=host)
        assert page.status == 421
        assert is_problem(page, Reason.UNKNOWN_HOST)


async def test_two_hosts_are_not_served(office):
    name = office.url.removeprefix("http://")
    host, port = name.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET / HTTP/1.1\r\nHost: {name}\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.split(b" ")[1] in {b"400", b"421"}


@pytest.mark.parametrize("path", ["/v1/me", "/v1/holds", "/openapi.json", "/v1/nothing"])
async def test_every_answer_of_the_api_is_kept_nowhere_and_framed_nowhere(office, path):
    page = await office.api("ann", "GET", path)
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "Server" not in page.headers


@pytest.mark.parametrize("accept", ["text/html", "*/*", "text/html,application/json;q=0.9"])
async def test_the_api_answers_in_json_whatever_a_browser_would_like(office, accept):
    for path in ("/v1/me", "/v1/nothing", f"/v1/holds/{ABSENT}"):
        page = await office.api("", "GET", path, Accept=accept)
        assert page.headers["Content-Type"].startswith("application/problem+json")


async def test_a_method_that_a_path_does_not_take_is_named_as_such(office):
    page = await office.api("ann", "PUT", "/v1/holds", {})
    assert page.status == 405
    assert is_problem(page, Reason.METHOD_NOT_ALLOWED)
    assert page.headers["Allow"] == "GET"


async def test_looking_never_decides(office):
    call = await office.held()
    for method in ("GET", "HEAD", "OPTIONS"):
        for act in ("approve", "reject", "withdraw"):
            assert (await office.api("ann", method, f"/v1/holds/{call}/{act}")).status in {404, 405}
    assert (await office.show(call))["state"] == "pending"


# What is described is what is there.


async def test_the_description_is_valid_openapi_and_names_exactly_the_routes(office):
    described = (await office.api("", "GET", "/openapi.json")).json
    assert described["openapi"] == "3.1.0"
    assert described["servers"] == [{"url": office.url}]
    operations = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    wanted = {
        (method, re.sub(r"/(?:subject/demo:nobody)$", "/{kind}/{value}", path.replace(ABSENT, "{id}")))
        for method, path, _ in ROUTES
    }
    assert operations == wanted
    for schema in described["components"]["schemas"].values():
        jsonschema_rs.validator_for({**schema, "components": described["components"]})
    ids = [operation["operationId"] for methods in described["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


async def test_every_documented_schema_is_used_and_every_reference_leads_somewhere(office):
    described = (await office.api("", "GET", "/openapi.json")).json
    used = set(re.findall(r'"#/components/schemas/(\w+)"', orjson.dumps(described).decode()))
    assert used == set(described["components"]["schemas"])


async def test_a_stream_does_not_keep_the_door_from_closing(tmp_path):
    async with approvers(tmp_path) as short:
        bearer = {"Authorization": f"Bearer {short.demo.issuer.person_token('ann')}"}
        stream = await short.session.get(f"{short.url}/v1/ledger/stream", headers=bearer, timeout=ClientTimeout())
        await stream.content.readline()
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 4
    stream.close()
