"""One setting that an official backend parses: the stand-in, the linter and the documentation read the same tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ERAS = ("legacy", "bridge", "current")


class Refused(Exception):
    """The configuration or a request is refused; the text is the official backend's where it has one."""


@dataclass(frozen=True)
class Key:
    """A setting: its name, where it stands, its type and default, the eras that know it, what it does and who says so.

    `where` is "parameters" (top level), "command line" (of the server, for the backend), "accelerator NAME" (among its
    parameters) or the dotted path of the message of config.pbtxt that holds the field. `type` is int, size, float,
    bool or string.
    """

    name: str
    type: str
    default: str
    eras: tuple[str, ...]
    effect: str
    source: str
    where: str = "parameters"

    def text(self, settings: Mapping[str, Any]) -> str | None:
        """What stands in a model configuration (as JSON) or in a flat map of settings; None when nothing does."""
        if self.where == "command line" or self.where.startswith("accelerator "):
            return settings.get(self.name)
        node: Any = settings
        for step in self.where.split("."):
            node = node.get(step) or {}
        value = node.get(self.name)
        if self.where == "parameters" and value is not None:
            return value.get("string_value", "")
        return None if value is None else str(value)

    def items(self, settings: Mapping[str, Any]) -> list[Any]:
        """The elements of a repeated field; empty when it is not set."""
        node: Any = settings
        for step in self.where.split("."):
            node = node.get(step) or {}
        return list(node.get(self.name) or [])

    def integer(self, settings: Mapping[str, Any]) -> int:
        """Its integer, read as the C++ function stoi reads it: a leading number counts, what follows does not."""
        text = self.text(settings)
        match = re.match(r"\s*([+-]?\d+)", self.default if text is None else text, re.ASCII)
        if match is None:
            raise Refused(f"failed to convert '{text}' to integral number")
        number = int(match[1])
        if not -(2**31) <= number < 2**31:
            raise Refused(f"failed to convert '{text}' to integral number: {self.name} does not fit into 32 bits")
        return number

    def boolean(self, settings: Mapping[str, Any]) -> bool | None:
        """Its truth value, None when it is not set and the runtime's own default holds."""
        text = self.text(settings)
        if text is None:
            return None
        if text.lower() in ("true", "on", "1"):
            return True
        if text.lower() in ("false", "off", "0"):
            return False
        raise Refused(f"failed to convert '{text}' to boolean")

    def check(self, settings: Mapping[str, Any]) -> None:
        """Refuse a value that cannot be read as the key's type; one that is a size may be as large as C++'s stoull reads."""
        if self.type == "int":
            self.integer(settings)
        elif self.type == "bool":
            self.boolean(settings)
        elif self.type == "size" and not re.match(r"\s*[+-]?\d", self.text(settings) or "", re.ASCII):
            raise Refused(f"failed to convert '{self.text(settings)}' to unsigned long long integral number")
