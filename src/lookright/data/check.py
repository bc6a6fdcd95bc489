"""What is in a folder and what is wrong with it, before anything is trained."""

import base64
import html
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from PIL import Image
from torchvision.transforms.v2.functional import resize

from lookright.data.agreement import TURNS, Traits, misfits, own_fit, traits
from lookright.data.probe import Probe, probe, scenery, shape
from lookright.data.samples import Sample, folder_encoding, read_samples
from lookright.data.table import read_table
from lookright.replacing import replacing

TINY = 0.002
NEAR = 4  # bits of 64 in which near-duplicates differ
FEWEST = 8  # masks, of which one can be unlike the others
SUSPICIOUS = 2.5  # spreads, summed over the three fits
_SIDE = 96


@dataclass
class Checked:
    """What was found.

    Attributes:
        folder: that was checked.
        facts: what is there, as (name, value).
        probes: what the scenery alone and the mask's shape alone tell of the class, by name.
        faults: with `image`, `fault`, `score` (higher is worse) and `detail`, worst first.
        weights: suggested: `image`, `mask_weight`.
        skipped: what could not be read.
    """

    folder: Path
    facts: list[tuple[str, str]]
    probes: dict[str, Probe]
    faults: pd.DataFrame
    weights: pd.DataFrame
    skipped: list[str]


def check(folder: Path) -> Checked:
    """Read a whole folder and look for what is wrong with it.

    Raises:
        InputError: its table or what its masks mean cannot be read.
    """
    table = read_table(folder)
    encoding = folder_encoding(folder, table)
    table, samples, skipped = read_samples(folder, table, True, 0.0, encoding, check_pixels=False)
    faults: list[tuple[str, str, float, str]] = []
    features: dict[str, list[np.ndarray]] = {"scenery": [], "shape": []}
    masked: list[int] = []
    shares, hashes, sizes = [], [], []
    fits: dict[str, Traits] = {}
    for index, image in enumerate(table["image"]):
        sample = samples[index]
        sizes.append(tuple(sample.image.shape[:0:-1]))
        pixels, mask = _small(sample)
        hashes.append(difference_hash(pixels))
        if mask is None or table["mask_weight"][index] == 0:
            continue
        masked.append(index)
        share = float(mask.mean())
        shares.append(share)
        if (both := traits(pixels, mask)) is not None:
            fits[image] = both
        features["scenery"].append(scenery(pixels, mask))
        features["shape"].append(shape(mask))
        if share > 0.98:
            faults.append((image, "full mask", 3.0, f"covers {share:.0%}"))
        elif 0 < share < TINY:
            faults.append((image, "tiny mask", 2.0, f"covers {share:.2%}"))
    faults += _empty(table.iloc[masked], np.array(shares))
    faults += _misplaced(fits)
    faults += list(_duplicates(table, hashes))
    found = pd.DataFrame(faults, columns=["image", "fault", "score", "detail"])
    found = found.sort_values(["score", "image"], ascending=[False, True], ignore_index=True)
    bad = set(found["image"][~found["fault"].str.contains("duplicate")])
    weights = table[["image", "mask_weight"]].assign(
        mask_weight=[
            0.0 if image in bad else weight for image, weight in zip(table["image"], table["mask_weight"], strict=True)
        ]
    )
    probes = _probes(table.iloc[masked], features)
    return Checked(folder, _facts(table, sizes, shares, encoding), probes, found, weights, skipped)


def _probes(masked: pd.DataFrame, features: dict[str, list[np.ndarray]]) -> dict[str, Probe]:
    """Of what a model would learn from: the training images, where the table names them."""
    learnt = np.full(len(masked), True)
    if "split" in masked and (masked["split"] == "train").any():
        learnt = (masked["split"] == "train").to_numpy()
    label = masked["label"].to_numpy()[learnt]
    if len(label) < 20 or len(set(label)) < 2:
        return {}
    index = np.unique(label, return_inverse=True)[1]
    return {name: probe(np.stack(values)[learnt], index) for name, values in features.items()}


