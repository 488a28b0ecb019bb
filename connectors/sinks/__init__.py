"""Where the ledger streams to."""
