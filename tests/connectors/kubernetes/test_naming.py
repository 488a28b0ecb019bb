"""Calls are named as kube-apiserver's RequestInfo reads them, and carry what a policy needs to know of them."""

from __future__ import annotations

import pytest

from connectors.apis.catalogue import load
from connectors.apis.errors import CatalogueRefused
from policy.operation import OperationClass, Tier
from tests.connectors.kubernetes.cluster import named, namer, operation

LINES = {
    # Reading (https://kubernetes.io/docs/reference/using-api/api-concepts/).
    "GET /api/v1/pods": "pods.list",
    "GET /api/v1/pods?limit=500&continue=abc": "pods.list",
    "GET /api/v1/namespaces/test/pods": "pods.list",
    "HEAD /api/v1/namespaces/test/pods": "pods.list",
    "GET /api/v1/namespaces/test/pods?watch=1&resourceVersion=10245&allowWatchBookmarks=true": "pods.watch",
    "GET /api/v1/namespaces/test/pods?watch=true": "pods.watch",
    "GET /api/v1/namespaces/test/pods?watch": "pods.watch",
    "GET /api/v1/namespaces/test/pods?watch=": "pods.watch",
    "GET /api/v1/namespaces/test/pods?watch=yes": "pods.watch",
    "GET /api/v1/namespaces/test/pods?watch=0": "pods.list",
    "GET /api/v1/namespaces/test/pods?watch=False": "pods.list",
    "GET /api/v1/watch/namespaces/test/pods": "pods.watch",
    "GET /api/v1/watch/namespaces/test/pods/web": "pods.watch",
    "GET /api/v1/watch/pods": "pods.watch",
    "GET /apis/apps/v1/watch/deployments": "deployments.watch",
    "GET /api/v1/namespaces/test/pods/web": "pods.get",
    "HEAD /api/v1/namespaces/test/pods/web": "pods.get",
    "GET /api/v1/namespaces/test/pods/web?watch=1": "pods.get",
    "GET /api/v1/namespaces/test/pods/web/log?follow=true&tailLines=20": "pods.log.get",
    "GET /api/v1/namespaces/test/pods/web/status": "pods.status.get",
    "GET /api/v1/namespaces": "namespaces.list",
    "GET /api/v1/namespaces?watch=true": "namespaces.watch",
    "GET /api/v1/namespaces/test": "namespaces.get",
    "GET /api/v1/namespaces/test/status": "namespaces.status.get",
    "GET /api/v1/nodes": "nodes.list",
    "GET /api/v1/nodes/node-1": "nodes.get",
    "GET /api/v1/componentstatuses/scheduler": "componentstatuses.get",
    "GET /apis/metrics.k8s.io/v1beta1/nodes": "nodes.metrics.k8s.io.list",
    "GET /apis/metrics.k8s.io/v1beta1/namespaces/test/pods/web": "pods.metrics.k8s.io.get",
    "GET /apis/events.k8s.io/v1/namespaces/test/events": "events.events.k8s.io.list",
    "GET /api/v1/namespaces/test/events": "events.list",
    "GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system:node": "clusterroles.get",
    "GET /apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode": "clusterroles.get",
    # Changing.
    "POST /api/v1/namespaces/test/pods": "pods.create",
    "POST /api/v1/namespaces/test/pods?dryRun=All": "pods.create",
    "POST /api/v1/namespaces": "namespaces.create",
    "PUT /apis/apps/v1/namespaces/test/deployments/web": "deployments.update",
    "PATCH /apis/apps/v1/namespaces/test/deployments/web": "deployments.patch",
    "PATCH /apis/apps/v1/namespaces/test/deployments/web?fieldManager=kubectl&force=true": "deployments.patch",
    "GET /apis/apps/v1/namespaces/test/deployments/web/scale": "deployments.scale.get",
    "PUT /apis/apps/v1/namespaces/test/deployments/web/scale": "deployments.scale.update",
    "PATCH /apis/apps/v1/namespaces/test/statefulsets/db/scale": "statefulsets.scale.patch",
    "PUT /api/v1/namespaces/test/finalize": "namespaces.finalize.update",
    "POST /api/v1/namespaces/test/pods/web/eviction": "pods.eviction.create",
    "POST /api/v1/namespaces/test/pods/web/binding": "pods.binding.create",
    "POST /api/v1/namespaces/test/bindings": "bindings.create",
    "PATCH /api/v1/namespaces/test/pods/web/ephemeralcontainers": "pods.ephemeralcontainers.patch",
    "PATCH /api/v1/namespaces/test/pods/web/resize": "pods.resize.patch",
    "POST /api/v1/namespaces/test/serviceaccounts/ci/token": "serviceaccounts.token.create",
    "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews": "selfsubjectaccessreviews.create",
    "POST /apis/authorization.k8s.io/v1/namespaces/test/localsubjectaccessreviews": "localsubjectaccessreviews.create",
    "PUT /apis/certificates.k8s.io/v1/certificatesigningrequests/ann/approval": (
        "certificatesigningrequests.approval.update"
    ),
    "PATCH /api/v1/nodes/node-1": "nodes.patch",
    "POST /apis/batch/v1/namespaces/test/jobs": "jobs.create",
    "PUT /apis/autoscaling/v2/namespaces/test/horizontalpodautoscalers/web": "horizontalpodautoscalers.update",
    "POST /apis/rbac.authorization.k8s.io/v1/namespaces/test/rolebindings": "rolebindings.create",
    # Deleting.
    "DELETE /api/v1/namespaces/test/pods/web": "pods.delete",
    "DELETE /api/v1/namespaces/test/pods": "pods.deletecollection",
    "DELETE /api/v1/namespaces/test/pods?labelSelector=app%3Dweb": "pods.deletecollection",
    "DELETE /api/v1/namespaces/test": "namespaces.delete",
    "DELETE /api/v1/nodes": "nodes.deletecollection",
    "DELETE /apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com": (
        "customresourcedefinitions.delete"
    ),
    # Opening: one name whatever the method.
    "POST /api/v1/namespaces/test/pods/web/exec?command=ls&container=app&stdout=true": "pods.exec",
    "GET /api/v1/namespaces/test/pods/web/exec?command=ls&container=app&stdout=true": "pods.exec",
    "POST /api/v1/namespaces/test/pods/web/attach": "pods.attach",
    "GET /api/v1/namespaces/test/pods/web/portforward?ports=8080": "pods.portforward",
    "GET /api/v1/namespaces/test/services/web:80/proxy": "services.proxy",
    "DELETE /api/v1/namespaces/test/services/web:80/proxy/items/7": "services.proxy",
    "GET /api/v1/nodes/node-1/proxy/configz": "nodes.proxy",
    "POST /api/v1/namespaces/test/pods/web/proxy/admin/": "pods.proxy",
    # On no resource.
    "GET /api": "discovery.get",
    "GET /api/": "discovery.get",
    "GET /apis": "discovery.get",
    "GET /apis/apps": "discovery.get",
    "GET /apis/apps/v1": "discovery.get",
    "GET /api/v1": "discovery.get",
    "GET /api/v1/": "discovery.get",
    "GET /openapi/v2?timeout=32s": "discovery.get",
    "GET /openapi/v3/apis/apps/v1?hash=AB12": "discovery.get",
    "GET /version": "discovery.get",
    "GET /livez/ping": "health.get",
    "GET /readyz?verbose": "health.get",
    "GET /metrics": "metrics.get",
    "GET /openid/v1/jwks": "openid.get",
}


