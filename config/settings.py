"""Every setting there is: frozen models, a default, a unit and one line each.

Says nothing of where values come from (`config.load`) or of what is done with them. Longer than 400 lines because the
list of all settings is one subject, and people look for a setting in one place.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, SecretStr, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]
Address = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s:\[\]/]+):\d{1,5}$")]
"""`host:port` to listen on."""
BUILTIN = "builtin:"
"""How a path names a file that comes with the program; such a path is not relative to anything."""
Secret = SecretStr
"""A secret, always by reference in files: `env:NAME` or `file:/path`. `config.load` puts the value in its place."""


REFERENCE = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
"""What stands in a file for a value that is kept elsewhere."""


class MayRefer:
    """Marks text with room for a secret: in files such a value may be a reference, and shown it is masked."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema for editors: the text itself or a reference."""
        return {"anyOf": [handler(core), {"type": "string", "pattern": REFERENCE}]}


StoreUrl = Annotated[
    str,
    StringConstraints(pattern=r"^((redis|rediss)(\+(sentinel|cluster))?://[^\s/]+(/[^\s]*)?|unix://\S+)$"),
    MayRefer(),
]
"""Where a Redis or Valkey is. With a password in it: by reference, `env:NAME` or `file:/path`."""


class Section(BaseModel):
    """A part of the settings: immutable, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Algorithm(StrEnum):
    """Signature algorithms a token may use: asymmetric only (RFC 8725 section 3.1)."""

    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EDDSA = "EdDSA"


class Tls(Section):
    """TLS on a door, 1.2 or later, HTTP/1.1. Replaced files are shown from the next handshake on, without a restart."""

    certificate: Path
    """The certificate, PEM, with the rest of its chain behind it."""
    key: Path
    """Its private key, PEM, not encrypted."""


class AgentsDoor(Section):
    """Where agents call."""

    listen: Address = "127.0.0.1:8400"
    """Address of the agents' listener."""
    hosts: tuple[str, ...] = ()
    """Host names agents may use, lower case, `host[:port]`. Empty: `listen`, `public_url` and loopback names."""
    public_url: HttpUrl | None = None
    """The base URL that agents see; used in status links and protected-resource metadata."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks (CIDR) whose X-Forwarded-For names the agent's address."""
    tls: Tls | None = None
    """TLS on this door. Absent: plain HTTP, for a proxy in front that ends TLS."""
    fast_path: bool = True
    """Take allowed calls that need no waiting at once. Off, every call takes the ordinary path: alike, but slower."""


class SignIn(Section):
    """How people sign in to the console: OpenID Connect code flow with PKCE."""

    issuer: Name
    """Name of the entry in `issuers` to sign in at; it must have a `people_audience`."""
    client_id: str
    """Client id registered at the issuer."""
    client_secret: Secret | None = None
    """Client secret, for confidential clients."""
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    """Scopes to ask for."""
    session_lifetime_s: int = Field(default=8 * 3600, ge=60, le=43_200)
    """How long a sign-in lasts, seconds; 12 hours at most."""


class ApproversDoor(Section):
    """Where people decide: API and console, on an origin of its own."""

    listen: Address = "127.0.0.1:8401"
    """Address of the approvers' listener."""
    public_url: HttpUrl = "http://127.0.0.1:8401"
    """The origin people see; clicks from any other are refused."""
    sign_in: SignIn | None = None
    """Console sign-in. Absent: API and CLI only."""
    auditors: tuple[Name, ...] = ()
    """Groups whose members may read the ledger."""
    operators: tuple[Name, ...] = ()
    """Groups whose members may use the deny list."""
    tls: Tls | None = None
    """TLS on this door. Absent: plain HTTP, for a proxy in front that ends TLS."""


class OperatorsDoor(Section):
    """Where the platform looks: health and metrics."""

    listen: Address = "127.0.0.1:8402"
    """Address of the operators' listener."""
    tls: Tls | None = None
    """TLS on this door. Absent: plain HTTP."""


