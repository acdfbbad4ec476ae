import pytest

from dprd_cli.model.parts import UNIT_PARTS
from dprd_cli.structures.part_names import PART_NAMES, part_letters


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_each_part_has_a_name_and_a_sign_of_its_own(count):
    assert len(set(PART_NAMES[count])) == len(UNIT_PARTS[count]) == count
    assert len(set(part_letters(count))) == count


def test_signs_are_first_letters():
    assert part_letters(4) == ("L", "R", "U", "B")
    assert part_letters(16)[4:9] == ("UL", "UR", "BL", "BR", "C1")
