"""Upstream APIs: catalogues, naming, typed input, error shapes."""
