"""Keeping held calls: the store, wake-ups, clocks, release."""
