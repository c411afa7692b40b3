"""A table names videos by the ends of their paths."""

from pathlib import Path

import pytest

from dfercli.path_ends import PathEnds

PATHS = ("v/a.mp4", "w/a.mp4", "w/b.mp4", "a.mp4", "../c.mp4")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("b.mp4", ["w/b.mp4"]),
        ("./w/b.mp4", ["w/b.mp4"]),
        ("a.mp4", ["a.mp4"]),  # the exact path is meant, not all paths that end in it
        ("./a.mp4", ["a.mp4"]),
        ("v/a.mp4", ["v/a.mp4"]),
        ("folder/w/a.mp4", ["w/a.mp4"]),
        ("/x/folder/w/a.mp4", ["w/a.mp4"]),
        ("../c.mp4", ["../c.mp4"]),
        ("c.mp4", ["../c.mp4"]),
        ("mp4", []),
        ("/a.mp4", []),
        ("", []),
        (".", []),
    ],
)
def test_a_path_is_found_by_its_end(asked, found):
    assert PathEnds(PATHS, Path("/x/folder")).fitting(asked) == found


def test_an_end_of_several_paths_means_all_of_them():
    assert PathEnds(PATHS[:3]).fitting("a.mp4") == ["v/a.mp4", "w/a.mp4"]
