"""Text into settings: what is taken, what wins, and what is said when it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.errors import SettingsRefused
from config.load import load
from config.settings import BearerCredential, Settings
from config.text import parse

STRIPE = """\
upstreams:
  - name: stripe
    url: https://api.stripe.com
"""


def test_without_a_file_the_defaults_hold():
    assert load(None, environ={}).settings == Settings()


def test_an_empty_file_gives_the_defaults(loaded):
    assert loaded("# nothing yet\n").settings == Settings()


def test_a_section_of_comments_gives_its_defaults(loaded):
    assert loaded("agents:\n  # listen: 0.0.0.0:8400\n").settings == Settings()


def test_a_file_sets_what_it_names(loaded):
    settings = loaded("agents:\n  listen: 0.0.0.0:9000\n").settings
    assert settings.agents.listen == "0.0.0.0:9000"
    assert settings.approvers == Settings().approvers


def test_a_group_needs_no_more_than_its_name(loaded):
    assert loaded("groups:\n  finance:\n").settings.groups["finance"].quorum == 3


def test_an_unknown_key_is_refused_with_its_line_its_path_and_what_was_meant(refused):
    problems = refused(STRIPE + "    credental: {kind: none}\n")
    assert problems == ["4: upstreams.0.credental: unknown key; did you mean 'credential'?"]


def test_an_unknown_key_of_a_credential_is_told_by_its_kind(refused):
    text = STRIPE + "    credential: {kind: basic, username: u, passwrd: 'env:P', password: 'env:P'}\n"
    assert refused(text, {"P": "p"}) == ["4: upstreams.0.credential.passwrd: unknown key; did you mean 'password'?"]


def test_every_problem_is_reported_at_once_in_the_order_of_the_file(refused):
    problems = refused("log: loud\nagents:\n  listn: x\nholds:\n  wait_s: soon\n  open_total: 0\n")
    assert [problem.split(":")[0] for problem in problems] == ["1", "3", "5", "6"]


def test_a_key_that_stands_twice_is_refused(refused):
    assert refused("log: info\nlog: debug\n") == ["2: log: stands twice; first on line 1"]


def test_a_merge_key_is_refused(refused):
    assert "a key must be a word" in refused("agents: &a {listen: 'h:1'}\noperators:\n  <<: *a\n")[0]


def test_an_alias_bomb_is_refused(refused):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert refused("\n".join(lines)) == ["holds more than 50000 values"]


def test_a_tag_of_python_is_refused(refused):
    assert "not YAML" in refused("log: !!python/object/apply:os.system ['true']\n")[0]


def test_what_is_not_yaml_is_refused_with_its_line(refused):
    assert refused("log: info\nagents: [\n")[0].startswith("3: is not YAML")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(SettingsRefused, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml", environ={})


def test_a_file_that_is_not_text_is_refused(tmp_path: Path):
    file = tmp_path / "assentry.yaml"
    file.write_bytes(b"log: \xff\n")
    with pytest.raises(SettingsRefused, match="not UTF-8"):
        load(file, environ={})


def test_a_list_at_the_top_is_refused(refused):
    assert "must be a mapping" in refused("- log: info\n")[0]


def test_a_number_where_text_is_meant_says_to_quote_it(refused):
    text = "issuers: [{name: corp, issuer: 'https://i', people_audience: 12}]"
    assert refused(text) == ["1: issuers.0.people_audience: must be text; put it in quotes"]


def test_a_credential_without_a_kind_names_the_kinds(refused):
    problems = refused(STRIPE + "    credential: {token: 'env:T'}\n", {"T": "t"})
    kinds = "none, bearer, header, basic, oauth2, github-app, aws, service-account"
    assert problems == [f"4: upstreams.0.credential: must say its kind, one of: {kinds}"]


def test_infinite_waits_are_refused(refused):
    assert refused("holds: {max_wait_s: .inf}") == ["1: holds.max_wait_s: must be a finite number"]


def test_paths_are_relative_to_the_folder_of_the_file(loaded, tmp_path: Path):
    settings = loaded("data: state\npolicy: {files: [policies, /abs/x.cedar]}\n").settings
    assert settings.data == tmp_path / "state"
    assert settings.policy.files == (tmp_path / "policies", Path("/abs/x.cedar"))


def test_sources_name_the_line_of_each_value(loaded, write):
    loaded_here = loaded("log: debug\nagents:\n  listen: 0.0.0.0:1\n")
    assert loaded_here.sources["agents.listen"] == f"{loaded_here.file}:3"
    assert "operators.listen" not in loaded_here.sources


class TestEnvironment:
    def test_a_variable_wins_over_the_file(self, loaded):
        found = loaded("agents: {listen: '0.0.0.0:1'}", {"ASSENTRY_AGENTS__LISTEN": "127.0.0.1:2"})
        assert found.settings.agents.listen == "127.0.0.1:2"
        assert found.sources["agents.listen"] == "environment variable ASSENTRY_AGENTS__LISTEN"

    def test_numbers_and_booleans_are_read_from_text(self, loaded):
        environ = {"ASSENTRY_HOLDS__OPEN_TOTAL": "70", "ASSENTRY_HOLDS__RESPOND_ASYNC": "true"}
        holds = loaded("", environ).settings.holds
        assert (holds.open_total, holds.respond_async) == (70, True)

    def test_text_that_looks_like_yaml_stays_text(self, loaded):
        environ = {"ASSENTRY_LEDGER__SINKS": '[{"kind": "redis-stream", "stream": "[a]: b"}]'}
        assert loaded("", environ).settings.ledger.sinks[0].stream == "[a]: b"
        text = "issuers: [{name: corp, issuer: 'https://i', people_audience: x}]"
        environ = {"ASSENTRY_ISSUERS__0__PEOPLE_AUDIENCE": "123"}
        assert loaded(text, environ).settings.issuers[0].people_audience == "123"

    def test_a_list_is_set_as_a_whole(self, loaded):
        environ = {"ASSENTRY_AGENTS__HOSTS": '["a.example", "b.example"]'}
        assert loaded("", environ).settings.agents.hosts == ("a.example", "b.example")

    def test_an_item_of_a_list_is_changed_by_its_number(self, loaded):
        found = loaded(STRIPE, {"ASSENTRY_UPSTREAMS__0__URL": "https://other.example"}).settings
        assert (found.upstreams[0].name, found.upstreams[0].url) == ("stripe", "https://other.example")

    def test_an_item_that_the_list_does_not_have_is_refused(self, refused):
        assert "names no setting" in refused(STRIPE, {"ASSENTRY_UPSTREAMS__1__URL": "https://other.example"})[0]

    def test_an_empty_variable_makes_a_setting_absent(self, loaded):
        text = "agents: {public_url: 'https://gate.example'}"
        assert loaded(text, {"ASSENTRY_AGENTS__PUBLIC_URL": ""}).settings.agents.public_url is None

    def test_a_misspelt_variable_is_refused_with_what_was_meant(self, refused):
        problems = refused("", {"ASSENTRY_AGENT__LISTEN": "x", "ASSENTRY_LOGG": "x"})
        assert [problem.partition("; ")[2] for problem in problems] == [
            "did you mean 'ASSENTRY_AGENTS__LISTEN'?",
            "did you mean 'ASSENTRY_LOG'?",
        ]

    def test_variables_that_are_not_settings_are_left_alone(self, loaded):
        environ = {
            "ASSENTRY_CONFIG": "/x",
            "ASSENTRY_TOKEN": "for the command line",
            "ASSENTRY_SERVICE_HOST": "10.0.0.1",
            "ASSENTRY_PORT": "tcp://10.0.0.1:8400",
            "ASSENTRY_PORT_8400_TCP_ADDR": "10.0.0.1",
            "ASSENTRY_AGENTS_SERVICE_PORT_HTTP": "8400",
        }
        assert loaded("", environ).settings == Settings()

    def test_a_problem_in_a_variable_names_the_variable(self, refused):
        problems = refused("", {"ASSENTRY_HOLDS__WAIT_S": "soon"})
        assert problems == ["environment variable ASSENTRY_HOLDS__WAIT_S: holds.wait_s: must be a number"]


class TestSecrets:
    BEARER = STRIPE + "    credential: {kind: bearer, token: '%s'}\n"

    def test_a_secret_comes_from_the_variable_it_refers_to(self, loaded):
        found = loaded(self.BEARER % "env:STRIPE_KEY", {"STRIPE_KEY": "sk_1"})
        credential = found.settings.upstreams[0].credential
        assert isinstance(credential, BearerCredential)
        assert credential.token.get_secret_value() == "sk_1"
        assert found.sources["upstreams.0.credential.token"].endswith(":4, env STRIPE_KEY")

    def test_a_secret_comes_from_the_file_it_refers_to_without_the_last_newline(self, loaded, tmp_path: Path):
        (tmp_path / "key").write_text("sk_2\n")
        credential = loaded(self.BEARER % "file:key").settings.upstreams[0].credential
        assert credential.token.get_secret_value() == "sk_2"

    def test_a_literal_secret_is_refused_and_not_repeated(self, refused):
        problems = refused(self.BEARER % "sk_live_literal")
        assert problems == [
            "4: upstreams.0.credential.token: a secret is given by reference: write 'env:NAME' or 'file:/path'"
        ]

    def test_demo_mode_takes_literal_secrets(self, loaded):
        credential = loaded("demo: true\n" + self.BEARER % "sk_demo").settings.upstreams[0].credential
        assert credential.token.get_secret_value() == "sk_demo"

    def test_a_variable_may_hold_a_secret_itself(self, loaded):
        environ = {"ASSENTRY_UPSTREAMS__0__CREDENTIAL__TOKEN": "sk_3", "STRIPE_KEY": "sk_1"}
        credential = loaded(self.BEARER % "env:STRIPE_KEY", environ).settings.upstreams[0].credential
        assert credential.token.get_secret_value() == "sk_3"

    def test_a_variable_that_is_not_set_is_refused_once(self, refused):
        problems = refused(self.BEARER % "env:STRIPE_KEY")
        assert problems == [
            "4: upstreams.0.credential.token: refers to the environment variable 'STRIPE_KEY', which is not set"
        ]

    def test_a_secret_file_that_is_not_there_is_refused(self, refused):
        assert "cannot be read: No such file" in refused(self.BEARER % "file:/nowhere/key")[0]

    def test_a_variable_referred_to_may_have_a_name_like_ours(self, loaded):
        text = self.BEARER % "env:ASSENTRY_STORE_URL"
        credential = loaded(text, {"ASSENTRY_STORE_URL": "x"}).settings.upstreams[0].credential
        assert credential.token.get_secret_value() == "x"

    def test_a_store_url_with_a_password_is_given_by_reference(self, refused, loaded):
        key = "encryption_key: 'env:K'"
        environ = {"K": "A" * 43 + "=", "URL": "redis://:secret@h:6379"}
        assert "a URL with a password" in refused(f"store: {{url: 'redis://:secret@h:6379', {key}}}", environ)[0]
        assert loaded(f"store: {{url: 'env:URL', {key}}}", environ).settings.store.url == environ["URL"]
        assert loaded(f"store: {{url: 'redis://h:6379', {key}}}", environ).settings.store.url == "redis://h:6379"

    @given(secret=st.text(alphabet="abcdefSECRET0123456789", min_size=12, max_size=24))
    def test_no_refusal_repeats_a_value(self, secret: str, tmp_path_factory):
        file = tmp_path_factory.mktemp("s") / "a.yaml"
        file.write_text(
            f"log: {secret}x\ndemo: {secret}x\nstore: {{url: '{secret}x', encryption_key: '{secret}x'}}\n"
            f"upstreams: [{{name: '{secret}_', url: '{secret}x', credential: {{kind: '{secret}x'}}}}]\n"
        )
        with pytest.raises(SettingsRefused) as caught:
            load(file, environ={"ASSENTRY_HOLDS__WAIT_S": secret})
        assert secret not in str(caught.value)


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str):
    try:
        parse(text, name="x")
    except SettingsRefused as refused:
        assert refused.problems  # noqa: PT017 - either outcome is right; any other exception is not
