"""The settings of a node: strict, all mistakes at once, and as the page about the node says."""

import re
from pathlib import Path

import pytest
import yaml

from tests.dicom_node import values
from volseg.cli import run_command
from volseg.dicom.node.settings import NodeSettings, listening_settings, load_settings, validate_settings
from volseg.dicom.node.storage import IMAGE_CLASSES, RESULT_CLASSES, TRANSFER_SYNTAXES
from volseg.errors import UserError
from volseg.schema import dotted_keys

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/howto/dicom_node.md"
CONFORMANCE = ROOT / "docs/reference/dicom_conformance.md"


def test_all_mistakes_are_told_at_once() -> None:
    wrong = values(Path("spool"), quite_seconds=5)
    wrong["listen"].update(ae_title="A\\B", port=70000, callers=[{"ae_title": "X", "address": "localhost"}])
    wrong["rules"] = [{"name": "a", "modality": "US", "runs": [], "description": "("}]

    with pytest.raises(UserError) as told:
        validate_settings(wrong, "node.yaml")

    text = str(told.value)
    assert text.startswith("node.yaml:\n")
    for line in (
        "quite_seconds: unknown key, did you mean quiet_seconds?", "listen.ae_title: no AE title",
        "listen.port: Input should be less than or equal to 65535", "listen.callers.0.address: no IP address",
        "rules.0.modality: Input should be 'MR' or 'CT'", "rules.0.runs: ", "rules.0.description: no regular",
    ):  # fmt: skip
        assert line in text


@pytest.mark.parametrize("title", ["", " A", "A ", "A" * 17, "A\\B", "Ä", "A\n"])
def test_a_title_that_dicom_does_not_know_is_refused(title) -> None:
    wrong = values(Path("spool"))
    wrong["listen"]["ae_title"] = title

    with pytest.raises(UserError, match="ae_title: no AE title"):
        validate_settings(wrong, "node.yaml")


def test_a_rule_names_destinations_that_there_are_and_names_are_given_once() -> None:
    wrong = values(Path("spool"))
    wrong["rules"] = [{**wrong["rules"][0], "destinations": ["tps"]}] * 2

    with pytest.raises(UserError, match=r"any-mr is the name of several; .*no destination is named tps"):
        validate_settings(wrong, "node.yaml")


def test_a_node_needs_callers_and_a_destination() -> None:
    few = values(Path("spool"))
    del few["listen"], few["destinations"]
    settings = validate_settings(few, "node.yaml")

    with pytest.raises(UserError, match=r"listen: missing.*\n.*destinations: missing"):
        listening_settings(settings, "node.yaml")


def test_it_listens_to_this_machine_alone_unless_it_is_told_otherwise() -> None:
    settings = validate_settings(values(Path("spool")), "node.yaml")

    assert settings.listen is not None
    assert settings.listen.address == "127.0.0.1"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["node", "nowhere.yaml"], "nowhere.yaml: can't be read"),
        (["node", "node.yaml", "--status"], "spool: no status.json; no node has run with this spool"),
        (["node", "node.yaml", "--retry", "abc"], "--retry: no dead letter abc (there are: none)"),
        (["node", "node.yaml", "--folder", "in"], "--folder and --out belong together"),
        (["node", "node.yaml", "--status", "--retry", "all"], "are three commands"),
        (["node", "node.yaml", "--folder", "nowhere", "--out", "out"], "--folder nowhere: no such folder"),
        (["node", "node.yaml"], "rule any-mr: tiny: tiny: no such run"),
    ],
)
def test_a_users_mistake_is_1_and_one_line(tmp_path, monkeypatch, capsys, words, text) -> None:
    monkeypatch.chdir(tmp_path)
    Path("node.yaml").write_text(yaml.safe_dump(values(Path("spool"))))

    assert run_command(words) == 1
    told = capsys.readouterr().err
    assert text in told
    assert "Traceback" not in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.yaml"]


def test_the_configs_of_the_page_are_valid(tmp_path) -> None:
    blocks = re.findall(r"^```yaml$\n(.*?)^```$", PAGE.read_text(), re.M | re.S)

    assert len(blocks) > 1
    for block in blocks:
        (tmp_path / "node.yaml").write_text(block)
        load_settings(tmp_path / "node.yaml")


def test_the_page_tells_every_key_and_no_other() -> None:
    keys = {*dotted_keys(NodeSettings)}
    sections = {key.rpartition(".")[0] for key in keys} - {""}
    told = {*re.findall(r"^\| `([a-z_.]+)` \|", PAGE.read_text(), re.M)}

    assert told == keys - sections


def test_the_conformance_statement_names_all_classes_and_syntaxes() -> None:
    text = CONFORMANCE.read_text()
    told = {*re.findall(r"`(1\.2\.840\.10008\.[\d.]+)`", text)}

    assert told == {*IMAGE_CLASSES, *RESULT_CLASSES.values(), *TRANSFER_SYNTAXES, "1.2.840.10008.1.1"}
    for name in (*IMAGE_CLASSES.values(), *TRANSFER_SYNTAXES.values()):
        assert f"| {name} |" in text
