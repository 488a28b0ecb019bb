"""Where the settings file is looked for, and which variables are not settings.

No imports of weight, so that the command line answers at once.
"""

from __future__ import annotations

from pathlib import Path

CONFIG_VARIABLE = "ASSENTRY_CONFIG"
"""Names the settings file; not a setting itself."""
URL_VARIABLE = "ASSENTRY_URL"
TOKEN_VARIABLE = "ASSENTRY_TOKEN"
TOKEN_FILE_VARIABLE = "ASSENTRY_TOKEN_FILE"
NO_SETTINGS = frozenset({CONFIG_VARIABLE, URL_VARIABLE, TOKEN_VARIABLE, TOKEN_FILE_VARIABLE})
"""Variables of the command line, which an approver's shell may hold while an operator's command reads settings."""
DEFAULT_FILE = Path("/etc/assentry/assentry.yaml")
