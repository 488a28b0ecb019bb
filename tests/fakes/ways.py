"""Which way calls take through a gate of a test that does not say: every test has to hold on both.

`TESTS_FAST_PATH=off pytest tests/hostile tests/stories` runs them on the ordinary path.
"""

from __future__ import annotations

import os

FAST_PATH = os.environ.get("TESTS_FAST_PATH", "on") != "off"
