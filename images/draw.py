"""Draws the pictures of this folder and the card that social networks show for the site.

python images/draw.py
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from petbreeds.paperpets import BREEDS, draw_pet
from petbreeds.paperpets.sheets import GROUND, INK, breeds_sheet, corner_mask, individuals_sheet

STRIP = ["beagle", "Abyssinian", "pug", "Siamese", "shiba_inu", "Ragdoll", "chihuahua", "Egyptian_Mau", "samoyed"]
ON_CARD = [
    "Bengal",
    "basset_hound",
    "Birman",
    "boxer",
    "Bombay",
    "english_setter",
    "Maine_Coon",
    "leonberger",
    "Persian",
    "keeshond",
]
SLOGAN = "telling 37 breeds of cats and dogs apart"
CARD = (1200, 630)


def row(names, size, gap, ground) -> Image.Image:
    "Breeds side by side in their calm pose, with rounded corners."
    width, height = size
    out = Image.new("RGB", (len(names) * (width + gap) - gap, height), ground)
    for i, name in enumerate(names):
        picture = Image.fromarray(draw_pet(name, 0, size=size, neutral=True).rgb)
        out.paste(picture, (i * (width + gap), 0), corner_mask(width, height, 12))
    return out


def strip() -> Image.Image:
    "Nine breeds, for the top of the first page, on white that turns transparent."
    picture = row(STRIP, (160, 178), 12, "white")
    mask = row_mask(len(STRIP), (160, 178), 12)
    return Image.merge("RGBA", (*picture.split(), mask))


def row_mask(n, size, gap) -> Image.Image:
    "Opaque where the pictures of a row are."
    width, height = size
    mask = Image.new("L", (n * (width + gap) - gap, height), 0)
    for i in range(n):
        mask.paste(corner_mask(width, height, 12), (i * (width + gap), 0))
    return mask


def card() -> Image.Image:
    "What social networks show beside a link to the course."
    out = Image.new("RGB", CARD, GROUND)
    pen = ImageDraw.Draw(out)
    pen.text((60, 46), "petbreeds", fill=INK, font=ImageFont.load_default(size=92))
    pen.text((64, 160), SLOGAN, fill=INK, font=ImageFont.load_default(size=42))
    for line in range(2):
        out.paste(row(ON_CARD[5 * line : 5 * line + 5], (204, 190), 15, GROUND), (60, 230 + 200 * line))
    return out


def main():
    assert {*STRIP, *ON_CARD} <= {*BREEDS}
    breeds_sheet().save(ROOT / "images" / "paperpets.png", optimize=True)
    individuals_sheet().save(ROOT / "images" / "individuals.png", optimize=True)
    strip().save(ROOT / "images" / "strip.webp", quality=82, method=6)
    card().save(ROOT / "docs" / "_static" / "card.jpg", quality=84, optimize=True)


if __name__ == "__main__":
    main()
