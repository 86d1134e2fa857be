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
    "TRAIN",
]

# The task whose failures are runs too: a report lists them.
TRAIN = "train"
# The folder that Hydra writes its records to before the task runs,
HYDRA = ".hydra"
# and the one for a resumed run, whose earlier records are still there.
CANDIDATE = ".hydra.next"
# The file that a failed job of a sweep leaves in its folder,
ERROR_FILE = "error.txt"
# and that of a job left out because it would have repeated another.
SKIPPED_FILE = "skipped.txt"
# Output of a run, which must not be mixed with another's,
RESULTS = ("results.json", "samples", "csv", "tensorboard", "wandb", "checkpoints")
# its log by the name of its task,
LOGS = tuple(f"{task}.log" for task in ("train", "eval", "sample", "score", "export", "explore"))
# and its other files. The checkpoints are moved last: while they stay, so does the run.
RECORDS = (HYDRA, *LOGS, "environment.json", ERROR_FILE, SKIPPED_FILE)
# The file that Hydra writes into a sweep's folder.
SWEEP = "multirun.yaml"
# The subfolder that overwrite=true moves an earlier run into.
ASIDE = "overwritten"
