"""The camera worker: opens sources, watches them, and turns their frames into input tensors.

`worker`       the process: its control channel and its cameras
`pipeline`     one camera's thread: open, grab, check, deliver, reopen
`live`         newest wins; `every`: each frame exactly once
`reading`      from a grab to a frame, for both
`delivery`     what both deliver with: outlets, credits, the queue, held frames, limits
`limits`       holds and caps: whether a frame may go now
`outlet`       the camera's end of one link: its slots, its tensor spec, what is on the way
`frames`       a frame that is held, and the buffers it lives in
`convert`      pixels into the bytes of an input tensor
`orientation`  rotate, flip and EXIF as one of eight
`exif`         how a picture file says it is to be turned
`jpeg`         JPEG headers, and decoding at reduced size
`health`       frozen and blank pictures
`backoff`      when to try again
`snapshot`     a held frame as a JPEG, with boxes
`sources`      devices, files, streams, commands
`warden`       keeps an exec: command and all its descendants killable
`testcard`     pictures with known contents

NumPy and OpenCV live here, never in the hub.
"""