class Claims(Section):
    """Which claims say what. A dot goes into an object: `realm_access.roles`."""

    groups: str = "groups"
    """Claim with the list of group names."""
    owner: str = "owner"
    """Claim with the subject of the person who answers for the agent, at the same issuer."""
    name: str = "name"
    """Claim with the display name of a person."""


class Issuer(Section):
    """Someone whose tokens we believe, within limits."""

    name: Name
    """Short name; the first half of every identity: `corp:ann`."""
    issuer: HttpUrl
    """Exact `iss`."""
    jwks_uri: HttpUrl | None = None
    """Where the keys are. Absent: from the issuer's discovery document."""
    algorithms: tuple[Algorithm, ...] = (Algorithm.RS256,)
    """Algorithms this issuer signs with; a token's own header never decides."""
    agents_audience: str | None = None
    """Exact `aud` of agents' tokens. Absent: this issuer has no agents."""
    people_audience: str | None = None
    """Exact `aud` of people's tokens. Absent: this issuer has no people."""
    companion_audiences: tuple[str, ...] = ()
    """Values that may stand beside ours in a token's `aud` list, exact: Keycloak's `account`, Auth0's userinfo URL."""
    vouches_for: tuple[Name, ...] = ()
    """Other issuers, by name, whose subjects this one may name as actors (`act.iss`). Its own it always may."""
    claims: Claims = Claims()
    """Claim map."""
    leeway_s: int = Field(default=10, ge=0, le=30)
    """Clock leeway, seconds."""
    max_lifetime_s: int = Field(default=86_400, ge=60, le=86_400)
    """Longest lifetime (exp - iat) of a token, seconds."""
    token_types: tuple[str, ...] = ("at+jwt", "jwt")
    """Allowed `typ` headers, lower case; a token without `typ` passes as `jwt`."""


class Group(Section):
    """A group that policies may ask approvals of."""

    quorum: int = Field(default=3, ge=1, le=20)
    """The largest number of its people a gate may ask for."""
    members: tuple[str, ...] = ()
    """Identities that belong to it whatever their claims say: `corp:ann`."""
    from_claims: bool = True
    """Whether a group of this name in a person's claims counts."""


class NoCredential(Section):
    """The upstream needs none."""

    kind: Literal["none"] = "none"
    """`none`."""


class BearerCredential(Section):
    """`Authorization: Bearer <token>`."""

    kind: Literal["bearer"]
    """`bearer`."""
    token: Secret
    """The token."""


class HeaderCredential(Section):
    """A header of the upstream's own."""

    kind: Literal["header"]
    """`header`."""
    header: str
    """Header name."""
    value: Secret
    """Header value."""


class BasicCredential(Section):
    """`Authorization: Basic`."""

    kind: Literal["basic"]
    """`basic`."""
    username: str
    """User name."""
    password: Secret
    """Password; may be empty."""


class ClientCredential(Section):
    """OAuth 2.0 client credentials (RFC 6749 section 4.4); the access token is fetched, cached and renewed."""

    kind: Literal["oauth2"]
    """`oauth2`."""
    token_url: HttpUrl
    """Token endpoint."""
    client_id: str
    """Client id."""
    client_secret: Secret
    """Client secret."""
    scopes: tuple[str, ...] = ()
    """Scopes to ask for."""


class GithubAppCredential(Section):
    """A GitHub App; each call gets a token that reaches no further than the call: its repository, its permission."""

    kind: Literal["github-app"]
    """`github-app`."""
    app_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.]{1,64}$")] = Field(coerce_numbers_to_str=True)
    """The App's id, or its client id."""
    installation_id: int = Field(ge=1)
    """The installation: where the App may act at all."""
    private_key: Secret
    """The App's private key, PEM: `file:/run/secrets/app.pem`."""
    api_url: HttpUrl | None = None
    """Where tokens are made. Absent: the upstream's `url`."""


