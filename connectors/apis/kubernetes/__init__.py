"""Kubernetes: calls named as RBAC sees them, from the request line."""
