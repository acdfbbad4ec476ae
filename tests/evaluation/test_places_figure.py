"""The map of the places that parts are at."""

from dprd_cli.evaluation.places_figure import places_figure, tells_places

NAMES = ("left", "right", "upper", "bottom", "upper left", "upper right")


def statistics(shifts, *rows):
    parts = [
        {"part": name, "shares": row, "entropy": 0.5, "steadiness": 0.9}
        for name, row in zip(NAMES, rows, strict=False)
    ]
    return {"places": {"shifts": shifts, "all": {"per_part": parts}}}


def test_each_part_has_a_map_and_sizes_at_a_place_add_up():
    shifts = [[0, 0, 1], [0.5, 0, 1], [0.5, 0, 2], [-0.5, 0, 1], [0, 0.5, 1], [0.5, 0.5, 1]]
    figure = places_figure(statistics(shifts, *[[0.3, 0.25, 0.25, 0.2, 0.0, 0.0]] * 6))
    maps = [axes for axes in figure.axes if axes.images]
    assert (len(figure.axes), len(maps)) == (8, 6)
    assert [text.get_text() for text in maps[0].texts] == ["20 %", "30 %", "50 %"]
    assert maps[0].get_title() == "left\nentropy 0.50, steady 90 %"
    assert [label.get_text() for label in maps[0].get_xticklabels()] == ["-0.5", "0", "+0.5"]
    (frame,) = maps[0].patches  # the reference part's place: the middle column, the upper row
    assert frame.get_xy() == (0.5, -0.5)


def test_where_it_is_not_known():
    assert not tells_places(None)
    assert not tells_places({"parts": []})
    assert tells_places(statistics([[0, 0, 1]], [1.0]))
