"""An HTTP server of MJPEG, as a process:

    python mjpeg_server.py PORT [chunked] [auth|digest=USER:PASSWORD] [fps=N] [host=ADDRESS]

/stream   multipart, changing pictures        /frozen   the same picture again and again
/blank    one single colour                   /sizes    the size changes after 15 frames
/broken   JPEGs that cannot be decoded        /page     HTML
/moved    redirects to /stream                /still    one JPEG; ?no-length: ends with the connection;
                                                        ?one-part: as a multipart answer of one part
/ends     closes after 5 frames               /silent   a header, and then nothing
Prints its port once it listens; port 0 takes a free one.
"""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np

OPTIONS = dict(argument.partition("=")[::2] for argument in sys.argv[2:])
FPS = float(OPTIONS.get("fps", 25))
BOUNDARY = b"frame"
REALM, NONCE = "camera", "abcdef0123456789"


def picture(n: int, width: int = 640, height: int = 480) -> bytes:
    pixels = np.full((height, width, 3), (40, 80, 120), np.uint8)
    left = 8 * n % (width - 100)
    cv2.rectangle(pixels, (left, 100), (left + 90, 190), (20, 220, 240), cv2.FILLED)
    return encode(pixels)


def encode(pixels: Any) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels)[1])


def digest_is_right(userinfo: str, given: str, method: str) -> bool:
    """RFC 2617, without qop."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', given))
    user, _, password = userinfo.partition(":")
    one = md5(f"{user}:{REALM}:{password}")
    two = md5(f"{method}:{fields.get('uri', '')}")
    return fields.get("response") == md5(f"{one}:{NONCE}:{two}")


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


BLANK = encode(np.full((480, 640, 3), (0, 135, 0), np.uint8))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        return

    def do_GET(self) -> None:
        wanted = OPTIONS.get("auth")
        given = self.headers.get("Authorization", "")
        digest = OPTIONS.get("digest")
        if digest and not digest_is_right(digest, given, self.command):
            self.answer(401, "text/plain", b"no", ("WWW-Authenticate", f'Digest realm="{REALM}", nonce="{NONCE}"'))
        elif wanted and given != "Basic " + base64.b64encode(wanted.encode()).decode():
            self.answer(401, "text/plain", b"no")
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/stream")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/page":
            self.answer(200, "text/html; charset=utf-8", b"<html><img src=/stream></html>")
        elif self.path.startswith("/still"):
            self.still(self.path.partition("?")[2])
        elif self.path == "/missing":
            self.answer(404, "text/plain", b"nothing here")
        else:
            self.stream()

    def answer(self, status: int, kind: str, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def still(self, way: str) -> None:
        if not way:
            self.answer(200, "image/jpeg", picture(0))
            return
        self.close_connection = True
        self.send_response(200)
        multipart = way == "one-part"
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame" if multipart else "image/jpeg")
        self.end_headers()
        self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" * multipart + picture(0))

    def stream(self) -> None:
        chunked = "chunked" in OPTIONS
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}")
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Connection", "close")))
        self.end_headers()
        n = 0
        while True:
            if self.path == "/silent" or (self.path == "/stops" and n >= 5):
                time.sleep(0.1)
                self.wfile.flush()
                continue
            if self.path == "/ends" and n == 5:
                self.close_connection = True
                return
            part = b"--%b\r\nContent-Type: image/jpeg\r\n\r\n%b\r\n" % (BOUNDARY, self.frame(n))
            try:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            except OSError:
                return
            n += 1
            time.sleep(1 / FPS)

    def frame(self, n: int) -> bytes:
        if self.path == "/frozen":
            return picture(0)
        if self.path == "/blank":
            # Another comment each time, so that only the picture is the same.
            return BLANK[:2] + b"\xff\xfe\x00\x06%04d" % (n % 10000) + BLANK[2:]
        if self.path == "/sizes":
            return picture(n, *((640, 480) if n < 15 else (320, 240)))
        if self.path == "/broken":
            return b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00" + b"\xff\xda\x00\x02%04d\xff\xd9" % n
        return picture(n)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


if __name__ == "__main__":
    server = Server((OPTIONS.get("host", "127.0.0.1"), int(sys.argv[1])), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
