"""``python -m attnflow.report FOLDER``: compare the runs of a sweep, or of any folder."""

from __future__ import annotations

import argparse
import sys
from io import TextIOWrapper
from pathlib import Path

from attnflow.utils.signals import end_at_signals

if __name__ == "__main__":
    end_at_signals()  # first: from here on, Ctrl-C leaves no traceback

from attnflow.errors import AttnFlowError
from attnflow.report.write import write_report

EPILOG = (
    "Runs that failed or are damaged are listed apart and do not keep the others from being "
    "compared; the status is 1 only where no report was written."
)


def main() -> None:
    """Write the report and say where it lies."""
    parser = argparse.ArgumentParser(
        prog="python -m attnflow.report", description=__doc__, epilog=EPILOG
    )
    parser.add_argument("folder", type=Path, help="of a sweep, of several runs, or of one")
    parser.add_argument("--metric", help="what to sort by; val/bpd by default")
    parser.add_argument("--pictures", type=int, default=24, help="of how many of the best runs")
    parser.add_argument(
        "--by",
        metavar="KEY[,KEY]",
        type=lambda text: [key.strip() for key in text.split(",")],
        default=[],
        help="settings that rows are made of, as attention,model.levels; all that vary by default",
    )
    given = parser.parse_args()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a folder's name may hold any byte
    try:
        print(write_report(given.folder, given.metric, given.pictures, given.by))
    except (AttnFlowError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
