"""Start a training from the weights of another, with everything else new."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch

from attnflow.errors import AttnFlowError
from attnflow.models.checkpoint import KEY, misfits, model_state, read_checkpoint
from attnflow.models.contents import check_weights
from attnflow.models.groups import MODEL_GROUPS
from attnflow.models.image_model import ImageModel
from attnflow.training.differences import differences, table
from attnflow.utils.sentences import named

__all__ = ["start_from"]

log = logging.getLogger(__name__)


def start_from(model: ImageModel, path: str, config: Mapping, strict: bool = True) -> None:
    """Give a model the weights of a checkpoint, the averaged ones where it holds such.

    Logs what was taken, and in which options of the architecture the two models differ. What was
    initialised from data in the checkpoint's training is not initialised again.

    Args:
        model: whose weights are replaced.
        path: of the checkpoint.
        config: this run's, composed, in plain values.
        strict: whether every weight must fit; else what fits is taken and the rest is listed.

    Raises:
        AttnFlowError: the checkpoint cannot be read, holds weights that are not finite, or does
            not fit.
    """
    checkpoint = read_checkpoint(path)
    given = model_state(checkpoint)
    broken = [name for name, value in given.items() if not torch.isfinite(value).all()]
    if broken:
        raise AttnFlowError(
            f"init_from: expected finite weights in the checkpoint {path}, got {broken[0]}, which "
            "is not finite."
        )
    unfit = misfits(model.state_dict(), given)
    fitting = {name: value for name, value in given.items() if name not in unfit}
    if unfit and (strict or len(fitting) == 0):
        name, (ours, theirs) = next(iter(unfit.items()))
        remedy = "init_strict=false takes what fits" if fitting else "another checkpoint is needed"
        raise AttnFlowError(
            f"init_from: expected {name} of shape {ours}, as in this model, got {theirs} in the "
            f"checkpoint {path}, and so {len(unfit)} of {len(unfit) + len(fitting)} weights do not "
            f"fit; {remedy}."
        )
    check_weights(model.state_dict(), fitting, path)
    with named(f"init_from: the checkpoint {path}"):
        model.load_state_dict(fitting, strict=False)
    log.info(
        "started from %d weights of %s, step %s", len(fitting), path, checkpoint["global_step"]
    )
    if unfit:
        rows = [f"  {name}  {theirs} there, {ours} here" for name, (ours, theirs) in unfit.items()]
        log.warning("%d weights do not fit and were not taken:\n%s", len(unfit), "\n".join(rows))
    held = checkpoint[KEY]["config"]
    changes = differences(
        *({group: c.get(group) for group in MODEL_GROUPS} for c in (held, config))
    )
    if changes:
        log.info("the architecture differs from the checkpoint's:\n%s", table(changes))
