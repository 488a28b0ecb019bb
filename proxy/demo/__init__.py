"""Everything the demo embeds: an issuer, APIs, an agent."""
