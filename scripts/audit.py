"""Holds every lock file against the known vulnerabilities that PyPI lists, by pip-audit.

`python scripts/audit.py` ends with 1 when a locked package has one, and with 2 when nothing could be looked up: a
package that PyPI does not answer for is one that pip-audit skips, and ends with 0. `--offline-ok` says so too, and ends
with 0: a run without a network is no worse for it, and no proof of anything.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
# What pip-audit asks, for a package that is always there.
INDEX = "https://pypi.org/pypi/pip/25.0/json"


def why_not() -> str:
    """Why PyPI's list of vulnerabilities cannot be had, or ""."""
    try:
        answer = requests.get(INDEX, timeout=15)
        answer.raise_for_status()
        answer.json()["vulnerabilities"]
    except requests.RequestException as err:
        return str(err)
    except (KeyError, TypeError):
        return f"{INDEX} lists no vulnerabilities"
    return ""


def look(lock: Path) -> tuple[list[str], list[str], int]:
    """Faults of a lock file's packages, the packages that were not looked up, and how many were.

    Raises SystemExit where pip-audit says neither.
    """
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run([*command, "-r", str(lock)], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError as err:
        raise SystemExit(f"audit: pip-audit could not read {lock.name} to its end:\n{done.stderr}") from err
    faults = [
        f"{lock.name}: {one['name']} {one['version']} has {fault['id']}; "
        f"mended in {', '.join(fault['fix_versions']) or 'no version yet'}"
        for one in packages
        for fault in one.get("vulns", [])
    ]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    return faults, skipped, len(packages) - len(skipped)


def main(arguments: list[str]) -> int:
    reason, faults, total = why_not(), [], 0
    for lock in [] if reason else sorted(ROOT.glob("requirements*.lock")):
        found, skipped, looked_up = look(lock)
        faults += found
        total += looked_up
        print(f"{lock.name}: {looked_up} packages looked up, {len(found)} known vulnerabilities")
        if skipped:
            print(f"{lock.name}: not on PyPI, so not looked up: {', '.join(skipped)}")
    if not total:
        print(f"audit: NOTHING was looked up: {reason or 'PyPI knows none of the packages'}", file=sys.stderr)
        return 0 if "--offline-ok" in arguments else 2
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
