"""Where frames come from: one module a kind.

`base`             what every source is; `make`: the one that a configuration names
`v4l2`             cameras at /dev/video*
`video`            video files and RTSP, by OpenCV's FFmpeg
`mp4`              how a video's track is to be turned
`mjpeg`            the splitter of MJPEG byte streams; `parts`: the text between its pictures
`silence`          bytes come, but no picture: when that is to be said, and how
`exchange`, `response`   one HTTP request, and the head of its answer
`http`, `command`  MJPEG from a server, and from a command's standard output
`unchunk`          HTTP's chunked transfer, undone
`images`           folders of pictures; `still`: one picture in a file's bytes
`testcard_source`  pictures the worker renders
"""