class AwsCredential(Section):
    """Keys of AWS, with which each call is signed anew (Signature Version 4). Goes with `aws`, and needs botocore."""

    kind: Literal["aws"]
    """`aws`."""
    access_key_id: Secret
    """Access key id."""
    secret_access_key: Secret
    """Secret access key."""
    session_token: Secret | None = None
    """Session token, of temporary keys."""


class InNameOf(StrEnum):
    """For whom a service account acts."""

    NOBODY = "nobody"
    AGENT = "agent"
    SUBJECT = "subject"


class AccountCredential(Section):
    """A Kubernetes service account's token, from a file that is read again as it is replaced."""

    kind: Literal["service-account"]
    """`service-account`."""
    token_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    """The token's file."""
    impersonate: InNameOf = InNameOf.NOBODY
    """Impersonate-User and -Group of each call: `nobody` sends none, `agent` the agent, `subject` for whom it acts."""
    prefix: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]*:$")] = "assentry:"
    """Before every user and group that is impersonated; never `system:`."""


Credential = Annotated[
    NoCredential
    | BearerCredential
    | HeaderCredential
    | BasicCredential
    | ClientCredential
    | GithubAppCredential
    | AwsCredential
    | AccountCredential,
    Field(discriminator="kind"),
]


class Aws(Section):
    """Which service of AWS an upstream is, and how signatures of agents are taken."""

    service: Name
    """botocore's name of the service: `s3`, `dynamodb`. One upstream is one service."""
    region: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,62}$")]
    """Region that agents sign for, and that calls are signed for at release."""
    unsigned_payloads: bool = False
    """Take signatures that leave the body out, also where agents reach this gate without TLS."""
    clock_window_s: int = Field(default=300, ge=60, le=900)
    """How far the time of a signature may be from now, seconds."""


class Upstream(Section):
    """An API that agents reach through the gate."""

    name: Name
    """Short name; the first half of its operations' names."""
    url: HttpUrl
    """Base URL. Its path, if any, is put before every target."""
    prefix: str | None = None
    """Path prefix at the agents' door: `/stripe`. Absent with `host` absent: `/<name>`."""
    host: str | None = None
    """Host name at the agents' door that belongs to this upstream alone."""
    environment: str = "prod"
    """What policies see as `context.req.env`."""
    catalogue: Path | None = None
    """Operation catalogue (YAML), or a shipped one: `builtin:stripe`. Absent: every operation is `<name>:unknown`."""
    connector: Name = "generic"
    """Whose error shape and habits to speak: generic, openai, stripe, github, kubernetes, aws, mcp."""
    aws: Aws | None = None
    """Which service of AWS this is. Goes with `connector: aws`."""
    credential: Credential = NoCredential()
    """What is attached at release."""
    headers: tuple[str, ...] = ()
    """Further request headers to pass on, lower case."""
    connections: int = Field(default=100, ge=1, le=10_000)
    """Most connections to it per replica."""
    connect_timeout_s: float = Field(default=5, gt=0)
    """Time to connect, seconds."""
    first_byte_timeout_s: float = Field(default=60, gt=0)
    """Time to the first byte of the answer, seconds."""
    total_timeout_s: float = Field(default=300, gt=0)
    """Time for the whole exchange, seconds."""
    ca_file: Path | None = None
    """CA bundle to verify it with. Absent: the system's."""
    private_networks: bool = False
    """Whether loopback and private addresses may be connected to. Link-local is never."""
    max_wait_s: float | None = Field(default=None, gt=0)
    """Longest wait of any client of it, seconds, within `holds.max_wait_s`, which holds where this is absent."""
    interim: bool = True
    """Whether clients that are known to take interim responses (1xx) get them while their call is held."""


class Policy(Section):
    """The law in force."""

    files: tuple[Path, ...] = ()
    """Cedar files, folders of `*.cedar` in name order, a connector's (`builtin:stripe`). Empty: the base alone."""
    base: bool = True
    """Whether the shipped base policies (four eyes, unknown operations) are in the bundle."""


