"""Takes a picture of a report with Chromium, for the README.

    python scripts/screenshot_report.py report.html docs/report.png --width 1440 --height 1500 [--dark]

Needs `chromium` (or `chrome`, `google-chrome`) on the path; nothing else, and no network.
"""

from __future__ import annotations

import argparse
import html
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--mute-audio",
    "--virtual-time-budget=4000", "--allow-file-access-from-files",
)  # fmt: skip


def screenshot(report: Path, picture: Path, width: int, height: int, *, dark: bool = False, scale: float = 1) -> None:
    """Writes `picture` (PNG), `width` x `height` CSS pixels. Raises CalledProcessError when the browser fails."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"no browser found; install one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as folder:
        # Headless windows do not get narrower than about 500 pixels; a frame does.
        page = Path(folder) / "frame.html"
        page.write_text(
            f'<!doctype html><meta name="color-scheme" content="light dark"><style>body{{margin:0}}'
            f"iframe{{border:0;width:{width}px;height:{height}px}}</style>"
            f'<iframe src="{html.escape(report.resolve().as_uri())}"></iframe>',
            encoding="utf-8",
        )
        subprocess.run(
            [
                browser, *QUIET, f"--user-data-dir={folder}/profile", f"--force-device-scale-factor={scale}",
                # Blink's preferred colour scheme: 0 is dark, 1 is light.
                f"--blink-settings=preferredColorScheme={0 if dark else 1}",
                f"--window-size={max(width, 500)},{height}", f"--screenshot={picture.resolve()}", page.as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=1500)
    parser.add_argument("--scale", type=float, default=1.0, help="device pixels per CSS pixel")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    screenshot(options.report, options.picture, options.width, options.height, dark=options.dark, scale=options.scale)


if __name__ == "__main__":
    main()
