"""MCP servers as an API: their messages, the names of their calls, their tools and what pins them."""
