"""JSON-RPC 2.0 APIs: a method is an operation."""
