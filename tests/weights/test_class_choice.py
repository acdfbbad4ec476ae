import pytest

from dprd_cli.errors import UsageError
from dprd_cli.weights.class_choice import find_classes

NAMES, IDS = ("cat", "traffic light", "salt, pepper", "7"), (3, 7, 9, 1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["cat"], (0,)),
        (["Traffic Light", "CAT"], (0, 1)),
        (["cat,9", "cat"], (0, 2)),
        ([3, 9], (0, 2)),
        (["salt, pepper"], (2,)),  # a name may have a comma
        (["7"], (3,)),  # a name comes before an id
        ([" cat , 1 ,"], (0, 3)),
    ],
)
def test_names_and_ids(wanted, found):
    assert find_classes(wanted, NAMES, IDS) == found


def test_what_is_not_there_is_named_with_what_is():
    with pytest.raises(
        UsageError, match=r"^--classes cta: no such class \(did you mean 'cat'\?\); the detector"
    ):
        find_classes(["cta"], NAMES, IDS)
    with pytest.raises(
        UsageError, match=r"knows cat \(3\), traffic light \(7\), salt, pepper \(9\), 7 \(1\)$"
    ):
        find_classes(["4"], NAMES, IDS)
    with pytest.raises(UsageError, match=r", and 88 more$"):
        find_classes(["x"], [f"class{n}" for n in range(100)], range(100))
    with pytest.raises(UsageError, match="name at least one"):
        find_classes([","], NAMES, IDS)
