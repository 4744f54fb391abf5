"""Every public name of Keras's is here, or there is a reason why not."""

from __future__ import annotations

import pytest

from tests.coverage_of_keras import MODULES, outdated, table, unexplained


@pytest.mark.parametrize("module", MODULES)
def test_what_is_not_here_has_a_reason(module: str) -> None:
    assert unexplained(module) == []


@pytest.mark.parametrize("module", MODULES)
def test_no_reason_is_out_of_date(module: str) -> None:
    assert outdated(module) == []


def test_the_page_lists_every_name() -> None:
    page = table()
    assert "| `Conv2D` | yes |" in page
    assert "| `RemoteMonitor` | no: sends to a server" in page
