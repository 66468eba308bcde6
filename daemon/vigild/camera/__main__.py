"""`python -m vigild.camera`: a camera worker. The hub starts it."""

from __future__ import annotations

import os

from vigild.ipc import worker

# Read by OpenCV and its libraries when they are loaded.
LIBRARY_ENVIRONMENT = {
    # Their words on stderr are no log, and FFmpeg's repeat URLs with their passwords.
    "OPENCV_LOG_LEVEL": "OFF",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # AV_LOG_QUIET, libavutil/log.h
    # UDP loses packets on every Wi-Fi camera, and a lost one shows as grey smear until the next key frame.
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "rtsp_transport;tcp",
    # Default 10 s (modules/videoio/src/cap_v4l.cpp): too long to notice a camera that stopped.
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def main() -> None:
    inherited = worker.start()
    for name, value in LIBRARY_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vigild import log

    log.setup(worker=True)
    import cv2

    # The interpreter needs the cores; a resize of 0.3 ms gains nothing from threads.
    cv2.setNumThreads(1)
    cv2.ocl.setUseOpenCL(False)

    from vigild.camera.worker import CameraWorker

    CameraWorker(inherited).run()
    # A thread may still be inside a driver; waiting for it could take for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
