"""When a frame was captured: the camera's own wall clock where RTCP tells it, else from its arrival."""

from __future__ import annotations

#: A camera whose clock is further off than this is not believed: it has no NTP, or another year.
MAX_CLOCK_OFFSET_US = 10_000_000
#: A presentation time that jumps by more than this starts a new time line.
MAX_JUMP_US = 2_000_000
#: A step back of no more than this is waited out: a sender report has put right what arrivals made of the first frames.
MAX_HOLD_US = 1_000_000
#: The fastest arrival is looked for in windows of this length, so that the clocks of camera and host may drift apart.
WINDOW_US = 60_000_000


class CaptureClock:
    """Turns presentation times of one connection into UTC microseconds.

    Frames arrive late by a varying time, never early. So the least difference of arrival and presentation time is the
    steadiest guess of the constant between the two; what a frame is above it, it is behind.
    """

    def __init__(self) -> None:
        self._rtcp_offset_us: int | None = None
        self._arrival_offsets_us: list[int] = []
        self._window_started_us = 0
        self._last_pts_us: int | None = None
        self._last_stamp_us = 0
        self.behind_us = 0

    def observe_rtcp(self, pts_us: int, wall_us: int) -> None:
        """A sender report said that `pts_us` is `wall_us` on the camera's clock."""
        self._rtcp_offset_us = wall_us - pts_us

    def stamp(self, pts_us: int | None, arrival_us: int) -> int:
        """Capture time of a frame; sets `behind_us`, by how much it came later than the fastest ones.

        It goes back only by more than `MAX_HOLD_US`: when the camera's clock, or the time line, was set back.
        """
        if pts_us is None:
            self.behind_us = 0
            return arrival_us
        if self._last_pts_us is not None and abs(pts_us - self._last_pts_us) > MAX_JUMP_US:
            self._arrival_offsets_us = []
            self._rtcp_offset_us = None
        self._last_pts_us = pts_us
        arrival_offset = self._fastest(arrival_us - pts_us, arrival_us)
        self.behind_us = arrival_us - pts_us - arrival_offset
        stamp_us = self.at(pts_us, arrival_us)
        if 0 <= self._last_stamp_us - stamp_us <= MAX_HOLD_US:
            stamp_us = self._last_stamp_us + 1
        self._last_stamp_us = stamp_us
        return stamp_us

    def at(self, pts_us: int, arrival_us: int) -> int:
        """What is known now of when a moment of the stream was captured; `arrival_us` while nothing is."""
        if not self._arrival_offsets_us:
            return arrival_us
        if self._rtcp_offset_us is not None and abs(self.camera_offset_us) <= MAX_CLOCK_OFFSET_US:
            return pts_us + self._rtcp_offset_us
        return pts_us + min(self._arrival_offsets_us)

    @property
    def camera_offset_us(self) -> int:
        """How far the camera's clock is behind the arrival of its frames; 0 until RTCP has told it."""
        if self._rtcp_offset_us is None or not self._arrival_offsets_us:
            return 0
        return min(self._arrival_offsets_us) - self._rtcp_offset_us

    def _fastest(self, offset_us: int, arrival_us: int) -> int:
        if not self._arrival_offsets_us or arrival_us - self._window_started_us > WINDOW_US:
            # The last window's best and this one's: an old minimum is forgotten after two windows.
            self._arrival_offsets_us = [*self._arrival_offsets_us[-1:], offset_us]
            self._window_started_us = arrival_us
        self._arrival_offsets_us[-1] = min(self._arrival_offsets_us[-1], offset_us)
        return min(self._arrival_offsets_us)
