"""model.yaml of an LLM API's model: read where PyYAML is, written without it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelkit.backends.key import Refused


def write(path: Path, given: Mapping[str, Any], note: str = "") -> Path:
    """Write settings, which may be one level deep, as YAML below a note; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write(f"# {note}\n" if note else "")
        for key, value in given.items():
            deeper = value.items() if isinstance(value, Mapping) else ()
            file.write(f"{key}:\n" if deeper else f"{key}: {json.dumps(value)}\n")
            file.writelines(f"  {inner}: {json.dumps(each)}\n" for inner, each in deeper)
    return path


def read(path: Path) -> dict[str, Any]:
    """Return what a model.yaml says; Refused when it is not there or is none, ModuleNotFoundError without PyYAML."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"no {path.parent.name}/{path.name}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{path.parent.name}/{path.name} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict):
        raise Refused(f"{path.parent.name}/{path.name} has no keys")
    return found
