"""Faces in a photo: how many, how large, where (P15). The only module that imports OpenCV, from the extra ``faces``.

Off unless the setting ``faces`` is on: one photo takes ten times the work of all other measures together. It finds
faces and recognises nobody. How often it errs stands in ``docs/photos.md``, which is why its rules only remind.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from certflow.errors import ConfigurationError

Measures = dict[str, object]
Plane = npt.NDArray[np.uint8]

_CASCADE = "haarcascade_frontalface_alt2.xml"
_SMALLEST = 24
"""Side in pixels, at half the size, of the smallest face looked for: a sixth of the width of 295 px."""
_STEP = 1.1
_NEIGHBOURS = 3
_own = threading.local()


def require() -> None:
    """ConfigurationError when OpenCV, or its detector, is not installed."""
    _detector()


def measure(pixels: Plane) -> Measures:
    """Columns of the photo frame for decoded pixels (rows, columns, 1 or 3 channels).

    `photo_faces`: how many; of the largest one, None where there is none: `photo_face_width`: its box's share of the
    picture's width, `photo_face_x`, `photo_face_y`: its middle, as shares of width and height from the upper left.
    ConfigurationError as `require`.
    """
    detector = _detector()
    plane = pixels[:, :, pixels.shape[2] // 2].astype(np.uint16)  # green is near enough to luminance
    height, width = (size // 2 * 2 for size in plane.shape)
    corners = [plane[down:height:2, across:width:2] for down in (0, 1) for across in (0, 1)]
    small = (sum(corners[1:], corners[0]) // 4).astype(np.uint8)  # at half the size as well as at the full one
    found = detector.detectMultiScale(small, _STEP, _NEIGHBOURS, minSize=(_SMALLEST, _SMALLEST))
    boxes = [tuple(int(value) for value in box) for box in found]
    if not boxes:
        return {"photo_faces": 0}
    left, top, across, down = max(boxes, key=lambda box: box[2])
    return {
        "photo_faces": len(boxes),
        "photo_face_width": across / small.shape[1],
        "photo_face_x": (left + across / 2) / small.shape[1],
        "photo_face_y": (top + down / 2) / small.shape[0],
    }


def _detector() -> Any:  # noqa: ANN401 (OpenCV may not be there to give its type)
    """One per thread: a detector must not be used by two at once."""
    if not hasattr(_own, "detector"):
        try:
            import cv2

            cv2.setNumThreads(1)  # photos are measured in threads of our own
            _own.detector = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / _CASCADE))
        except (ImportError, AttributeError):  # OpenCV 5 has no such detector any more
            _own.__dict__.pop("detector", None)
            raise ConfigurationError(
                "已打开人脸检查（CERTFLOW_FACES=on），但没有安装所需的 OpenCV 4：请运行 pip install 'certflow[faces]'"
            ) from None
    return _own.detector
