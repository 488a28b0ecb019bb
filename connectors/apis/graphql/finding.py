"""The GraphQL connector: what its section of a catalogue file says, and the package it needs.

`connectors.apis.graphql.speaking` does the work. It is loaded only where an upstream speaks GraphQL, because it stands
on graphql-core, which others do not need.
"""

from __future__ import annotations

from connectors.apis.entries import Section
from connectors.apis.errors import CatalogueRefused, Fault
from connectors.apis.finders import Spoken

KEYS = frozenset({"schema", "queries", "mutations", "path", "persisted", "batches", "ignored", "limits"})


def spoken(section: Section, *, upstream: str) -> Spoken:
    """The operations of the upstream's schema. Raises CatalogueRefused where graphql-core is not installed."""
    try:
        from connectors.apis.graphql import speaking
    except ModuleNotFoundError as missing:
        if missing.name != "graphql":
            raise
        needed = 'needs graphql-core: install "assentry[graphql]"'
        raise CatalogueRefused((Fault(file=section.faults.file, where=section.where, message=needed),)) from missing
    return speaking.spoken(section, upstream=upstream)
