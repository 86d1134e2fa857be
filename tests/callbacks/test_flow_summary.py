"""The summary of a flow: a row for like steps, every parameter once."""

from __future__ import annotations

import pytest
from assembled import assemble, data_spec

from attnflow.callbacks.flow_summary import count_parameters, summary_of

GLOW = {"model": {"steps": 3, "levels": 2}, "placement": {"steps": "last"}}
TARFLOW = {"model": {"blocks": 3}, "placement": {"steps": "first"}}


@pytest.mark.parametrize(
    ("choices", "options", "places"),
    [
        (
            {"model": "glow", "attention": "imap", "conditioning": "class"},
            GLOW,
            [
                "level 0, squeeze",
                "level 0, step 0 to 1",
                "level 0, step 2",
                "level 0, prior",
                "level 1, squeeze",
                "level 1, step 0 to 1",
                "level 1, step 2",
                "level 1, prior",
                "conditioning",
                "all",
            ],
        ),
        (
            {"model": "tarflow", "attention": "itrans", "placement": "after_transformer"},
            TARFLOW,
            ["patches", "centre", "block 0", "block 1 to 2", "all"],
        ),
    ],
)
def test_like_steps_share_a_row_and_attention_is_named(choices, options, places) -> None:
    model = assemble(data_spec((3, 8, 8)), choices, options)
    table = summary_of(model)
    found, transforms, params = ([*column.cells] for column in table.columns)
    assert found == places
    named = {"imap": "IMap", "itrans": "ITrans"}[choices["attention"]]
    with_attention = [p for p, t in zip(found, transforms, strict=True) if named in t]
    assert with_attention == [p for p in places if p.endswith(("step 2", "block 0"))]
    counts = [int(each.replace(",", "") or 0) for each in params]
    assert sum(counts[:-1]) == counts[-1] == count_parameters(model)


def test_it_is_printed_before_training(train, capsys) -> None:
    train("callbacks.summary={_target_: attnflow.callbacks.flow_summary.FlowSummary}", "test=false")
    assert "Glow of 1 x 8 x 8 images; latents of" in capsys.readouterr().out
