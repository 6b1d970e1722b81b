"""The benchmark of the loader: every stage, beside a plain loader."""

from paddle_alexnet.benchmark.loader import PLAIN, benchmark_loader


def test_benchmark_times_every_stage_beside_the_plain_loader(demo_set, capsys):
    table = benchmark_loader(demo_set, workers=(1, 2), batch_size=4, images=6, repeats=1, device="cpu")
    assert set(table["workers"]) == {1, 2}
    assert {"read", "decode", "transform", "collate", "whole loader", PLAIN} <= set(table["stage"])
    assert (table["images_per_second"] > 0).all()
    assert table.loc[table["stage"] == PLAIN, "times_plain"].eq(1).all()
    assert "6 images of" in capsys.readouterr().out
