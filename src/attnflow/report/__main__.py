"""``python -m attnflow.report logs/train/multiruns/<time>``: compare a sweep's runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from attnflow.errors import AttnFlowError
from attnflow.report.write import write_report


def main() -> None:
    """Write the report and say where it lies."""
    parser = argparse.ArgumentParser(prog="python -m attnflow.report", description=__doc__)
    parser.add_argument("folder", type=Path, help="of a sweep, or of several runs")
    parser.add_argument("--metric", help="what to sort by; val/bpd by default")
    parser.add_argument("--pictures", type=int, default=24, help="of how many of the best runs")
    arguments = parser.parse_args()
    try:
        path = write_report(arguments.folder, arguments.metric, arguments.pictures)
    except AttnFlowError as error:
        sys.exit(f"error: {error}")
    print(path)


if __name__ == "__main__":
    main()
