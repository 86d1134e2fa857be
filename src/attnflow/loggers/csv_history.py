"""One CSV file of a run's metrics, over all its legs."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only

from attnflow.utils.files import write_whole

__all__ = ["CSVHistory", "carry_history"]

log = logging.getLogger(__name__)


class ContinuedWriter(ExperimentWriter):
    """Writes on at the end of a file that is there, where Lightning would delete it."""

    def _check_log_dir_exists(self) -> None:
        pass  # Lightning's deletes the file; :meth:`save` reads its columns

    def save(self) -> None:
        """Write the rows that wait; where that fails, no part of one is left, and they wait on.

        The columns are those of the file, which a failed save may have left without new ones.
        """
        file = Path(self.metrics_file_path)
        before = file.read_bytes() if file.is_file() else b""
        header = before.partition(b"\n")[0].decode(errors="replace")
        self.metrics_keys = next(csv.reader([header]), [])
        try:
            super().save()
        except OSError:
            with suppress(OSError), file.open("r+b") as opened:
                opened.write(before)  # into room that the file has already
                opened.truncate()
            raise

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        file = Path(self.metrics_file_path)
        with file.open(newline="") as opened:
            header, *rows = list(csv.reader(opened)) or [[]]
        written = io.StringIO()
        writer = csv.DictWriter(written, fieldnames)
        writer.writeheader()
        # A row of another length, which only a damaged file has, is of no column.
        whole = (row for row in rows if len(row) == len(header))
        writer.writerows(dict(zip(header, row, strict=True)) for row in whole)
        write_whole(file, written.getvalue())


class CSVHistory(CSVLogger):
    """Lightning's CSV logger, which a resumed run goes on with in the same file.

    Args:
        save_dir: the run's folder.
        name: of a folder within, where ``version_0/metrics.csv`` lies.
        flush_logs_every_n_steps: rows that a kill can cost, in steps.
    """

    def __init__(
        self, save_dir: str, name: str = "csv", flush_logs_every_n_steps: int = 100
    ) -> None:
        super().__init__(save_dir, name, 0, flush_logs_every_n_steps=flush_logs_every_n_steps)

    @property
    @rank_zero_experiment
    def experiment(self) -> ContinuedWriter:
        """The writer, made at its first use."""
        if not isinstance(self._experiment, ContinuedWriter):
            self._experiment = ContinuedWriter(self.log_dir)
        return self._experiment


@rank_zero_only
def carry_history(loggers: Iterable[Logger], checkpoint: Path, step: int) -> None:
    """Begin a resumed run's CSV files with the rows of the run that it goes on with.

    Rows from the checkpoint's step on are left out: they are logged again. So is a row that a
    kill has cut short.

    Args:
        loggers: of this run, which have written nothing yet.
        checkpoint: that training goes on from, in the ``checkpoints`` folder of its run.
        step: of the checkpoint.
    """
    run_dir = checkpoint.resolve().parent.parent
    for logger in loggers:
        if not isinstance(logger, CSVHistory):
            continue
        target = Path(logger.log_dir) / ExperimentWriter.NAME_METRICS_FILE
        source = run_dir / logger.name / target.parent.name / target.name
        if source.is_file():
            write_whole(target, rows_before(source, step))


def rows_before(file: Path, step: int) -> str:
    """The header of a metrics.csv and its whole rows of steps before ``step``, as CSV.

    Nothing of a file that is no such table.
    """
    text = file.read_text(errors="replace").replace("\0", "")
    whole_lines = text[: text.rfind("\n") + 1]
    header, *rows = list(csv.reader(io.StringIO(whole_lines))) or [[]]
    if "step" not in header:
        log.warning("%s is no table with a step; the metrics before are not carried on.", file)
        return ""
    place = header.index("step")
    kept = [row for row in rows if len(row) == len(header) and _is_before(row[place], step)]
    written = io.StringIO()
    csv.writer(written).writerows([header, *kept])
    return written.getvalue()


def _is_before(cell: str, step: int) -> bool:
    try:
        return float(cell) < step
    except ValueError:
        return False
