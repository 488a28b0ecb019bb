"""Who is calling: tokens, issuers, keys, sign-in."""
