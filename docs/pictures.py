"Pictures that a page can afford and show in the dark: fur and grass as JPEG, and plots told from pictures."
import base64
import io

import numpy as np
from PIL import Image

LARGE = 40_000  # bytes; below it a PNG stays what it is
GAIN = 0.6  # a JPEG must be this much smaller to be worth its loss
QUALITY = 80
PLOT = 0.53  # of its area is paper; drawn and photographed animals leave less


def on_paper(image: str) -> Image.Image:
    "A stored image, in base64, on white, as the page has it behind every figure."
    picture = Image.open(io.BytesIO(base64.b64decode(image))).convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def is_plot(output: dict) -> bool:
    """Whether an output of a cell holds no picture but lines on paper, whose lightness can be turned round on a dark
    page."""
    images = ["".join(data) for mime, data in output.get("data", {}).items() if mime in ("image/png", "image/jpeg")]
    return all((np.asarray(on_paper(image)).min(2) >= 250).mean() > PLOT for image in images)


def as_jpeg(png: str) -> str | None:
    "The picture as JPEG, both in base64; None where a PNG is small or nearly as good."
    size = len(base64.b64decode(png))
    if size < LARGE:
        return None
    out = io.BytesIO()
    on_paper(png).save(out, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return base64.b64encode(out.getvalue()).decode() if len(out.getvalue()) < GAIN * size else None


def lighter(output: dict) -> dict:
    "An output of a cell, its picture as JPEG where that pays."
    png = output.get("data", {}).get("image/png")
    jpeg = as_jpeg("".join(png)) if png else None
    if not jpeg:
        return output
    data = {mime: value for mime, value in output["data"].items() if mime != "image/png"}
    return {**output, "data": {"image/jpeg": jpeg, **data}}
