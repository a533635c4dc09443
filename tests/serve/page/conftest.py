import pytest
from starlette.testclient import TestClient

from tests.serve.page.shop import ShopLive, browser_of


@pytest.fixture
def live() -> ShopLive:
    return ShopLive()


@pytest.fixture
def browser(live: ShopLive) -> TestClient:
    return browser_of(live)
