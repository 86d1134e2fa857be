"""torch.compile for flows: one graph a step, without graph breaks."""

from __future__ import annotations

import torch

from attnflow.flows.base import Flow

__all__ = ["compile_flow"]

# The limit on graphs of one piece of code. Steps of one kind and shape share a graph; levels,
# parities, training, evaluation and other batch sizes need their own. torch's default is 8.
MOST_GRAPHS = 512


def compile_flow(flow: Flow, backend: str = "inductor") -> None:
    """Compile what a flow computes forward, in place: each of its blocks is one graph.

    The inverse stays eager, as it may iterate, and so does the initialisation. Names of parameters
    do not change, and what is computed is the same up to rounding.

    Args:
        flow: graphs are made when its blocks are first called.
        backend: of ``torch.compile``.
    """
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MOST_GRAPHS)
    # Dropout draws what eager code would draw: the inverse of a reversible step relies on it.
    options = {"fallback_random": True} if backend == "inductor" else None
    for block in flow.blocks():
        if any(True for _ in block.parameters()):  # a squeeze is not worth a graph
            block.compile(fullgraph=True, dynamic=False, backend=backend, options=options)
