"""Interpreters: upstream APIs, channels to people, sinks for the ledger.

They know the law's values, never its rulings.
"""
