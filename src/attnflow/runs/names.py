"""The names of what lies in a run's folder, or in a sweep's."""

from __future__ import annotations

__all__ = [
    "ASIDE",
    "CANDIDATE",
    "ERROR_FILE",
    "HYDRA",
    "RECORDS",
    "RESULTS",
    "SKIPPED_FILE",
    "SWEEP",
]

# Where Hydra writes its records, before the task runs,
HYDRA = ".hydra"
# and where it writes them while those of a run that is to go on are there.
CANDIDATE = ".hydra.next"
# What a sweep's job that failed leaves in its folder,
ERROR_FILE = "error.txt"
# and one that was left out, because it would have repeated another.
SKIPPED_FILE = "skipped.txt"
# What a run writes that it would be a loss to mix with another's,
RESULTS = ("results.json", "samples", "csv", "tensorboard", "wandb", "checkpoints")
# and what it writes besides. The checkpoints are last: while they stay, so does the run.
RECORDS = (HYDRA, "train.log", "eval.log", "environment.json", ERROR_FILE, SKIPPED_FILE)
# What Hydra writes into a sweep's folder.
SWEEP = "multirun.yaml"
# Where overwrite=true puts what was there.
ASIDE = "overwritten"
