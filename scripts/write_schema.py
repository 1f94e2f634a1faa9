"""Write the JSON Schema of energy.toml into the package: python scripts/write_schema.py [--check]

With --check nothing is written; the exit code is 1 when the file is not what the code says.
"""

from __future__ import annotations

import sys
from pathlib import Path

from outweigh.config import SCHEMA_FILE, render_schema

TARGET = Path(__file__).resolve().parent.parent / "src" / "outweigh" / "data" / SCHEMA_FILE


def main() -> int:
    text = render_schema()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        print(TARGET.relative_to(Path.cwd()) if TARGET.is_relative_to(Path.cwd()) else TARGET)
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.name} is out of date; run: python scripts/write_schema.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
