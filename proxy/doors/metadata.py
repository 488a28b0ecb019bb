"""Where an agent that was answered 401 learns who issues tokens for this gate (RFC 9728)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from config.settings import Settings

_PLAIN = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
"""What can stand in a header as it is."""
WELL_KNOWN = "/.well-known/oauth-protected-resource"


def metadata_url(base: str, *, path: str = "") -> str:
    """The metadata's address for a resource: the well-known part stands before the path (RFC 9728 section 3.1).

    The resource is the whole gate, or what has the `path` below it.
    """
    parts = urlsplit(base)
    below = path if _PLAIN.fullmatch(path) else ""
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}{below}"


def resource_metadata(settings: Settings, *, base: str, path: str) -> Mapping[str, object]:
    """The metadata document of the resource at `path`; empty: the whole gate."""
    parts = urlsplit(base)
    return {
        "resource": f"{parts.scheme}://{parts.netloc}{path}" if path else base,
        "authorization_servers": [issuer.issuer for issuer in settings.issuers if issuer.agents_audience],
        "bearer_methods_supported": ["header"],
    }