@pytest.mark.parametrize(("line", "name"), LINES.items(), ids=LINES)
def test_a_call_has_the_name_that_rbac_would_give_it(line: str, name: str):
    assert operation(line) == name


def test_the_typed_input_is_that_of_request_info():
    found = named(
        "PUT /apis/apps/v1/namespaces/test/deployments/web/scale?fieldManager=hpa", b'{"spec":{"replicas":0}}'
    )
    assert found.input.values == {
        "group": "apps",
        "version": "v1",
        "resource": "deployments",
        "subresource": "scale",
        "namespace": "test",
        "name": "web",
        "verb": "update",
        "dryRun": False,
        "fieldManager": "hpa",
        "replicas": 0,
    }
    assert not found.input.missing
    assert not found.input.unreadable


def test_a_created_object_has_the_name_of_its_body_and_none_where_the_server_makes_one():
    body = b'{"metadata": {"name": "web", "generateName": "x"}}'
    assert named("POST /api/v1/namespaces/test/pods", body).input.values["name"] == "web"
    without = named("POST /api/v1/namespaces/test/pods", b'{"metadata": {"generateName": "web-"}}')
    assert "name" not in without.input.values


def test_yaml_and_protobuf_are_not_read_so_that_no_rule_believes_in_their_absence():
    for kind in ("application/yaml", "application/apply-patch+yaml", "application/vnd.kubernetes.protobuf"):
        found = named("PATCH /apis/apps/v1/namespaces/a/deployments/w/scale", b"k8s\0\x0a", content_type=kind)
        assert found.input.unreadable == {"replicas"}