class Store(Section):
    """Where everything shared is kept."""

    url: StoreUrl | None = None
    """`redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://` URL. Absent: an embedded Valkey."""
    encryption_key: Secret | None = None
    """32 bytes, base64, that seal what is stored. Absent with an embedded store: `sealing.key` under `data`."""
    former_encryption_keys: tuple[Secret, ...] = ()
    """Keys that sealed before `encryption_key` did: still opened, never used to seal."""
    replicas_to_ack: int = Field(default=0, ge=0)
    """How many store replicas must acknowledge a decision (`WAIT`)."""
    timeout_s: float = Field(default=1.0, gt=0)
    """Longest wait for one answer, seconds."""
    namespace: Name = "assentry"
    """First part of every key."""


class StdoutSink(Section):
    """Ledger records on standard output, a line each."""

    kind: Literal["stdout"]
    """`stdout`."""


class FileSink(Section):
    """Ledger records in a file of their own."""

    kind: Literal["file"]
    """`file`."""
    path: Path
    """File to append to."""


class RedisStreamSink(Section):
    """Ledger records in a Redis stream."""

    kind: Literal["redis-stream"]
    """`redis-stream`."""
    url: StoreUrl | None = None
    """Server. Absent: the store's."""
    stream: str = "assentry:ledger"
    """Stream key."""
    max_length: int = Field(default=1_000_000, ge=1)
    """Approximate length to trim to, entries."""


Sink = Annotated[StdoutSink | FileSink | RedisStreamSink, Field(discriminator="kind")]


class Ledger(Section):
    """The verifiable record."""

    directory: Path | None = None
    """Where chains are written. Absent: `ledger` under the data directory."""
    sinks: tuple[Sink, ...] = ()
    """Where records stream out to."""
    queue_records: int = Field(default=10_000, ge=1)
    """Records waiting to be written before calls are refused."""
    sink_lag_records: int = Field(default=100_000, ge=1)
    """Records a sink may lag behind before calls are refused."""
    segment_bytes: int = Field(default=256 * 1024 * 1024, ge=4096)
    """Size at which a new file is begun, bytes."""
    checkpoint_s: float = Field(default=60, gt=0)
    """Time between signed checkpoints, seconds."""
    write_timeout_s: float = Field(default=5, gt=0)
    """Longest wait for the disk before calls are refused, seconds."""
    ship_timeout_s: float = Field(default=10, gt=0)
    """Longest wait for a sink to take a batch, and for all sinks to catch up when stopping, seconds."""


class OnGone(StrEnum):
    """What happens to a hold whose agent went away."""

    KEEP = "keep"
    WITHDRAW = "withdraw"


class Holds(Section):
    """How long things wait."""

    wait_s: float = Field(default=55, gt=0)
    """How long a client of unknown patience is kept waiting, seconds."""
    wait_margin_s: float = Field(default=5, ge=0)
    """Subtracted from the patience a client announces, seconds."""
    max_wait_s: float = Field(default=590, gt=0)
    """Longest wait of any client, seconds."""
    interim_every_s: float = Field(default=5, ge=0.1)
    """Time between interim responses to a client that takes them, seconds; less for one that bears less silence."""
    decide_within_s: int = Field(default=3600, ge=1)
    """Time to decide where no gate says `@timeout`, seconds."""
    execute_within_s: int = Field(default=600, ge=1)
    """How long an approval stays good, seconds."""
    replay_window_s: int = Field(default=600, ge=1)
    """How long the response of a released call is kept for a repeat, seconds."""
    idempotency_key_s: int = Field(default=86_400, ge=1)
    """How long an idempotency key means the call it came with, seconds; Stripe's own mean it for a day."""
    refused_repeat_s: int = Field(default=60, ge=0)
    """How long a repeat of a rejected or expired call is refused without asking anybody again, seconds."""
    settled_s: int = Field(default=7 * 86_400, ge=60)
    """How long a settled hold can be looked at, seconds; the ledger keeps it for good."""
    keep_response_bytes: int = Field(default=1024 * 1024, ge=0)
    """Largest response kept for a repeat, bytes."""
    on_client_gone: OnGone = OnGone.KEEP
    """`keep`: the hold goes on; `withdraw`: it ends with its client. A gate's `@on_client_gone` goes first."""
    detached_after_s: float = Field(default=2, ge=0)
    """How long an approved call waits for its client before a replica sends it without, seconds."""
    respond_async: bool = False
    """Answer every held call with 202 at once, whether or not the client asked for it."""
    body_bytes: int = Field(default=1024 * 1024, ge=0)
    """Largest body of a call that is held, bytes: the store keeps it, and somebody has to read it."""
    open_per_agent: int = Field(default=50, ge=1)
    """Most open holds of one agent."""
    open_total: int = Field(default=10_000, ge=1)
    """Most open holds of all agents."""
    bytes_per_agent: int = Field(default=16 * 1024 * 1024, ge=0)
    """Most bytes that the bodies of one agent's open holds have together."""


