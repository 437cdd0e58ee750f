"""What `frugal serve` refuses before anything runs; with its server: tests/e2e/test_serve.py."""

import math

import pytest

from flows import serve
from tasks.errors import ConfigError


@pytest.mark.parametrize("name", ["a&b", "a/b", "100%", " "])
def test_a_name_that_prefect_does_not_take_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match="give another with --name"):
        serve._valid_name(name)


@pytest.mark.parametrize("every", [math.nan, math.inf, 1e300, 1e-9])
def test_an_interval_that_is_none_is_told(every: float) -> None:
    with pytest.raises(ConfigError, match="must be minutes, from a second to a year"):
        serve._schedule(serve.Times(None, None, every, "UTC"), None)


@pytest.mark.parametrize("cron", ["", "61 * * * *", "* * *", "daily"])
def test_a_cron_expression_that_is_none_is_told(cron: str) -> None:
    with pytest.raises(ConfigError, match="no cron expression"):
        serve._schedule(serve.Times(None, None, 5, "UTC"), cron)


@pytest.mark.parametrize("zone", ["", "Mars/Phobos", "../etc/passwd", "/etc/passwd"])
def test_a_zone_that_is_none_is_told(zone: str) -> None:
    with pytest.raises(ConfigError, match="no such time zone"):
        serve._schedule(serve.Times(None, None, 5, zone), None)
