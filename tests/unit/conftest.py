"""What several files of unit tests ask for."""

from __future__ import annotations

import pytest

from tests.rendered import Host, Rendered, render


@pytest.fixture
def rendered(host: Host) -> Rendered:
    """Return what the roles write, on the host of the test among others."""
    return render(host)
