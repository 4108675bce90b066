"Pictures that a page can afford: a stored PNG full of fur and grass becomes a JPEG of a fraction of its size."
import base64
import io

from PIL import Image

LARGE = 40_000  # bytes; below it a PNG stays what it is
GAIN = 0.6  # a JPEG must be this much smaller to be worth its loss
QUALITY = 88


def as_jpeg(png: str) -> str | None:
    "The picture as JPEG, both in base64; None where a PNG is small or nearly as good."
    data = base64.b64decode(png)
    if len(data) < LARGE:
        return None
    picture = Image.open(io.BytesIO(data)).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")  # as the page has it behind every figure
    out = io.BytesIO()
    Image.alpha_composite(paper, picture).convert("RGB").save(out, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return base64.b64encode(out.getvalue()).decode() if len(out.getvalue()) < GAIN * len(data) else None


def lighter(output: dict) -> dict:
    "An output of a cell, its picture as JPEG where that pays."
    png = output.get("data", {}).get("image/png")
    jpeg = as_jpeg("".join(png)) if png else None
    if not jpeg:
        return output
    data = {mime: value for mime, value in output["data"].items() if mime != "image/png"}
    return {**output, "data": {"image/jpeg": jpeg, **data}}
