"""What is told in a sentence, and what is a bug that needs its traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from refusals import refused
from torch.utils.data import DataLoader

from attnflow.errors import AttnFlowError
from attnflow.utils.sentences import expected_error
from attnflow.utils.validation import locate


def error_of(raising) -> Exception:
    with pytest.raises(Exception) as told:  # noqa: PT011 -- of any kind
        raising()
    return told.value


class Refusing:
    """A data set whose worker refuses."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise AttnFlowError("image a.png: expected 8 x 8 pixels, got 9 x 9.")


def raised(error: Exception) -> Exception:
    """Raised from another one's cause."""
    try:
        raise RuntimeError("outer") from error
    except RuntimeError as outer:
        return outer


def refused_by_wandb() -> Exception:
    from wandb.errors import UsageError

    return UsageError("no such entity:\n  x")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AttnFlowError("x is 3."), "x is 3."),
        (raised(AttnFlowError("x is 3.")), "x is 3."),
        (MisconfigurationException("no"), "lightning: MisconfigurationException: no"),
        (refused_by_wandb(), "wandb: UsageError: no such entity: x"),
        (error_of(Path("/nowhere/x").read_text), "/nowhere/x: No such file or directory."),
        (PermissionError(13, "Permission denied", "logs"), "logs: Permission denied."),
        (OSError(28, "No space left on device", "last.ckpt"), "last.ckpt: No space left on dev"),
        (
            raised(RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")),
            "data.num_workers: RuntimeError: DataLoader worker (pid(s) 7) exited unexpectedly (ki",
        ),
        (MemoryError(), "out of memory (MemoryError:); a smaller model"),
        (torch.OutOfMemoryError("2 GiB"), "out of memory (OutOfMemoryError: 2 GiB)"),
        (
            error_of(lambda: list(DataLoader(Refusing(), num_workers=1))),
            "image a.png: expected 8 x 8 pixels, got 9 x 9.",
        ),
        (
            error_of(lambda: instantiate({"a": {"_target_": "torch.optim.Adam", "lr": 1}})),
            "a: TypeError: Adam.__init__() missing 1 required positional argument: 'params'",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(error, sentence) -> None:
    told = expected_error(error)
    assert told.startswith(sentence)
    assert "\n" not in told


def bug() -> Exception:
    """One in this package's own code, while an object is made of a config."""
    broken = {"a": {"_target_": "attnflow.transforms.Squeeze.forward", "self": 1, "x": None}}
    return error_of(lambda: instantiate(broken))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes"),
        ValueError("no"),
        KeyError("x"),
        AssertionError(),
        OSError("without a path"),
        error_of(lambda: torch.zeros(2) @ torch.zeros(3)),
        bug(),
    ],
)
def test_a_bug_keeps_its_traceback(error) -> None:
    assert expected_error(error) is None


def test_the_traceback_can_be_asked_for(command, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert "nowhere" in refused(command, "train", "resume=nowhere.ckpt")
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "target", "sentence"),
    [
        ("import not_there", "mine.A", "the import of mine fails: ModuleNotFoundError: No module"),
        ("1 / 0", "mine.A", "the import of mine fails: ZeroDivisionError: division by zero ("),
        ("def f(:", "mine.A", "the import of mine fails: SyntaxError"),
        ("class Attention: ...", "mine.Atention", "mine has no 'Atention'; did you mean 'Att"),
        ("class A:\n  class B: ...", "mine.A.C", "but A has no 'C'."),
        ("x = 3", "mine.x", "expected a class or a function, got int."),
        ("x = 3", "mine", "expected a class or a function, got module."),
        ("x = 3", "theirs.x", "there is no module 'theirs'"),
        ("x = 3", "", "expected the full name of a class, got ''."),
        ("x = 3", None, "expected the full name of a class, got None."),
    ],
)
def test_a_target_tells_what_it_lacks(tmp_path, monkeypatch, code, target, sentence) -> None:
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(AttnFlowError) as told:
        locate(target, "attention")
    assert str(told.value).startswith("attention._target_")
    assert sentence in str(told.value)
    sys.modules.pop("mine", None)


def test_a_target_within_a_class_is_found() -> None:
    assert locate("torch.optim.Adam.step", "x") is torch.optim.Adam.step
    assert locate("${other}", "x") is None
