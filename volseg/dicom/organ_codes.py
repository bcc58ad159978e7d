"""What a class is called in a planning system: name, colour and code; a clinic may say otherwise."""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from volseg.errors import UserError
from volseg.schema import Section, explain_errors, name_fault
from volseg.system.files import read_text
from volseg.system.yaml_files import parse_yaml

LONGEST = 16  # characters of a name, by TG-263 and by what planning systems show
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_~^+.-]+")


def _check_organ_name(name: str) -> str:
    if not name or len(name) > LONGEST or _FORBIDDEN.search(name):
        raise ValueError(
            f"expected 1 to {LONGEST} letters, digits or _ ~ ^ + . - without blanks, as of TG-263"
        )
    return name


def _check_meaning(meaning: str) -> str:
    if len(meaning) > 64 or not meaning.isascii() or not meaning.isprintable() or "\\" in meaning:
        raise ValueError("expected 64 plain characters at most, without \\")
    return meaning


OrganName = Annotated[str, AfterValidator(_check_organ_name)]
Level = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Level, Level, Level]


class OrganCode(Section):
    """How a class is named, coloured and coded in DICOM.

    `code` is one of SNOMED CT with its `meaning`, None where there is none that says the same; `side` is told
    beside it. `type` is RT ROI Interpreted Type, "" where that is not known.
    """

    name: OrganName
    color: Color
    code: Annotated[str, Field(pattern=r"^[0-9]{6,18}$")] | None = None
    meaning: Annotated[str, AfterValidator(_check_meaning)] = ""
    side: Literal["left", "right"] | None = None
    type: Literal["", "ORGAN", "AVOIDANCE", "GTV", "CTV", "PTV", "EXTERNAL", "CONTROL"] = "ORGAN"


Row = tuple[str, str, Color, str | None, str, Literal["left", "right"] | None]
_ROWS: tuple[Row, ...] = (
    ("stomach", "Stomach", (230, 25, 75), "69695003", "Stomach", None),
    ("small_bowel", "Bowel_Small", (60, 180, 75), "30315005", "Small intestine", None),
    ("large_bowel", "Bowel_Large", (255, 165, 0), "14742008", "Large intestine", None),
    ("colon", "Colon", (255, 165, 0), "71854001", "Colon", None),
    ("duodenum", "Duodenum", (0, 255, 127), "38848004", "Duodenum", None),
    ("rectum", "Rectum", (139, 69, 19), "34402009", "Rectum", None),
    ("esophagus", "Esophagus", (210, 180, 140), "32849002", "Esophagus", None),
    ("liver", "Liver", (165, 82, 60), "10200004", "Liver", None),
    ("gallbladder", "Gallbladder", (154, 205, 50), "28231008", "Gallbladder", None),
    ("pancreas", "Pancreas", (255, 215, 120), "15776009", "Pancreas", None),
    ("spleen", "Spleen", (145, 30, 180), "78961009", "Spleen", None),
    ("kidneys", "Kidneys", (0, 130, 200), "64033007", "Kidney", None),
    ("left_kidney", "Kidney_L", (0, 130, 200), "64033007", "Kidney", "left"),
    ("right_kidney", "Kidney_R", (70, 240, 240), "64033007", "Kidney", "right"),
    ("left_adrenal_gland", "Glnd_Adrenal_L", (240, 150, 230), "23451007", "Adrenal gland", "left"),
    ("right_adrenal_gland", "Glnd_Adrenal_R", (250, 190, 212), "23451007", "Adrenal gland", "right"),
    ("aorta", "A_Aorta", (220, 20, 20), "15825003", "Aorta", None),
    ("inferior_vena_cava", "V_Venacava_I", (40, 60, 220), "64131007", "Inferior vena cava", None),
    ("portal_vein", "V_Portal", (90, 110, 240), "32764006", "Portal vein", None),
    ("portal_and_splenic_vein", "V_PortalSplenic", (90, 110, 240), None, "", None),
    ("urinary_bladder", "Bladder", (255, 255, 80), "89837001", "Bladder", None),
    ("prostate", "Prostate", (255, 140, 160), "41216001", "Prostate", None),
    ("uterus", "Uterus", (255, 105, 180), "35039007", "Uterus", None),
    ("prostate_or_uterus", "Prostate_Uterus", (255, 140, 160), None, "", None),
    ("lungs", "Lungs", (135, 206, 235), "39607008", "Lung", None),
    ("left_lung", "Lung_L", (135, 206, 235), "39607008", "Lung", "left"),
    ("right_lung", "Lung_R", (176, 224, 230), "39607008", "Lung", "right"),
    ("trachea", "Trachea", (190, 225, 255), "44567001", "Trachea", None),
    ("heart", "Heart", (200, 40, 60), "80891009", "Heart", None),
    ("spinal_cord", "SpinalCord", (240, 240, 120), "2748008", "Spinal cord", None),
    ("brain", "Brain", (230, 200, 190), "12738006", "Brain", None),
    ("left_hippocampus", "Hippocampus_L", (128, 128, 0), "5366008", "Hippocampus", "left"),
    ("right_hippocampus", "Hippocampus_R", (170, 170, 60), "5366008", "Hippocampus", "right"),
    ("left_femoral_head", "Femur_Head_L", (220, 220, 255), "2812003", "Femoral head", "left"),
    ("right_femoral_head", "Femur_Head_R", (200, 200, 235), "2812003", "Femoral head", "right"),
)
"""Classes of public datasets. All names but V_PortalSplenic and Prostate_Uterus are TG-263's."""

