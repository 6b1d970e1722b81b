"""The splits: sizes that add up, and pictures that stay where they are when others come or go."""

from collections import Counter

import pytest

from paddle_alexnet.data.splits import draw_splits, parse_split, split_sizes
from paddle_alexnet.system.errors import UserError


def draw(pictures: list[tuple[str, str]], **options: int) -> dict[tuple[str, str], str]:
    return dict(zip(pictures, draw_splits(pictures, **{"seed": 0, **options})))


def pictures(label: str, count: int) -> list[tuple[str, str]]:
    return [(label, f"{label}/{number}.jpg") for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 10, 99, 100, 101, 1300])
@pytest.mark.parametrize("proportions", [(70, 10, 20), (98, 1, 1), (1, 1, 98), (33.3, 33.3, 33.4), (80, 20, 0)])
def test_sizes_add_up_and_none_is_empty(count, proportions):
    sizes = split_sizes(count, proportions=proportions)
    assert sum(sizes.values()) == count
    assert sizes["train"]
    for name, share in zip(("train", "val", "test"), proportions):
        assert bool(sizes.get(name)) == bool(share) or count < 3
        assert abs(sizes.get(name, 0) - count * share / 100) < 1 or count * min(p for p in proportions if p) < 100


def test_a_hundred_images_split_exactly():
    assert Counter(draw(pictures("a", 100)).values()) == {"train": 70, "val": 10, "test": 20}


@pytest.mark.parametrize("count", [10, 60, 100, 137])
def test_split_with_one_more_image_moves_at_most_two_images(count):
    before, after = draw(pictures("a", count)), draw(pictures("a", count + 1))
    assert sum(before[picture] != after[picture] for picture in before) <= 2


def test_a_class_more_moves_nothing():
    before = draw(pictures("b", 60))
    after = draw(pictures("a", 30) + pictures("b", 60) + pictures("c", 7))
    assert {picture: after[picture] for picture in before} == before


def test_order_tells_nothing_and_the_seed_does():
    some = pictures("a", 50)
    assert draw(some) == draw(some[::-1])
    assert draw(some) != draw(some, seed=1)


def test_groups_stay_together():
    some = [(label, f"patient{number % 20}") for label in ("ill", "well") for number in range(100)]
    drawn = draw_splits(some, seed=3)
    of_group = {group: {split for (_, other), split in zip(some, drawn) if other == group} for _, group in some}
    assert all(len(splits) == 1 for splits in of_group.values())
    assert Counter(next(iter(splits)) for splits in of_group.values()) == {"train": 14, "val": 2, "test": 4}


def test_a_group_counts_as_one_of_the_class_that_most_of_it_has():
    mixed = [("a", "shared")] * 3 + [("b", "shared")]
    alone = [("b", f"{number}") for number in range(10)]
    drawn = draw_splits(mixed + alone, seed=0)
    assert len(set(drawn[:4])) == 1
    assert drawn[4:] == draw_splits(alone, seed=0)


@pytest.mark.parametrize("text", ["70,10", "70,10,30", "110,-20,10", "a,b,c", "nan,50,50", ""])
def test_impossible_split_is_refused(text):
    with pytest.raises(UserError, match=r"^split"):
        parse_split(text)
