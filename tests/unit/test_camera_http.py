import pytest

from vigild.camera.sources.base import SourceFailed
from vigild.camera.sources.http import HttpSource
from vigild.config.schema import CameraConfig

URL = "http://user:secret@camera.lan:8080/video"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other", "http://user:secret@camera.lan:8080/other"),
        ("http://camera.lan:8080/other", "http://user:secret@camera.lan:8080/other"),
        ("https://camera.lan/other", "https://user:secret@camera.lan/other"),
        ("http://camera.lan:8081/other", "http://camera.lan:8081/other"),
        ("http://elsewhere.lan:8080/other", "http://elsewhere.lan:8080/other"),
        ("//elsewhere.lan/other", "http://elsewhere.lan/other"),
        ("http://guest:guest@elsewhere.lan/other", "http://guest:guest@elsewhere.lan/other"),
    ],
)
def test_credentials_go_to_no_other_server(location: str, target: str) -> None:
    assert HttpSource(URL, CameraConfig(source=URL))._redirected(URL, location) == target


def test_https_credentials_are_not_sent_in_the_clear() -> None:
    url = "https://user:secret@camera.lan/video"
    assert HttpSource(url, CameraConfig(source=url))._redirected(url, "http://camera.lan/") == "http://camera.lan/"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "rtsp://camera.lan/"])
def test_redirects_stay_in_http(location: str) -> None:
    with pytest.raises(SourceFailed, match="not HTTP") as caught:
        HttpSource(URL, CameraConfig(source=URL))._redirected(URL, location)
    assert "secret" not in caught.value.reason
