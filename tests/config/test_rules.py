"""What must hold between settings."""

from __future__ import annotations

import base64

import pytest

from config.rules import RESERVED, broken
from config.settings import Settings

CORP = {"name": "corp", "issuer": "https://login.example", "agents_audience": "gate", "people_audience": "console"}
KEY = base64.b64encode(bytes(32)).decode()


def problems(**settings) -> list[tuple[str, str]]:
    return [(rule.path, rule.message) for rule in broken(Settings.model_validate(settings))]


def paths(**settings) -> list[str]:
    return [path for path, _ in problems(**settings)]


def upstream(name: str, **more) -> dict[str, object]:
    return {"name": name, "url": f"https://{name}.example", **more}


def test_the_defaults_break_no_rule():
    assert problems() == []


def test_names_are_unique():
    assert paths(upstreams=[upstream("a"), upstream("a", prefix="/b")]) == ["upstreams.1.name"]
    assert paths(issuers=[CORP, {**CORP, "name": "other"}]) == ["issuers.1.issuer"]


@pytest.mark.parametrize("prefix", ["/v1", "/v1/x", "/.well-known", "/.well-known/y"])
def test_a_prefix_of_our_own_is_refused(prefix):
    assert any(prefix.startswith(reserved) for reserved in RESERVED)
    assert paths(upstreams=[upstream("a", prefix=prefix)]) == ["upstreams.0.prefix"]


def test_an_upstream_called_v1_needs_another_prefix():
    assert paths(upstreams=[upstream("v1")]) == ["upstreams.0.prefix"]
    assert paths(upstreams=[upstream("v1", prefix="/one")]) == []


@pytest.mark.parametrize("prefix", ["stripe", "/stripe/", "/", "/a//b", "/a/../b", "/a%2fb", "/a b", ""])
def test_a_prefix_that_is_not_a_plain_path_is_refused(prefix):
    assert "upstreams.0.prefix" in paths(upstreams=[upstream("a", prefix=prefix)])


def test_prefixes_do_not_overlap():
    assert paths(upstreams=[upstream("a", prefix="/x"), upstream("b", prefix="/x/y")]) == ["upstreams.1.prefix"]
    assert paths(upstreams=[upstream("a", prefix="/x"), upstream("b", prefix="/xy")]) == []
    assert paths(upstreams=[upstream("a", prefix="/x", host="h.example"), upstream("b", prefix="/x")]) == []


def test_two_upstreams_cannot_have_one_host_to_themselves():
    assert paths(upstreams=[upstream("a", host="h.example"), upstream("b", host="h.example")]) == ["upstreams.1.host"]


@pytest.mark.parametrize("host", ["H.example", "h.example/", "h example", "*.example", "h:port", "-h", ""])
def test_a_host_that_is_not_plain_is_refused(host):
    assert paths(agents={"hosts": [host]}) == ["agents.hosts.0"]
    assert paths(upstreams=[upstream("a", host=host)]) == ["upstreams.0.host"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/x", "http://localhost:9", "http://[::1]:9", "https://login.example"]
)
def test_issuers_are_https_or_on_loopback(url):
    assert problems(issuers=[{**CORP, "issuer": url, "jwks_uri": url}]) == []


def test_a_plain_http_issuer_elsewhere_is_refused_outside_demo_mode():
    far = {**CORP, "issuer": "http://login.example", "jwks_uri": "http://127.0.0.1.example/keys"}
    assert paths(issuers=[far]) == ["issuers.0.issuer", "issuers.0.jwks_uri"]
    assert paths(issuers=[far], demo=True) == []


def test_demo_mode_listens_on_loopback_only():
    assert paths(demo=True, agents={"listen": "0.0.0.0:8400"}) == ["agents.listen"]


def test_each_door_has_its_own_address():
    assert paths(operators={"listen": "127.0.0.1:8400"}) == ["operators.listen"]
    ephemeral = {"listen": "127.0.0.1:0"}
    assert paths(agents=ephemeral, approvers=ephemeral, operators=ephemeral) == []


def test_a_port_beyond_65535_is_refused():
    assert paths(agents={"listen": "127.0.0.1:65536"}) == ["agents.listen"]


def test_people_are_sent_to_https_where_their_door_speaks_tls():
    tls = {"certificate": "door.pem", "key": "door.key"}
    assert paths(approvers={"tls": tls}) == ["approvers.public_url"]
    assert paths(approvers={"tls": tls, "public_url": "https://gate.example"}) == []


def test_people_sign_in_at_an_issuer_that_has_people():
    door = {"sign_in": {"issuer": "corp", "client_id": "x"}}
    assert paths(approvers=door) == ["approvers.sign_in.issuer"]
    assert paths(approvers=door, issuers=[{**CORP, "people_audience": None}]) == ["approvers.sign_in.issuer"]
    assert paths(approvers=door, issuers=[CORP]) == []


def test_an_audience_serves_agents_or_people_never_both():
    assert paths(issuers=[{**CORP, "people_audience": "gate"}]) == ["issuers.0.people_audience"]
    assert paths(issuers=[{"name": "corp", "issuer": "https://i"}]) == ["issuers.0"]