def _facts(
    table: pd.DataFrame, sizes: list[tuple[int, ...]], shares: list[float], encoding: object
) -> list[tuple[str, str]]:
    facts = [("images", f"{len(table)}, {min(sizes)[0]} to {max(sizes)[0]} pixels wide" if sizes else "0")]
    for column in ("label", "split", "domain"):
        if column in table:
            counts = table[column].value_counts(sort=False).sort_index()
            shown = ", ".join(f"{name or '(none)'} {count}" for name, count in counts.iloc[:20].items())
            facts.append((column, shown + (f" and {len(counts) - 20} more" if len(counts) > 20 else "")))
    facts.append(("masks", f"{len(shares)} of {len(table)} images"))
    if shares:
        low, middle, high = np.quantile(shares, [0.05, 0.5, 0.95])
        facts.append(("masks cover", f"{middle:.0%} of an image, {low:.0%} to {high:.0%} for nine of ten"))
    kinds = [kind.name for kind in getattr(encoding, "kinds", {}).values()]
    facts.append(("masks are read as", "; ".join(kinds) or "encoding.yaml says" if shares else "there are none"))
    return facts


def _small(sample: Sample) -> tuple[UInt8[np.ndarray, "S S 3"], Float[np.ndarray, "S S"] | None]:
    pixels = np.asarray(resize(sample.image, [_SIDE, _SIDE], antialias=True).permute(1, 2, 0))
    if sample.mask is None:
        return pixels, None
    mask = sample.mask[:1]
    values = (mask if mask.is_floating_point() else mask / 255).numpy()[0]
    small = Image.fromarray(values.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return pixels, np.asarray(small)


def difference_hash(image: UInt8[np.ndarray, "H W 3"]) -> int:
    """64 bits: whether each of 8 × 8 places is brighter than its right neighbour. Copies differ in few bits."""
    grey = np.asarray(Image.fromarray(image).convert("L").resize((9, 8), Image.Resampling.BOX), int)
    return int("".join("01"[bit] for bit in (grey[:, :-1] > grey[:, 1:]).reshape(-1).astype(int)), 2)


def _empty(table: pd.DataFrame, shares: Float[np.ndarray, " n"]) -> Iterator[tuple[str, str, float, str]]:
    """Empty masks of classes that have evidence: where most are empty, as of healthy patients, none is a fault."""
    empty = pd.Series(shares == 0, index=table.index)
    usual = empty.groupby(table["label"]).transform("mean") > 0.5
    for image in table["image"][empty & ~usual]:
        yield image, "empty mask", 4.0, "nothing is evidence"


def _misplaced(found: dict[str, Traits]) -> Iterator[tuple[str, str, float, str]]:
    """Masks that tell the image's colours and textures apart worse than the others do, or better when turned."""
    if len(found) < FEWEST:
        return
    for (image, one), value in zip(found.items(), misfits(list(found.values())), strict=True):
        if value < SUSPICIOUS:
            continue
        score = min(1 + value / 8, 4.4)
        fits = own_fit(one)
        if fits[1:].max() > fits[0]:
            kind = TURNS[int(fits[1:].argmax())]
            yield image, f"mask perhaps {kind}", score, f"fits the image's colours better when it is {kind}"
        else:
            yield image, "mask perhaps shifted or of another image", score, "fits the image's colours badly"


def _duplicates(table: pd.DataFrame, hashes: list[int]) -> Iterator[tuple[str, str, float, str]]:
    """Pairs that look alike, in different splits or with different labels."""
    bands: dict[tuple[int, int], list[int]] = defaultdict(list)
    for index, value in enumerate(hashes):
        for band in range(NEAR + 1):  # of two that differ in NEAR bits, one of NEAR + 1 parts is equal
            bands[band, value >> (13 * band) & 0x1FFF].append(index)
    seen: set[tuple[int, int]] = set()
    for members in bands.values():
        # A part that very many share (a plain sky) tells nothing: only neighbours by value are compared then.
        ordered = sorted(members, key=lambda index: hashes[index])
        pairs = (
            pairwise(ordered)
            if len(members) > 200
            else ((one, two) for place, one in enumerate(ordered) for two in ordered[place + 1 :])
        )
        seen |= {(min(pair), max(pair)) for pair in pairs if (hashes[pair[0]] ^ hashes[pair[1]]).bit_count() <= NEAR}
    for one, two in sorted(seen):
        bits = (hashes[one] ^ hashes[two]).bit_count()
        kind = "duplicate" if bits == 0 else "near-duplicate"
        for column, score in (("split", 5.0), ("label", 3.5)):
            if column in table and table[column][one] != table[column][two]:
                other = f"{table['image'][one]} ({column} {table[column][one]})"
                yield table["image"][two], f"{kind} in another {column}", score - bits / 10, f"looks like {other}"
                break


def as_text(checked: Checked, most: int = 30) -> str:
    """One page."""
    width = max(len(name) for name, _ in checked.facts)
    lines = [str(checked.folder), *(f"  {name:<{width}}  {value}" for name, value in checked.facts), ""]
    said = {"scenery": "The scenery alone", "shape": "The mask's shape alone"}
    for name, result in checked.probes.items():
        lines.append(
            f"{said[name]} {result.verdict}: {result.accuracy:.0%} right by a linear probe, chance {result.chance:.0%} "
            f"(up to {result.limit:.0%})."
        )
    if checked.skipped:
        lines += ["", f"{len(checked.skipped)} images cannot be read:", *(f"  {one}" for one in checked.skipped[:most])]
    number = len(checked.faults)
    told = f"{number} faults, worst first:" if number > 1 else "1 fault:" if number else "No faults found."
    lines += ["", told]
    lines += [f"  {row.image}: {row.fault} ({row.detail})" for row in checked.faults.head(most).itertuples()]
    if number > most > 0:
        lines.append(f"  and {number - most} more")
    return "\n".join(lines)


def write_html(checked: Checked, path: Path, most: int = 100) -> None:
    """The same page with a picture of each fault."""
    table = read_table(checked.folder)
    rows = table.set_index("image").loc[lambda t: ~t.index.duplicated()]
    worst = checked.faults.head(most)
    _, samples, _ = read_samples(checked.folder, rows.loc[worst["image"]].reset_index(), cache=0.0, check_pixels=False)
    pictures = []
    for row, sample in zip(worst.itertuples(), samples, strict=True):
        pixels, mask = _small(sample)
        pair = [pixels, np.repeat(((mask if mask is not None else 0 * pixels[..., 0]) * 255)[..., None], 3, 2)]
        png = io.BytesIO()
        Image.fromarray(np.concatenate(pair, axis=1).astype(np.uint8)).save(png, "png")
        data = base64.b64encode(png.getvalue()).decode()
        words = html.escape(f"{row.image}: {row.fault} ({row.detail})")
        source = f"data:image/png;base64,{data}"
        alt = "The image and, on its right, its mask"
        pictures.append(f'<figure><img alt="{alt}" src="{source}"><figcaption>{words}</figcaption></figure>')
    text = html.escape(as_text(checked, most=0))
    with replacing(path) as draft:
        draft.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Check of a folder</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><style>:root{color-scheme:light dark}'
            "body{font:16px sans-serif;margin:2rem;background:Canvas;color:CanvasText}"
            "pre{white-space:pre-wrap;overflow-wrap:anywhere}"
            "figure{display:inline-block;vertical-align:top;width:200px;margin:.5rem}"
            "figcaption{font-size:13px;overflow-wrap:anywhere}</style>"
            f"<main><h1>Check of a folder</h1><pre>{text}</pre>{''.join(pictures)}</main></html>\n",
            encoding="utf-8",
        )
