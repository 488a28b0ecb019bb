"""GitHub: what a call needs of an App's token."""
