"""Kubernetes calls that look like others: whatever is not certain is unknown, which the shipped policies hold."""

from __future__ import annotations

import pytest

from connectors.apis.naming import BadBody
from policy.call import Target
from tests.connectors.kubernetes.cluster import KUBE, named, operation

UNKNOWN = [
    # Slashes, dots and escapes that the server or a proxy before it may fold.
    "GET /api/v1/namespaces/x/../../../api/v1/secrets",
    "GET /api/v1/namespaces/x/./pods",
    "GET /api/v1//namespaces/x/pods",
    "GET //api/v1/namespaces/x/pods",
    "GET /api/v1/namespaces/x/pods/",
    "GET /api/v1/namespaces/x%2Fpods",
    "DELETE /api/v1/namespaces/x/pods/a%2F..%2Fb",
    "GET /api/v1/namespaces/x/pods/%2e%2e",
    "GET /api/v1/namespaces/x/pods/..",
    "GET /api/v1/namespaces/x/%73ecrets/s",
    "GET /%61pi/v1/namespaces/x/secrets/s",
    "DELETE /api/v1/namespaces/x/pods/%E2%80%AE",
    "DELETE /api/v1/namespaces/x/pods/%FF",
    "DELETE /api/v1/namespaces/x/pods/a%2525b",
    # Case.
    "GET /api/v1/namespaces/x/Secrets/s",
    "GET /API/v1/namespaces/x/pods",
    "GET /api/V1/namespaces/x/pods",
    "GET /api/v1/Namespaces/x/pods",
    "GET /api/v1/namespaces/X/pods",
    "GET /apis/Apps/v1/namespaces/x/deployments",
    "delete /api/v1/namespaces/x/pods/p",
    # Things where they are not served: in no namespace, in one too many, below the wrong thing.
    "DELETE /api/v1/pods",
    "POST /api/v1/pods",
    "GET /api/v1/pods/p",
    "GET /api/v1/watch/pods/p",
    "GET /api/v1/namespaces/x/nodes/n",
    "GET /api/v1/namespaces/x/namespaces/y",
    "DELETE /api/v1/namespaces",
    "POST /api/v1/namespaces/x/pods/p",
    "PUT /api/v1/namespaces/x/pods",
    "PATCH /api/v1/namespaces/x/pods",
    "GET /apis/apps/v1/namespaces/x",
    "GET /apis/apps/v1/namespaces/x/pods",
    "GET /api/v1/namespaces/x/deployments",
    "GET /apis//v1/namespaces/x/pods",
    # Subresources that are none, or one more.
    "GET /api/v1/namespaces/x/pods/p/logs",
    "GET /api/v1/namespaces/x/pods/p/Exec",
    "GET /api/v1/namespaces/x/pods/p/log/extra",
    "GET /api/v1/namespaces/x/pods/p/exec/extra",
    "POST /api/v1/namespaces/x/pods/p/log",
    "DELETE /api/v1/namespaces/x/pods/p/status",
    "PUT /api/v1/namespaces/x/status/y",
    "GET /api/v1/namespaces/x/secrets/s/status",
    "GET /api/v1/namespaces/x/configmaps/c/proxy",
    "GET /apis/apps/v1/namespaces/x/deployments/d/exec",
    # Verbs of old, and methods that are none.
    "GET /api/v1/proxy/namespaces/x/pods/p",
    "GET /api/v1/redirect/nodes/n",
    "DELETE /api/v1/watch/namespaces/x/pods/p",
    "GET /api/v1/watch/namespaces/x/pods/p/exec",
    "GET /api/v1/watch",
    "OPTIONS /api/v1/namespaces/x/pods",
    "OPTIONS /api/v1/namespaces/x/services/s/proxy",
    # A watch that another reader takes for a list.
    "GET /api/v1/namespaces/x/pods?watch=0&watch=1",
    "GET /api/v1/namespaces/x/pods?Watch=1",
    "GET /api/v1/namespaces/x/pods?watch[]=1",
    # What else a server may have.
    "GET /logs/kube-apiserver.log",
    "GET /debug/pprof/heap",
    "POST /healthz",
    "GET /healthz/../api/v1/secrets",
    "GET /apis/example.com/v1/widgets",
    "GET /api/v1/namespaces/x/services/s:80/proxy/%61dmin",
]


@pytest.mark.parametrize("line", UNKNOWN)
def test_a_line_that_two_readers_could_take_differently_is_unknown(line: str):
    assert operation(line) == "unknown"


def test_a_watch_is_a_watch_however_it_is_spelt():
    for query in ("watch=1", "watch=TRUE", "%77atch=1", "watch=x", "limit=1&watch"):
        assert operation(f"GET /api/v1/namespaces/x/secrets?{query}") == "secrets.watch"


def test_a_named_secret_is_not_read_as_a_list_and_a_list_is_not_one_object():
    assert operation("GET /api/v1/namespaces/x/secrets?fieldSelector=metadata.name%3Ds") == "secrets.list"
    assert operation("GET /api/v1/namespaces/x/secrets/s") == "secrets.get"


def test_a_namespace_called_like_a_subresource_is_a_namespace():
    assert operation("DELETE /api/v1/namespaces/status") == "namespaces.delete"
    assert operation("DELETE /api/v1/namespaces/status/pods/p") == "pods.delete"
    assert named("GET /api/v1/namespaces/finalize/pods").input.values["namespace"] == "finalize"


def test_an_object_of_the_body_cannot_pass_for_another_one():
    for body in (b'{"metadata": {"Name": "a"}}', b'{"Metadata": {"name": "a"}}', b'{"metadata": {"name": ["a"]}}'):
        assert "name" in named("POST /api/v1/namespaces/x/pods", body).input.unreadable
    twice = KUBE.name_call(
        Target(method="POST", path="/api/v1/namespaces/x/pods"),
        (("content-type", "application/json"),),
        b'{"metadata": {"name": "a", "name": "b"}}',
    )
    assert isinstance(twice, BadBody)


def test_a_deletion_that_only_says_that_it_is_dry_is_not():
    line = "DELETE /api/v1/namespaces/x/pods/p?dryRun=All"
    for body, kind in ((b"{}", "application/json"), (b"dryRun: [All]", "application/yaml"), (b"k8s\0", None)):
        assert named(line, body, content_type=kind).input.values["dryRun"] is False
    for lie in ("dryRun=All&dryRun=None", "dryRun=all", "dryRun=All%20", "dryRun[]=All"):
        assert named(f"DELETE /api/v1/namespaces/x/pods/p?{lie}").input.values["dryRun"] is False
