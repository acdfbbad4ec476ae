"""One server for all tests of this folder."""

import pytest

from security.cage import Cage


@pytest.fixture(scope="session")
def cage(tmp_path_factory):
    started = Cage(tmp_path_factory.mktemp("cage"))
    yield started
    started.close()
