"""What holds for every test: on CI a missing part is a failure, never a skip."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

_MAY_SKIP = "../shared"
"""Real API descriptions that lie beside the project where they are at hand; their tests say so in their skip."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where CI is set."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = str(call.excinfo.value) if call.excinfo else ""
        if _MAY_SKIP not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped on CI: {reason}"
    return report