ORGANS: dict[str, OrganCode] = {
    row[0]: OrganCode(name=row[1], color=row[2], code=row[3], meaning=row[4], side=row[5]) for row in _ROWS
}
_SYNONYMS = {
    "small_intestine": "small_bowel", "bowel_small": "small_bowel", "large_intestine": "large_bowel",
    "bowel_large": "large_bowel", "oesophagus": "esophagus", "gall_bladder": "gallbladder",
    "kidney": "kidneys", "kidney_left": "left_kidney", "kidney_right": "right_kidney",
    "adrenal_gland_left": "left_adrenal_gland", "adrenal_gland_right": "right_adrenal_gland",
    "postcava": "inferior_vena_cava", "arota": "aorta", "bladder": "urinary_bladder",
    "portal_vein_and_splenic_vein": "portal_and_splenic_vein",
    "portal_and_splenic_veins": "portal_and_splenic_vein", "prostate_uterus": "prostate_or_uterus",
    "lung": "lungs", "lung_left": "left_lung", "lung_right": "right_lung",
}  # fmt: skip
_PALETTE: tuple[Color, ...] = (
    (245, 130, 48), (66, 212, 244), (191, 239, 69), (240, 50, 230), (220, 190, 255), (170, 255, 195),
    (255, 216, 177), (154, 99, 36), (128, 0, 0), (0, 0, 117),
)  # fmt: skip


class OrganTable:
    """The names, colours and codes by class: volseg's, and a clinic's where it says otherwise."""

    def __init__(self, own: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Lay a clinic's settings over volseg's; they may name some settings of a class only.

        Raises:
            UserError: unknown or wrong settings, all of them.
        """
        problems: list[str] = []
        self._organs = dict(ORGANS)
        for organ, settings in (own or {}).items():
            key = _table_key(organ)
            try:
                begun = self._organs.get(key) or _unlisted_organ(organ)
                self._organs[key] = OrganCode.model_validate({**begun.model_dump(), **settings})
            except ValidationError as error:
                problems += (f"{organ}.{line}" for line in explain_errors(error, OrganCode))
        if problems:
            raise UserError.from_problems(problems)

    def codes_of(self, classes: Iterable[str]) -> dict[str, OrganCode]:
        """The code of each class; those that are not in the table get a name of their own and no code."""
        codes: dict[str, OrganCode] = {}
        for organ in classes:
            code = self._organs.get(_table_key(organ)) or _unlisted_organ(organ)
            taken = {other.name for other in codes.values()}
            name = next(one for one in _numbered_names(code.name) if one not in taken)
            codes[organ] = code.model_copy(update={"name": name})
        return codes


def read_organ_table(path: Path | None) -> OrganTable:
    """The table with what a clinic's YAML file says: `liver: {name: Liver_A, color: [200, 0, 0]}`.

    Raises:
        UserError: unreadable, or wrong settings, all of them.
    """
    if path is None:
        return OrganTable()
    values = parse_yaml(read_text(path), str(path))
    expected = "expected e.g. liver: {name: Liver, color: [165, 82, 60]}"
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no classes; {expected}")
    problems = [
        f"{path}: {organ}: no settings; {expected}"
        for organ, own in values.items()
        if not isinstance(own, dict)
    ]
    problems += (
        f"{path}: {organ!r} can't be a class: {name_fault(organ)}" for organ in values if name_fault(organ)
    )
    if problems:
        raise UserError.from_problems(problems)
    try:
        return OrganTable(values)
    except UserError as error:
        raise UserError.from_problems(f"{path}: {line}" for line in str(error).splitlines()) from None


def _table_key(organ: str) -> str:
    """The class as the table writes it: `Right Kidney` and `kidney_right` are `right_kidney`."""
    plain = re.sub(r"[\W_]+", "_", organ.lower()).strip("_")
    return _SYNONYMS.get(plain, plain)


def _unlisted_organ(organ: str) -> OrganCode:
    """A valid name and a colour for a class that nothing is known of, always the same."""
    plain = _FORBIDDEN.sub("_", organ)[:LONGEST].strip("_") or "Structure"
    color = _PALETTE[zlib.crc32(organ.encode()) % len(_PALETTE)]
    return OrganCode(name=plain, color=color, type="")


def _numbered_names(name: str) -> Iterator[str]:
    """The name, then the name with numbers behind it, each short enough."""
    yield name
    for number in range(2, 1000):
        yield f"{name[: LONGEST - len(str(number)) - 1]}_{number}"
