"""A refusal in the words of AWS, so that botocore raises its ClientError with the sentence in it.

Which words those are depends on the protocol that the client speaks: XML of S3, JSON, the XML of query services or of
EC2, CBOR. Codes that botocore knows (AccessDenied) are used where they are meant; every other is the reason's own, lest
an agent take a refusal for an answer such as NoSuchKey.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

import orjson

from connectors.apis.aws.models import Protocol

SPEAKING: Mapping[str, Protocol] = {
    "aws-rest-xml": "rest-xml",
    "aws-rest-json": "rest-json",
    "aws-json": "json",
    "aws-query": "query",
    "aws-ec2": "ec2",
    "aws-cbor": "smithy-rpc-v2-cbor",
}
"""The ways to refuse, by the name under which a door asks for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A refusal as it is written."""

    body: bytes
    media_type: str
    headers: tuple[tuple[str, str], ...] = ()


def way(protocol: Protocol, fields: Mapping[str, str]) -> str:
    """The way in which this client wants to be refused. `protocol` is its service's; `fields` its headers."""
    spoken = protocol
    if protocol in ("json", "query", "smithy-rpc-v2-cbor"):
        # Services that speak several: the client's headers tell which one it is.
        if fields.get("smithy-protocol") == "rpc-v2-cbor":
            spoken = "smithy-rpc-v2-cbor"
        elif "x-amz-target" in fields:
            spoken = "json"
        elif protocol == "smithy-rpc-v2-cbor":
            spoken = "query"
    return next(name for name, one in SPEAKING.items() if one == spoken)


def told(way_: str, *, sentence: str, reason: str, status: int, call: str) -> Told:
    """The refusal. `reason` is our code for it, `call` the id that AWS would call a request's."""
    code = _code(reason, status)
    match SPEAKING[way_]:
        case "rest-xml":
            inner = f"{_element('Code', code)}{_element('Message', sentence)}{_element('RequestId', call)}"
            return Told(body=_xml(f"<Error>{inner}</Error>"), media_type="application/xml")
        case "query":
            inner = f"<Type>Sender</Type>{_element('Code', code)}{_element('Message', sentence)}"
            whole = f"<ErrorResponse><Error>{inner}</Error>{_element('RequestId', call)}</ErrorResponse>"
            return Told(body=_xml(whole), media_type="text/xml")
        case "ec2":
            inner = f"{_element('Code', code)}{_element('Message', sentence)}"
            whole = f"<Response><Errors><Error>{inner}</Error></Errors>{_element('RequestID', call)}</Response>"
            return Told(body=_xml(whole), media_type="text/xml")
        case "json":
            members = {"__type": f"{code}Exception", "message": sentence, "Message": sentence}
            return Told(body=orjson.dumps(members), media_type="application/x-amz-json-1.0")
        case "rest-json":
            said = orjson.dumps({"message": sentence, "Message": sentence})
            return Told(body=said, media_type="application/json", headers=(("x-amzn-ErrorType", f"{code}Exception"),))
        case "smithy-rpc-v2-cbor":
            body = b"\xa2" + b"".join(_cbor_text(text) for text in ("__type", f"{code}Exception", "message", sentence))
            return Told(body=body, media_type="application/cbor", headers=(("smithy-protocol", "rpc-v2-cbor"),))


def _code(reason: str, status: int) -> str:
    if status in (401, 403):
        return "AccessDenied"
    return "".join(word.capitalize() for word in reason.split("-"))


def _element(name: str, text: str) -> str:
    # XML 1.0 has no way to write most controls, and a sentence may quote a person.
    plain = "".join(letter if letter >= " " or letter in "\t\n" else " " for letter in text)
    return f"<{name}>{escape(plain)}</{name}>"


def _xml(inner: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{inner}'.encode("utf-8", "replace")


def _cbor_text(text: str) -> bytes:
    """A text string (RFC 8949 section 3.1)."""
    raw = text.encode("utf-8", "replace")
    if len(raw) < 24:
        return bytes([0x60 + len(raw)]) + raw
    if len(raw) < 256:
        return bytes([0x78, len(raw)]) + raw
    return b"\x7a" + len(raw).to_bytes(4, "big") + raw
