"""Checkpoints across versions: what one environment trained, the other evaluates and resumes.

python tests/versions.py PYTHON OTHER_PYTHON    # the interpreters of two environments
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAINING = [
    "trainer=cpu",
    "attention=itrans",
    "model.steps=1",
    "coupling_net.hidden_channels=8",
    "trainer.limit_train_batches=5",
    "trainer.check_val_every_n_epoch=1",
    "scheduler=warmup_constant",
    "scheduler.warmup_steps=2",
    "callbacks.progress=null",
    "callbacks.summary=null",
]
# Of bits/dim: two builds of torch add up float32 in another order.
TOLERANCE = 1e-4


def run(python: str, script: str, *arguments: str, run_dir: Path) -> dict[str, float]:
    """Run a command in an environment; returns its results."""
    command = [python, str(ROOT / f"{script}.py"), *arguments, f"hydra.run.dir={run_dir}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=run_dir.parent)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return json.loads((run_dir / "results.json").read_text())


def check_same(what: str, found: float, expected: float) -> None:
    """End with status 1 where two environments give a checkpoint other bits/dim."""
    if not abs(found - expected) <= TOLERANCE:
        sys.exit(f"{what}: expected a test/bpd of {expected}, got {found}.")
    print(f"{what}: test/bpd {found:.6f}")


def cross(first: str, second: str, folder: Path) -> None:
    """Train with the first; evaluate, resume and evaluate again with both."""
    base, longer = folder / "base", folder / "longer"
    trained = run(first, "train", *TRAINING, "trainer.max_epochs=1", run_dir=base)
    best = f"ckpt_path={base}/checkpoints/best.ckpt"
    tested = run(second, "eval", best, "trainer=cpu", "eval.pictures=[]", run_dir=folder / "eval")
    check_same("evaluated by the other", tested["test/bpd"], trained["test/bpd"])
    options = [*TRAINING, "trainer.max_epochs=2", f"resume={base}"]
    resumed = run(second, "train", *options, run_dir=longer)
    if resumed["steps"] != 10:
        sys.exit(f"resumed by the other: expected 10 steps, got {resumed['steps']}.")
    best = f"ckpt_path={longer}/checkpoints/best.ckpt"
    back = run(first, "eval", best, "trainer=cpu", "eval.pictures=[]", run_dir=folder / "back")
    check_same("resumed by the other, and evaluated", back["test/bpd"], resumed["test/bpd"])


def main() -> None:
    """Cross the two environments, both ways."""
    pythons = [str(Path(name).absolute()) for name in sys.argv[1:3]]
    for number, (first, second) in enumerate((pythons, pythons[::-1])):
        print(f"trained by {first}")
        with tempfile.TemporaryDirectory(prefix=f"attnflow_versions_{number}_") as folder:
            cross(first, second, Path(folder))


if __name__ == "__main__":
    main()