def test_objects_and_collections_are_resources_of_their_own():
    ids = {
        "DELETE /api/v1/namespaces/test/pods/web": "kube/pods/test/web",
        "POST /api/v1/namespaces/test/pods/web/eviction": "kube/pods/test/web",
        "DELETE /api/v1/namespaces/test/pods": "kube/pods/test",
        "GET /api/v1/nodes/node-1": "kube/nodes/node-1",
        "DELETE /api/v1/namespaces/test": "kube/namespaces/test",
    }
    assert {line: named(line).resource.id for line in ids} == ids


def test_a_namespace_is_its_own_namespace_and_all_of_them_are_none():
    assert named("DELETE /api/v1/namespaces/test").input.values["namespace"] == "test"
    assert named("GET /api/v1/pods").input.values["namespace"] == ""
    assert named("DELETE /api/v1/nodes/node-1").input.values["namespace"] == ""


def test_the_command_of_an_exec_and_the_path_of_a_proxied_call_can_be_ruled_on():
    shell = named("GET /api/v1/namespaces/test/pods/web/exec?command=sh&command=-c&container=app").input.values
    assert (shell["command"], shell["container"], shell["verb"]) == (("-c", "sh"), "app", "get")
    proxied = named("POST /api/v1/namespaces/test/services/https:web:443/proxy/admin/users").input.values
    assert (proxied["name"], proxied["path"], proxied["verb"]) == ("https:web:443", "/admin/users", "create")


DRY = [
    ("POST /api/v1/namespaces/test/pods?dryRun=All", b'{"kind": "Pod"}', True),
    ("PATCH /api/v1/namespaces/test/pods/web?dryRun=All", b"{}", True),
    ("DELETE /api/v1/namespaces/test/pods/web?dryRun=All", b"", True),
    ("DELETE /api/v1/namespaces/test/pods/web", b'{"dryRun": ["All"]}', True),
    ("POST /api/v1/namespaces/test/pods", b'{"kind": "Pod"}', False),
    ("POST /api/v1/namespaces/test/pods?dryRun=", b'{"kind": "Pod"}', False),
    ("POST /api/v1/namespaces/test/pods?dryrun=All", b'{"kind": "Pod"}', False),
    # Options in the body of a deletion put those of the query out of force.
    ("DELETE /api/v1/namespaces/test/pods/web?dryRun=All", b"{}", False),
    ("DELETE /api/v1/namespaces/test/pods?dryRun=All", b'{"kind": "DeleteOptions"}', False),
    # A token is issued all the same.
    ("POST /api/v1/namespaces/test/serviceaccounts/ci/token?dryRun=All", b"{}", False),
]


@pytest.mark.parametrize(("line", "body", "dry"), DRY)
def test_a_dry_run_is_one_only_where_the_server_is_certain_to_change_nothing(line: str, body: bytes, *, dry: bool):
    assert named(line, body).input.values["dryRun"] is dry


