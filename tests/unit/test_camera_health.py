import numpy as np

from vigild.camera import health
from vigild.camera.health import PictureWatch


def picture(seed: int = 1, height: int = 480, width: int = 640) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_changing_picture_is_fine() -> None:
    watch = PictureWatch(1.5, 1.5)
    assert all(watch.look(n, False, n * 0.5) is None for n in range(20))


def test_frozen_after_the_time_is_over() -> None:
    watch = PictureWatch(1.5, 1.5)
    assert watch.look(1, False, 10.0) is None
    assert watch.look(1, False, 11.4) is None
    fault = watch.look(1, False, 11.5)
    assert fault is not None
    assert fault.cause == "frozen"
    assert "1.5 s" in fault.reason


def test_one_new_picture_starts_the_clock_again() -> None:
    watch = PictureWatch(1.5, 1.5)
    watch.look(1, False, 10.0)
    watch.look(2, False, 11.4)
    assert watch.look(2, False, 12.8) is None
    assert watch.look(2, False, 12.9) is not None


def test_blank_after_the_time_is_over() -> None:
    watch = PictureWatch(1.5, 1.0)
    assert watch.look(1, True, 10.0) is None
    assert watch.look(2, None, 10.5) is None
    fault = watch.look(3, True, 11.0)
    assert fault is not None
    assert fault.cause == "blank"


def test_not_blank_in_between() -> None:
    watch = PictureWatch(1.5, 1.0)
    watch.look(1, True, 10.0)
    watch.look(2, False, 10.5)
    assert watch.look(3, True, 11.2) is None


def test_zero_turns_a_check_off() -> None:
    watch = PictureWatch(0.0, 0.0)
    assert all(watch.look(1, True, float(n)) is None for n in range(100))


def test_blank() -> None:
    assert health.is_blank(np.full((480, 640, 3), (0, 135, 0), np.uint8))
    assert health.is_blank(np.full((4, 4, 3), 7, np.uint8))
    assert not health.is_blank(picture())
    grey = np.full((480, 640, 3), 100, np.uint8)
    grey[::2] += 2
    assert health.is_blank(grey), "what a codec leaves of a constant"
    half = np.full((480, 640, 3), 100, np.uint8)
    half[:100] = 90
    assert not health.is_blank(half), "the middle row alone does not decide"
    columns = np.full((480, 640, 3), 100, np.uint8)
    columns[:, :320] = 90
    assert not health.is_blank(columns)


def test_fingerprint_sees_a_small_change() -> None:
    one, two = picture(), picture()
    assert health.fingerprint(one) == health.fingerprint(two)
    two[100:110, 200:210] ^= 1
    assert health.fingerprint(one) != health.fingerprint(two)


def test_fingerprint_of_small_pictures() -> None:
    assert health.fingerprint(picture(1, 16, 16)) != health.fingerprint(picture(2, 16, 16))


def test_jpeg_fingerprint() -> None:
    data = bytes(range(256)) * 40
    assert health.jpeg_fingerprint(data) == health.jpeg_fingerprint(bytes(data))
    assert health.jpeg_fingerprint(data) != health.jpeg_fingerprint(data[:-1])
    assert health.jpeg_fingerprint(data) != health.jpeg_fingerprint(data[1:] + b"x")
