"""The benchmark of the stages of loading: what it measures. How fast anything is, no test says."""

from paddle_alexnet.benchmark.loader import PLAIN, benchmark_loader, format_loading


def test_every_stage_is_timed_beside_the_plain_loader(demo_set, caplog):
    caplog.set_level("INFO", "paddle_alexnet")
    table = benchmark_loader(demo_set, workers=(1, 2), batch_size=4, images=6, repeats=1, device="cpu")
    assert set(table["workers"]) == {1, 2}
    assert {"read", "decode", "transform", "collate", "whole loader", PLAIN} <= set(table["stage"])
    assert (table["images_per_second"] > 0).all()
    assert table.loc[table["stage"] == PLAIN, "times_plain"].eq(1).all()
    assert "6 images of" in caplog.text
    lines = format_loading(table).splitlines()
    assert len(lines) == len(table)
    assert any(line.startswith(PLAIN) and line.endswith("1.00 × plain") for line in lines)
