"""Names, colours and codes of organs: valid for whatever class, and a clinic's where it says so."""

import re
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr.codedict import CONCEPTS

from volseg.dicom.organ_codes import ORGANS, OrganTable, read_organ_table
from volseg.errors import UserError

MEANINGS = defaultdict(set)
for kinds in CONCEPTS["SCT"].values():
    for code, (meaning, _) in kinds.items():
        MEANINGS[code].add(meaning)
BTCV = ("spleen", "right kidney", "left kidney", "gallbladder", "esophagus", "liver", "stomach", "aorta",
        "inferior vena cava", "portal and splenic vein", "pancreas",
        "right adrenal gland", "left adrenal gland")  # fmt: skip


@pytest.mark.parametrize("organ", ORGANS)
def test_each_name_is_short_and_each_code_is_known_to_dicom_by_its_meaning(organ):
    code = ORGANS[organ]

    assert re.fullmatch(r"[A-Za-z_]{1,16}", code.name)
    if code.code:
        assert code.meaning in MEANINGS[code.code]


def test_names_are_unique():
    assert len({code.name for code in ORGANS.values()}) == len(ORGANS)


@pytest.mark.parametrize("organ", BTCV)
def test_the_classes_of_btcv_are_in_the_table(organ):
    assert OrganTable().codes_of([organ])[organ].type == "ORGAN"


@pytest.mark.parametrize(
    ("organ", "name"),
    [
        ("stomach", "Stomach"),
        ("small_bowel", "Bowel_Small"),
        ("large_bowel", "Bowel_Large"),
        ("Kidney Left", "Kidney_L"),
        ("left-kidney", "Kidney_L"),
        ("postcava", "V_Venacava_I"),
    ],
)
def test_a_class_is_found_whatever_way_it_is_written(organ, name):
    assert OrganTable().codes_of([organ])[organ].name == name


@given(st.lists(st.text(min_size=1, max_size=40), unique=True, max_size=8))
def test_whatever_the_classes_their_names_are_valid_and_unlike_and_no_code_is_invented(organs):
    found = OrganTable().codes_of(organs)

    names = [code.name for code in found.values()]
    assert len(set(names)) == len(organs)
    assert all(re.fullmatch(r"[A-Za-z0-9_~^+.-]{1,16}", name) for name in names)
    assert all(code.code is None for code in found.values() if not code.type)


def test_a_clinic_overrides_what_it_names_and_adds_classes(tmp_path):
    path = tmp_path / "organs.yaml"
    path.write_text("liver: {name: Leber}\ntumour:\n  name: GTV_1\n  color: [255, 0, 0]\n  type: GTV\n")

    found = read_organ_table(path).codes_of(["liver", "tumour", "spleen"])

    assert (found["liver"].name, found["liver"].code) == ("Leber", "10200004")
    assert (found["tumour"].name, found["tumour"].color, found["tumour"].type) == (
        "GTV_1",
        (255, 0, 0),
        "GTV",
    )
    assert found["spleen"].name == "Spleen"


def test_all_that_is_wrong_in_a_clinics_file_is_told_at_once(tmp_path):
    path = tmp_path / "organs.yaml"
    path.write_text(
        "liver: {name: much too long for TG-263, colour: [1, 2, 3]}\nspleen: {color: [1, 2, 300]}\n"
    )

    with pytest.raises(UserError) as told:
        read_organ_table(path)

    lines = str(told.value).splitlines()
    assert len(lines) == 3
    assert any("liver.name: expected 1 to 16 letters" in line for line in lines)
    assert any("liver.colour: unknown key, did you mean color?" in line for line in lines)
    assert any("spleen.color" in line for line in lines)


@pytest.mark.parametrize("text", ["", "liver\n", "liver: Leber\n", "- liver\n"])
def test_a_file_that_names_no_settings_is_refused(text, tmp_path):
    path = tmp_path / "organs.yaml"
    path.write_text(text)

    with pytest.raises(UserError, match=r"expected e\.g\. liver"):
        read_organ_table(path)
