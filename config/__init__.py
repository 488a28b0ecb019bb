"""Text into settings, once, at start. After that nobody reads the environment."""
