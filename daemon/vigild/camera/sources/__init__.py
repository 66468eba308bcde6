"""Where frames come from: one module a kind.

`base`             what every source is; `make`: the one that a configuration names
`v4l2`             cameras at /dev/video*
`video`            video files and RTSP, by OpenCV's FFmpeg
`mjpeg`            the splitter of MJPEG byte streams
`http`, `command`  MJPEG from a server, and from a command's standard output
`unchunk`          HTTP's chunked transfer, undone
`images`           folders of pictures
`testcard_source`  pictures the worker renders
"""