def test_an_issuer_vouches_for_issuers_that_exist():
    other = {**CORP, "name": "other", "issuer": "https://other.example"}
    assert paths(issuers=[{**CORP, "vouches_for": ["other", "another"]}, other]) == ["issuers.0.vouches_for.1"]


def test_roles_name_groups_that_exist():
    door = {"auditors": ["audit"], "operators": ["ops"]}
    assert paths(approvers=door) == ["approvers.auditors.0", "approvers.operators.0"]
    assert paths(approvers=door, groups={"audit": {}, "ops": {}}) == []


@pytest.mark.parametrize("member", ["ann", "corp:", "other:ann", "corp:a b", "ann@corp.example"])
def test_a_member_is_an_identity_of_a_known_issuer(member):
    assert paths(issuers=[CORP], groups={"g": {"members": ["corp:ann", member]}}) == ["groups.g.members.1"]


def test_the_public_url_of_approvers_is_an_origin_over_https():
    assert paths(approvers={"public_url": "https://a.example/console"}) == ["approvers.public_url"]
    assert paths(approvers={"public_url": "http://a.example"}) == ["approvers.public_url"]


def test_trusted_proxies_are_networks():
    assert paths(agents={"trusted_proxies": ["10.0.0.0/8", "10.0.0.1/8", "proxy"]}) == [
        "agents.trusted_proxies.1",
        "agents.trusted_proxies.2",
    ]


@pytest.mark.parametrize(
    "name", ["authorization", "cookie", "x-forwarded-for", "impersonate-user", "assentry-call", "Accept", "a b", ""]
)
def test_headers_that_never_travel_cannot_be_listed(name):
    assert paths(upstreams=[upstream("a", headers=["x-team", name])]) == ["upstreams.0.headers.1"]


def test_a_service_account_impersonates_nobody_that_the_cluster_itself_has():
    for prefix, wrong in (("system:", ["upstreams.0.credential.prefix"]), ("agents:", [])):
        credential = {"kind": "service-account", "impersonate": "agent", "prefix": prefix}
        assert paths(upstreams=[upstream("a", credential=credential)]) == wrong


def test_client_secrets_are_not_sent_in_the_clear():
    credential = {"kind": "oauth2", "token_url": "http://t.example", "client_id": "c", "client_secret": "s"}
    assert paths(upstreams=[upstream("a", credential=credential)]) == ["upstreams.0.credential.token_url"]


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.0.0.1:1", "http://10.1.2.3", "http://[fd00::1]"])
def test_private_addresses_need_to_be_meant(url):
    here = {"name": "a", "url": url}
    assert paths(upstreams=[here]) == ["upstreams.0.url"]
    assert paths(upstreams=[{**here, "private_networks": True}]) == []


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://[fe80::1]"])
def test_link_local_addresses_are_refused_always(url):
    assert paths(upstreams=[{"name": "a", "url": url, "private_networks": True}]) == ["upstreams.0.url"]


def test_a_shared_store_needs_a_key_of_32_bytes():
    assert paths(store={"url": "redis://h:6379"}) == ["store.encryption_key"]
    assert paths(store={"url": "redis://h:6379", "encryption_key": KEY}) == []
    assert paths(store={"former_encryption_keys": [KEY, "c2hvcnQ="]}) == ["store.former_encryption_keys.1"]
    assert paths(store={"encryption_key": "c2hvcnQ="}) == ["store.encryption_key"]
    assert paths(store={"encryption_key": "not base64 at all, but 32 bytes!"}) == ["store.encryption_key"]


def test_no_client_waits_longer_than_the_longest_wait():
    assert paths(holds={"wait_s": 700}) == ["holds.wait_s"]
    assert paths(holds={"open_per_agent": 20, "open_total": 10}) == ["holds.open_per_agent"]


def test_the_largest_body_has_room():
    assert paths(limits={"body_bytes": 10, "bodies_bytes": 9}) == ["limits.bodies_bytes"]
    assert paths(limits={"body_bytes": 10, "bodies_bytes": 10}) == []


def test_what_signs_for_aws_says_where():
    keys = {"kind": "aws", "access_key_id": "id", "secret_access_key": "secret"}
    place = {"service": "s3", "region": "eu-central-1"}
    assert paths(upstreams=[upstream("a", connector="aws", aws=place, credential=keys)]) == []
    assert paths(upstreams=[upstream("a", connector="aws", credential=keys)]) == [
        "upstreams.0.aws",
        "upstreams.0.connector",
    ]
    assert paths(upstreams=[upstream("a", aws=place)]) == ["upstreams.0.connector"]


@pytest.mark.parametrize(
    "url", ["https://acme.s3.eu-central-1.amazonaws.com", "https://s3.eu-central-1.amazonaws.com/acme"]
)
def test_an_upstream_of_aws_is_a_service_and_not_a_bucket(url):
    place = {"service": "s3", "region": "eu-central-1"}
    assert paths(upstreams=[{"name": "a", "url": url, "connector": "aws", "aws": place}]) == ["upstreams.0.url"]