def test_verbs_and_resources_say_how_much_a_mistake_costs():
    def of(line: str) -> tuple[str, set[str], set[str]]:
        one = named(line).operation
        return one.tier.value, {each.value for each in one.classes}, set(one.labels)

    assert of("GET /api/v1/namespaces/a/pods") == ("low", {"read"}, set())
    assert of("GET /api/v1/namespaces/a/secrets") == ("high", {"read"}, {"credentials"})
    assert of("PUT /api/v1/namespaces/a/secrets/s") == ("high", {"write"}, {"credentials"})
    assert of("DELETE /api/v1/namespaces/a/pods") == ("high", {"destructive"}, set())
    assert of("POST /apis/rbac.authorization.k8s.io/v1/clusterrolebindings") == ("high", {"access"}, set())
    assert of("DELETE /apis/rbac.authorization.k8s.io/v1/clusterroles/x") == ("high", {"access", "destructive"}, set())
    assert of("POST /api/v1/namespaces/a/pods/p/eviction") == ("high", {"destructive"}, set())
    assert of("GET /api/v1/namespaces/a/pods/p/exec") == ("high", {"access", "write"}, set())
    assert of("GET /api/v1/nodes/n/proxy/pods") == ("high", {"access", "write"}, set())
    assert of("POST /api/v1/namespaces/a/serviceaccounts/s/token") == ("high", {"access"}, {"credentials"})
    assert of("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews") == ("low", {"read"}, set())


def test_no_operation_that_changes_something_is_a_read():
    operations = load(None, upstream="kube", connector="kubernetes").operations
    questions = {one.name for one in operations if one.name.endswith("reviews.create")}
    reads = {one.name for one in operations if OperationClass.READ in one.classes and one.method != "GET"}
    assert reads == questions
    deletes = [one for one in operations if one.method == "DELETE"]
    assert {one.tier for one in deletes} == {Tier.HIGH}
    assert all(OperationClass.DESTRUCTIVE in one.classes and one.reversible is False for one in deletes)


def test_every_name_stands_once_and_every_summary_can_be_filled():
    operations = load(None, upstream="kube", connector="kubernetes").operations
    assert len({one.name for one in operations}) == len(operations) > 600
    for one in operations:
        filled = one.summary.format_map({field.name: "x" for field in one.fields})
        assert "{" not in filled


CUSTOM = """
kubernetes:
  resources:
    widgets.example.com: {subresources: [status, scale]}
    plants.farm.example.com: {namespaced: false}
operations:
  widgets.example.com.delete: {tier: medium, class: write}
  configmaps.update: {labels: [pii]}
  pods.exec: {ignore: true}
"""


def test_a_catalogue_file_adds_custom_resources_and_changes_what_is_known(tmp_path):
    (tmp_path / "kube.yaml").write_text(CUSTOM)
    by = namer(tmp_path / "kube.yaml")
    assert operation("GET /apis/example.com/v1/namespaces/a/widgets", by=by) == "widgets.example.com.list"
    assert operation("PATCH /apis/example.com/v2/namespaces/a/widgets/w/scale", by=by) == (
        "widgets.example.com.scale.patch"
    )
    assert operation("PUT /apis/farm.example.com/v1alpha1/plants/oak", by=by) == "plants.farm.example.com.update"
    assert operation("GET /apis/farm.example.com/v1alpha1/namespaces/a/plants", by=by) == "unknown"
    assert named("DELETE /apis/example.com/v1/namespaces/a/widgets/w", by=by).operation.tier is Tier.MEDIUM
    assert "pii" in named("PUT /api/v1/namespaces/a/configmaps/c", b"{}", by=by).sensitivity.labels
    assert operation("GET /api/v1/namespaces/a/pods/p/exec", by=by) == "unknown"
    assert operation("GET /apis/example.com/v1/namespaces/a/widgets") == "unknown"


WRONG = {
    "kubernetes: {resources: {widgets: {}}}": "must be the name of a definition",
    "kubernetes: {resources: {events.events.k8s.io: {}}}": "comes with Kubernetes",
    "kubernetes: {resources: {a.b.io: {subresources: [exec]}}}": "not one that a definition can have",
    "kubernetes: {resource: {}}": "unknown key",
    "operations: {pods.remove: {tier: low}}": "no such operation",
    "operations: {pods.delete: {name: pods.remove}}": "the connector's to say",
}


@pytest.mark.parametrize(("text", "said"), WRONG.items(), ids=WRONG)
def test_what_is_wrong_with_the_file_is_said(tmp_path, text: str, said: str):
    (tmp_path / "kube.yaml").write_text(text)
    with pytest.raises(CatalogueRefused, match=said):
        namer(tmp_path / "kube.yaml")
