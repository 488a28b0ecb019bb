"""Where the settings file is looked for. No imports of weight, so that the command line answers at once."""

from __future__ import annotations

from pathlib import Path

CONFIG_VARIABLE = "ASSENTRY_CONFIG"
"""Names the settings file; not a setting itself."""
DEFAULT_FILE = Path("/etc/assentry/assentry.yaml")
