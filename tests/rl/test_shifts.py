import re
from pathlib import Path

import numpy as np
import pytest
import vizdoom

from lookright.errors import InputError
from lookright.rl.environments import DoomEnvironment
from lookright.rl.scenarios import SCENARIOS
from lookright.rl.shifts import FLATS, WALLS, write_shifted
from lookright.rl.wad import read_wad, write_wad


def scenario(name):
    return Path(vizdoom.scenarios_path) / f"{name}.wad"


def played(shift, scenario="basic"):
    """Frames, masks and rewards of the same actions."""
    environment = DoomEnvironment(scenario, shift=shift)
    observations, rewards = [environment.reset(seed=3)[0]], []
    for action in [1, 0, 2, 3, 3, 0] * 2:
        observation, reward, *_ = environment.step(action)
        observations.append(observation)
        rewards.append(reward)
    environment.close()
    return *(np.stack([observation[key] for observation in observations]) for key in ("image", "mask")), rewards


@pytest.fixture(scope="module")
def plain():
    return played(None)


@pytest.mark.parametrize("shift", ["textures", "dark", "skins"])
def test_only_the_looks_differ(plain, shift):
    image, mask, rewards = plain
    other_image, other_mask, other_rewards = played(shift)
    assert rewards == other_rewards
    inside = np.broadcast_to((mask == 255)[:, None], image.shape)  # of the newest frame
    newest = np.zeros(image.shape, bool)
    newest[:, -1] = True
    difference = np.abs(image.astype(int) - other_image)
    if shift == "skins":
        assert difference[newest & inside & (other_mask == 255)[:, None]].mean() > 10
        assert np.median(difference[newest & ~inside]) == 0
    else:
        np.testing.assert_array_equal(mask, other_mask)
        assert difference[newest & ~inside].mean() > 10
    if shift == "dark":
        assert other_image.mean() < 0.9 * image.mean()


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_can_be_shifted(name, tmp_path):
    before = dict(read_wad(scenario(name)))
    for shift in ("textures", "dark", "skins"):
        write_shifted(scenario(name), shift, tmp_path / "shifted.wad")
        after = dict(read_wad(tmp_path / "shifted.wad"))
        same = {key for key in before if after[key] == before[key]}
        assert set(before) - same == (set() if shift == "skins" else {"TEXTMAP"})
        pattern = rb"(texture\w+ *= *\"[^\"-][^\"]*|lightlevel *= *\d+)"
        old, new = (re.findall(pattern, lumps["TEXTMAP"]) for lumps in (before, after))
        changed = [one != other for one, other in zip(old, new, strict=True)]
        expected = {"textures": b"texture", "dark": b"lightlevel", "skins": b"none"}[shift]
        assert changed == [line.startswith(expected) for line in old]
        assert re.sub(pattern, b"", before["TEXTMAP"]) == re.sub(pattern, b"", after["TEXTMAP"])
        new = set(after) - set(before)
        assert new >= {"S_START", "HEADA1", "S_END"} if shift == "skins" else not new
        assert "PLAYPAL" not in new


def test_distinct_textures_stay_distinct(tmp_path):
    def walls(path):
        return re.findall(rb'texturemiddle *= *"([^"]*)', dict(read_wad(path))["TEXTMAP"])

    write_shifted(scenario("my_way_home"), "textures", tmp_path / "shifted.wad")
    pairs = set(zip(walls(scenario("my_way_home")), walls(tmp_path / "shifted.wad"), strict=True))
    assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs}) > 5


def shifted(text, shift, folder):
    """The text of a map of one's own, shifted."""
    write_wad([("MAP01", b""), ("TEXTMAP", text.encode()), ("ENDMAP", b"")], folder / "own.wad")
    write_shifted(folder / "own.wad", shift, folder / "shifted.wad")
    return dict(read_wad(folder / "shifted.wad"))["TEXTMAP"].decode()


def test_sectors_that_name_no_light_are_darkened_too(tmp_path):
    text = "sidedef { sector = 0; }\nsector // 0\n{\nheightceiling = 9;\n}\nsector { lightlevel = 100; }"
    changed = shifted(text, "dark", tmp_path)
    assert re.findall(r"lightlevel = (\d+)", changed) == ["96", "60"]
    assert re.sub(r"\s*lightlevel = \d+;", "", changed) == re.sub(r"\s*lightlevel = \d+;", "", text)


@pytest.mark.parametrize("used", [FLATS, (*FLATS[1:], *"ABC"), (*FLATS[3:], *"ABC"), ("F_SKY1", "f_sky1", "A")])
def test_a_map_may_use_any_flats_and_keeps_its_sky(tmp_path, used):
    text = "".join(f'sector {{ texturefloor = "{name}"; }}\n' for name in used)
    new = re.findall('"(.*?)"', shifted(text, "textures", tmp_path))
    assert len(set(new)) == len(set(used))
    assert [name == other for name, other in zip(used, new, strict=True)] == ["SKY" in name.upper() for name in used]


def test_textures_are_there():
    lumps = read_wad(Path(vizdoom.__file__).with_name("freedoom2.wad"))
    names = [name for name, _ in lumps]
    textures = b"".join(content for name, content in lumps if name in ("TEXTURE1", "TEXTURE2"))
    assert all(wall.encode() + b"\0" * (8 - len(wall)) in textures for wall in WALLS)
    assert set(FLATS) <= set(names[names.index("F_START") : names.index("F_END")])


def test_lumps_are_read_as_they_were_written(tmp_path):
    lumps = [("MAP01", b""), ("TEXTMAP", b"text"), ("EIGHTLET", bytes(range(256))), ("MAP01", b"again")]
    write_wad(lumps, tmp_path / "a.wad")
    assert read_wad(tmp_path / "a.wad") == lumps


@pytest.mark.parametrize("content", [b"", b"PWAD\1\0\0\0\xff\0\0\0", b"PNG?" + bytes(8), b"PWAD" + b"\xff" * 8])
def test_what_is_no_wad_is_refused(tmp_path, content):
    (tmp_path / "a.wad").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.wad' is no WAD file"):
        write_shifted(tmp_path / "a.wad", "dark", tmp_path / "b.wad")


def test_maps_that_are_no_text_are_refused(tmp_path):
    write_wad([("MAP01", b""), ("THINGS", b"1234")], tmp_path / "a.wad")
    with pytest.raises(InputError, match="are not in UDMF"):
        write_shifted(tmp_path / "a.wad", "textures", tmp_path / "b.wad")