class Limits(Section):
    """What the doors accept."""

    body_bytes: int = Field(default=8 * 1024 * 1024, ge=0)
    """Largest request body, bytes."""
    upload_bytes: int = Field(default=0, ge=0)
    """Largest body that nobody reads (`body: opaque` in the catalogue) and that passes as it comes, bytes; 0: none."""
    bodies_bytes: int = Field(default=256 * 1024 * 1024, ge=0)
    """Most of all request bodies in memory at once, bytes; a call beyond it is refused for the moment."""
    header_timeout_s: float = Field(default=10, gt=0)
    """Time for a request head, seconds."""
    body_timeout_s: float = Field(default=30, gt=0)
    """Time for a request body, seconds, prolonged while it comes faster than the minimum rate."""
    body_bytes_per_s: int = Field(default=4096, ge=1)
    """Minimum rate of a request body, bytes a second."""
    target_bytes: int = Field(default=8192, ge=64)
    """Longest request target, bytes."""
    headers: int = Field(default=100, ge=1)
    """Most header fields."""
    header_bytes: int = Field(default=32_768, ge=1024)
    """Largest request head behind its first line, bytes."""
    idle_timeout_s: float = Field(default=75, gt=0)
    """How long a connection may rest between two calls, seconds."""
    stall_timeout_s: float = Field(default=60, gt=0)
    """How long an agent may stop reading its answer before the connection is ended, seconds."""
    json_depth: int = Field(default=64, ge=1)
    """Deepest nesting of a JSON body."""
    scan_bytes: int = Field(default=262_144, ge=0)
    """How much of the typed input the sensitivity detectors look at, bytes; beyond it the label is `unscanned`."""
    mcp_message_bytes: int = Field(default=8 * 1024 * 1024, ge=4096)
    """Longest message of an MCP server that is passed on, bytes: each is read before it goes on."""
    shutdown_s: float = Field(default=30, gt=0)
    """Time to finish what is being sent when asked to stop, seconds."""


class Log(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Settings(Section):
    """All settings of one Assentry."""

    data: Path = Path("/var/lib/assentry")
    """Data directory: embedded store, ledger, generated keys."""
    log: Log = Log.INFO
    """Log level."""
    agents: AgentsDoor = AgentsDoor()
    """The agents' door."""
    approvers: ApproversDoor = ApproversDoor()
    """The approvers' door."""
    operators: OperatorsDoor = OperatorsDoor()
    """The operators' door."""
    issuers: tuple[Issuer, ...] = ()
    """Whose tokens we believe."""
    groups: dict[Name, Group] = {}
    """Groups that gates may ask approvals of."""
    person_max_age_s: int = Field(default=86_400, ge=60)
    """How old what we know of a person's groups may be when their approval is counted, seconds."""
    upstreams: tuple[Upstream, ...] = ()
    """The APIs behind the gate."""
    policy: Policy = Policy()
    """The law."""
    store: Store = Store()
    """The store."""
    ledger: Ledger = Ledger()
    """The ledger."""
    holds: Holds = Holds()
    """Held calls."""
    limits: Limits = Limits()
    """Limits of the doors."""
    demo: bool = False
    """Demo mode: plain-HTTP issuers and listeners are accepted on loopback."""
