"""The other side: routes, connections, credentials."""
