"""Weights & Biases without a network: what it wrote is read back from its own files."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record


def chunks(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format after a 7-byte header.

    Blocks of 32 KiB hold fragments: checksum (4 bytes), length (2), kind (1), data; kind is
    1 for a whole record, 2, 3 and 4 for the first, a middle and the last part of one.
    """
    position, record = 7, b""
    while position < len(data):
        room = 32768 - position % 32768
        if room < 7:
            position += room
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def records(run_dir: Path) -> list[Record]:
    """Every record of the run's .wandb file."""
    (path,) = (run_dir / "wandb").glob("offline-run-*/run-*.wandb")
    return [Record.FromString(chunk) for chunk in chunks(path.read_bytes())]


def history(run_dir: Path) -> list[dict]:
    """Every logged row, as a flat dict."""
    rows = []
    for record in records(run_dir):
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items})
    return rows


def test_an_offline_run_holds_figures_pictures_and_config(train) -> None:
    run_dir = train("logger=wandb", "callbacks.pictures.every_n_epochs=1")
    rows = history(run_dir)
    logged = {name for row in rows for name in row}
    for name in ("val/bpd", "train/bpd", "test/bpd", "lr-AdamW", "images_per_second"):
        assert name in logged, name
    assert {"samples/_type", "samples/filenames"} <= logged
    assert list((run_dir / "wandb").rglob("samples*.png"))
    values = [row["val/bpd"] for row in rows if "val/bpd" in row]
    assert len(values) == 2
    config = {
        item.key
        for record in records(run_dir)
        if record.WhichOneof("record_type") in ("run", "config")
        for item in (
            record.run.config.update
            if record.WhichOneof("record_type") == "run"
            else record.config.update
        )
    }
    assert any("attention" in key for key in config)
