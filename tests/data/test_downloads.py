"""What users read when a download fails or a file is not the official one."""

from __future__ import annotations

import re
import urllib.request
from http.client import IncompleteRead
from urllib.error import URLError

import pytest
from official_files import SETS

from attnflow import AttnFlowError
from attnflow.data import CIFAR10DataModule, SVHNDataModule

DOWNLOADED = [name for name in SETS if name != "imagenet32"]


@pytest.fixture(params=[URLError("no route to host"), IncompleteRead(b"", 10), TimeoutError()])
def _no_network(request, monkeypatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise request.param

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.usefixtures("_no_network")
@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_failed_download_names_the_files_and_their_folder(name, tmp_path) -> None:
    data = SETS[name][0](str(tmp_path))
    message = f"a folder that lacks {', '.join(data.files)}, and"
    with pytest.raises(AttnFlowError, match=re.escape(message)):
        data.prepare_data()


@pytest.mark.parametrize(
    ("make", "file"),
    [(CIFAR10DataModule, "cifar-10-batches-py/data_batch_3"), (SVHNDataModule, "test_32x32.mat")],
)
def test_a_file_with_another_checksum_is_named(make, file, tmp_path) -> None:
    """Every file is another than the official one; the ones that are there are named so."""
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"hello")
    others = ", ".join(name for name in make.files if name != file)
    message = f"a folder that lacks {others} and holds damaged {file}, and"
    with pytest.raises(AttnFlowError, match=re.escape(message)):
        make(str(tmp_path), download=False).prepare_data()
