"""MCP servers behind the gate: what their messages may say either way, and how a held one is kept waiting."""
