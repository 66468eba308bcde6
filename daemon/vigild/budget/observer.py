"""What the sensor says, parted into what this work does at once and what is slow.

    observer = begin(celsius)
    observer = follow(observer, celsius, quick_celsius, seconds)
    observer.slow, observer.slope

The die answers the load within seconds; the board below it, the air and other programs move in minutes. So
`reading - gain * filtered load` is a slow quantity, whose level and slope an alpha-beta filter (a Kalman filter of
constant velocity in its steady state) follows without lag on a ramp. The governor's load is the one for which
slow + gain * load is the temperature that is to be held. In the kernel's power allocator the sum of the errors finds
that load; the slow part does the same as an integral that cannot wind up, because it is made of the load that
really ran, not of the one that was asked for. Pure.
"""

from __future__ import annotations

import math

import msgspec

RESPONSE_S = 10.0
"""Time constant of the filter: shorter follows a failing fan sooner, longer lets less noise through."""
NOISE_S = 60.0
"""Over which the sensor's noise is estimated."""
JUMP_DEVIATIONS, JUMP_CELSIUS, JUMP_ALPHA = 2.0, 0.2, 0.7
"""Two surprises in a row of so many deviations and °C on one side are a jump, of which the level follows this part."""
JUMP_S, JUMP_COMING, MOST_COMING = 4.0, 1.5, 4.0
"""Time constant of a jump (a die's), what is expected beyond each of its steps (of one second; a third of what an
exact exponential would still bring, since noise looks like one), and the most of it, °C."""
LEVEL_NOISE, SLOPE_NOISE = 0.35, 0.022
"""Standard deviation of level (°C) and slope (°C/s) for noise of 1 °C a reading, at this response and a reading
a second: sqrt(5/4 * (1 - theta)) and sqrt((1 - theta)^3 / 2) with theta = exp(-1 / RESPONSE_S)."""


class Observer(msgspec.Struct, frozen=True):
    """Of one sensor."""

    slow: float
    """°C that would be left if the quick part were taken away."""
    slope: float = 0.0
    """Of `slow`, °C/s."""
    noise: float = 0.3
    """Standard deviation of a reading, °C."""
    celsius: float = 0.0
    """The reading, smoothed as little."""
    celsius_slope: float = 0.0
    """Of the reading, °C/s: what people are told."""
    coming: float = 0.0
    """°C of a jump upwards that the die has not followed yet."""
    run: int = 0
    """Surprises in a row that are beyond noise, of one sign (negative: downwards)."""


def begin(celsius: float, quick: float = 0.0) -> Observer:
    """From the first reading."""
    return Observer(slow=celsius - quick, celsius=celsius)


def follow(observer: Observer, celsius: float, quick: float, seconds: float) -> Observer:
    """One more reading, `seconds` after the last; `quick`: what the load adds to it at once, °C."""
    theta = math.exp(-seconds / RESPONSE_S)
    alpha, beta = 1 - theta * theta, (1 - theta) ** 2
    expected = observer.slow + observer.slope * seconds
    surprise = celsius - quick - expected
    told = observer.celsius + observer.celsius_slope * seconds
    share = min(seconds / NOISE_S, 1.0)
    # Another program, or a fan that starts: the level jumps. Taken for a slope it would be overshot.
    sign = math.copysign(1, surprise)
    far = abs(surprise) > JUMP_DEVIATIONS * observer.noise + JUMP_CELSIUS
    run = int(sign) * (abs(observer.run) * (observer.run * sign > 0) + 1) if far else 0
    coming = observer.coming * math.exp(-seconds / JUMP_S)
    if abs(run) >= 2:
        alpha, beta = JUMP_ALPHA, beta / 4
        # Steps of an exponential shrink by a constant factor: what is still to come is a multiple of the last one.
        coming = min(max(coming, surprise * JUMP_COMING), MOST_COMING)
    # A surprise beyond three deviations is news, not noise.
    counted = min(abs(surprise), 3 * observer.noise + 0.1)
    return Observer(
        run=run,
        coming=coming,
        slow=expected + alpha * surprise,
        slope=observer.slope + beta / max(seconds, 1e-3) * surprise,
        noise=math.sqrt((1 - share) * observer.noise**2 + share * counted**2),
        celsius=told + alpha * (celsius - told),
        celsius_slope=observer.celsius_slope + beta / max(seconds, 1e-3) * (celsius - told),
    )
