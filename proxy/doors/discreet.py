"""What aiohttp's own server may say in our log: that something went wrong and of which kind, never the bytes.

Its parser quotes the line that it could not read, and that line may hold a credential.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any


class Discreet(logging.LoggerAdapter[logging.Logger]):
    """A logger that names an exception's type and leaves out its text and its trace."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """The message with the exception's type at its end."""
        fault = kwargs.pop("exc_info", None)
        return (f"{msg} ({type(fault).__name__})" if isinstance(fault, BaseException) else msg), kwargs
