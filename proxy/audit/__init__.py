"""The ledger: records, chains, spool, sinks."""
