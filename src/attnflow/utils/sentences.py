"""Tell an error in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb

from attnflow.errors import AttnFlowError

__all__ = ["expected_error", "named"]


# The types by which other libraries refuse how they are used, their subclasses too; by their names,
# as importing the libraries takes seconds.
REFUSALS = {
    "lightning.fabric.utilities.exceptions.MisconfigurationException",
    "omegaconf.errors.OmegaConfBaseException",
    "pydantic_core._pydantic_core.ValidationError",
    "torchmetrics.utilities.exceptions.TorchMetricsUserError",
    "wandb.errors.errors.Error",
}
# The error that Hydra raises for any failure while it makes an object.
INSTANTIATION = "hydra.errors.InstantiationException"
# The module of Lightning that gives a trainer what a checkpoint holds.
RESTORER = "lightning.pytorch.trainer.connectors.checkpoint_connector"


def expected_error(error: BaseException) -> str | None:
    """The sentence that tells ``error`` to a user; None for a bug, which needs its traceback.

    Expected are, wherever they are raised: :class:`AttnFlowError`; the types of other libraries
    that say "this is not how I am used" (:data:`REFUSALS`); a path that the system refuses; want of
    memory; and a data loader's worker that was killed. What is raised while an object is made of
    what the config names and says is expected as well, unless this package's own code raised it,
    which tells its users by AttnFlowError; and what Lightning meets while it restores a checkpoint.
    ``HYDRA_FULL_ERROR=1`` shows the traceback of them all.
    """
    chain = list(causes(error))
    for each in chain:
        if isinstance(each, AttnFlowError):
            return own_words(each)
    if full_name(type(error)) == INSTANTIATION and not is_own(chain[-1]):
        message, _, key = str(error).partition("full_key: ")
        said = f"{key}: {words(chain[-1])}" if key and len(chain) > 1 else message
        return " ".join(said.split())
    for each in chain:
        if (
            isinstance(each, MemoryError)
            or "OutOfMemory" in full_name(type(each))
            or (isinstance(each, RuntimeError) and "DefaultCPUAllocator: " in str(each))
        ):
            return (
                f"out of memory ({words(each)}); a smaller model, or a smaller "
                "data.global_batch_size, is needed."
            )
        if isinstance(each, RuntimeError) and str(each).startswith("DataLoader worker (pid"):
            return (
                f"data.num_workers: {words(each)} (killed, often for want of memory); fewer "
                "workers are needed, and resume=auto goes on from what was saved."
            )
        if isinstance(each, OSError) and each.filename is not None:
            return f"{each.filename}: {each.strerror}."
        if REFUSALS & {full_name(base) for base in type(each).__mro__}:
            key = getattr(each, "full_key", None) or type(each).__module__.split(".")[0]
            return f"{key}: {words(each)}"
    if path := restored_from(error):
        return f"resume: the checkpoint {path} cannot be restored ({words(chain[-1])})."
    return None


def restored_from(error: BaseException) -> str | None:
    """The checkpoint that Lightning was restoring when an error was raised; None for none."""
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") == RESTORER and "restore" in frame.f_code.co_name:
            return str(frame.f_locals["self"]._ckpt_path)
    return None


@contextmanager
def named(source: object) -> Iterator[None]:
    """Tell whatever is raised within in one sentence that names ``source``, as its user's input.

    For what a file says: no error that it leads to is a bug.

    Raises:
        AttnFlowError: in the place of every other exception.
    """
    try:
        yield
    except Exception as error:
        said = expected_error(error) or words(list(causes(error))[-1])
        raise AttnFlowError(said if str(source) in said else f"{source}: {said}") from error


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, the one that it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__


def own_words(error: AttnFlowError) -> str:
    """The sentence of an error, without the traceback that a DataLoader's worker puts around it."""
    text = str(error).strip()
    is_wrapped = text.startswith("Caught ") and "\n" in text
    return text.splitlines()[-1].partition(": ")[2] if is_wrapped else text


def words(error: BaseException) -> str:
    """The type of an error and what it says, in one line."""
    text = str(error)
    if full_name(type(error)).startswith("omegaconf."):  # it goes on with the key and its type
        text = text.split("\n")[0]
    return " ".join(f"{type(error).__name__}: {text}".split())


def is_own(error: BaseException) -> bool:
    """Whether the code that raised an error is this package's."""
    module = ""
    for frame, _ in walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
    return module.split(".")[0] == "attnflow"


def full_name(kind: type) -> str:
    """The module and the name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"
