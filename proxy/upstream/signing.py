"""Signs a call to AWS with the operator's keys, at the last moment (Signature Version 4, by botocore).

Decides what is signed: the host, what AWS reads, and the digest of the very body. What other software on the way may
add or change (User-Agent, Via, Accept-Encoding) is left out. Nothing of the agent's own signature is ever here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from urllib.parse import unquote, urlsplit

from config.settings import Aws, AwsCredential, Upstream
from connectors.apis.aws.models import NEEDED, Model, NoBotocore, load
from policy.reasons import Reason
from proxy.errors import BrokenPromise, OperatorFault
from proxy.upstream.pool import Outgoing

_MADE_HERE = ("authorization", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token")
_SIGNED = frozenset({"cache-control", "content-md5", "content-type", "expires", "range"})


@cache
def place_of(aws: Aws) -> Model:
    """What AWS calls the service in a credential scope, and how it is spoken to. Raises OperatorFault."""
    try:
        model = load(aws.service)
    except NoBotocore as exc:
        raise OperatorFault(Reason.CREDENTIAL_UNAVAILABLE, f"The service '{aws.service}': {NEEDED}.") from exc
    if model is None:
        raise OperatorFault(Reason.CREDENTIAL_UNAVAILABLE, f"AWS has no service '{aws.service}' that is known here.")
    return model


def signer(upstream: Upstream, aws: Aws, keys: AwsCredential) -> Callable[[Outgoing], Outgoing]:
    """What signs a message to this upstream, each time anew. Raises OperatorFault where the settings do not do."""
    model = place_of(aws)
    from botocore import auth as signers
    from botocore.awsrequest import AWSRequest
    from botocore.config import Config
    from botocore.credentials import Credentials

    # At DEBUG botocore writes down what it signs, session tokens among it.
    signers.logger.setLevel(logging.INFO)
    token = keys.session_token.get_secret_value() if keys.session_token else None
    credentials = Credentials(keys.access_key_id.get_secret_value(), keys.secret_access_key.get_secret_value(), token)
    kind = signers.S3SigV4Auth if model.signs_raw_paths else signers.SigV4Auth
    auth = kind(credentials, model.signing_name, aws.region)
    place = urlsplit(upstream.url)
    # Without this, S3's bodies would be left out of the signature over TLS.
    whole = Config(s3={"payload_signing_enabled": True})

    def sign(message: Outgoing) -> Outgoing:
        if message.upload is not None:
            raise BrokenPromise(Reason.INTERNAL, "A call to AWS is signed with its body, which was not there whole.")
        path, _, query = message.target.partition("?")
        call = AWSRequest(
            method=message.method,
            url=f"{place.scheme}://{place.netloc}{path}",
            headers={name: value for name, value in _texts(message) if name in _SIGNED or name.startswith("x-amz")},
            data=message.body,
            params=_pairs(query),
        )
        call.context["client_config"] = whole
        auth.add_auth(call)
        made = tuple(
            (name.lower().encode("ascii"), value.encode("ascii"))
            for name, value in call.headers.items()
            if name.lower() in _MADE_HERE
        )
        return replace(message, headers=(*message.headers, *made))

    return sign


def _texts(message: Outgoing) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("ascii"), value.decode("ascii")) for name, value in message.headers)


def _pairs(query: str) -> list[tuple[str, str]]:
    # Decoded here and encoded by botocore, as AWS does it with what it receives.
    pairs = (piece.partition("=") for piece in query.split("&") if piece)
    return [(unquote(key), unquote(value)) for key, _, value in pairs]
