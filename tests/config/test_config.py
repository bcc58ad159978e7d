import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from volseg.config import config
from volseg.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("name", [path.name for path in sorted(CONFIGS.glob("*.yaml"))])
def test_every_shipped_config_loads_and_survives_a_round_trip(name: str) -> None:
    loaded = config.load(CONFIGS / name)

    again = config.validate_values(yaml.safe_load(yaml.safe_dump(loaded.model_dump(mode="json"))), name)
    assert again == loaded
    assert name in config.shipped_configs()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_is_short_and_says_how_to_launch_it(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) <= 40
    assert f"volseg train configs/{path.name}" in text


RECIPES = sorted({*CONFIGS.glob("*.yaml")} - {CONFIGS / "demo.yaml", CONFIGS / "hippocampus.yaml"})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_that_nobody_has_run_says_so_and_what_it_would_take(path: Path) -> None:
    """In its first lines, before any setting; the hours are a forecast and told as one."""
    first = path.read_text().partition("\ndata:")[0]

    assert "# Not yet run on the full set." in first
    told = re.search(r"# Forecast, not measured: T4 (.+); 4090 (.+); A100 (.+)\.", first)
    assert told
    assert all(re.search(r"\d GB", gpu) and re.search(r"\d h$", gpu) for gpu in told.groups())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipes_share_what_was_reviewed_for_this_data(path: Path) -> None:
    recipe = config.load(path)

    assert recipe.train.select == "kaggle"
    assert recipe.train.foreground == pytest.approx(0.33)
    assert recipe.train.ema >= 0.999
    assert recipe.augment.zooms[2] == 0
    assert (recipe.augment.contrast, recipe.augment.gamma) == (0.2, 0.2)


def test_a_shipped_config_is_found_by_name_from_anywhere(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert config.load(Path("configs/demo.yaml")) == config.load(CONFIGS / "demo.yaml")
    assert config.load(Path("demo")) == config.load(CONFIGS / "demo.yaml")


def test_an_unknown_config_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"configs/unett.yaml: no such config, did you mean configs/unet"):
        config.load(Path("configs/unett.yaml"))


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "data: {spacing_mm: [1.5, 1.5, three]}\n"
        "network: {name: swinunetr, feature_sise: 24}\n"
        "optimizer: {lr: -1, batch: 3}\n"
        "trian: {batch: 2}\n"
    )

    with pytest.raises(UserError) as caught:
        config.load(path)

    assert str(caught.value).splitlines() == [
        f"{path}:",
        "  data.spacing_mm.2: Input should be a valid number, "
        "unable to parse string as a number (got 'three')",
        "  network.feature_sise: unknown key, did you mean network.feature_size?",
        "  optimizer.lr: Input should be greater than 0 (got -1)",
        "  optimizer.batch: unknown key, did you mean train.batch?",
        "  trian: unknown key, did you mean train?",
    ]


def test_a_setting_of_another_network_is_told_with_those_that_have_it() -> None:
    with pytest.raises(UserError, match=r"unknown key of unet, a setting of dynunet, resenc, mednext$"):
        config.load(CONFIGS / "demo.yaml", ["network.deep_supervision=true"])


def test_a_bare_value_in_place_of_a_section_is_told_with_its_settings() -> None:
    expected = (
        r"inference.gate: expected settings, {run: ..., probability: ..., pixels: ...} \(got 'other'\)$"
    )
    with pytest.raises(UserError, match=expected):
        config.load(CONFIGS / "demo.yaml", ["inference.gate=other"])


def test_a_list_with_wrong_items_is_not_called_too_short() -> None:
    with pytest.raises(UserError) as caught:
        config.load(CONFIGS / "demo.yaml", ["network={name: resenc, level_weights: [0, -1]}"])

    assert [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:]] == [
        "network.level_weights.0",
        "network.level_weights.1",
    ]


def test_a_patch_must_be_divisible_by_the_networks_stride() -> None:
    with pytest.raises(UserError, match=r"train.patch: \[50, 64, 32\] .* stride \[8, 8, 8\] of unet; \[48,"):
        config.load(CONFIGS / "demo.yaml", ["train.patch=[50,64,32]"])


def test_overrides_replace_a_network_and_set_its_fields() -> None:
    loaded = config.load(
        CONFIGS / "demo.yaml", ["network=swinunetr", "network.feature_size=48", "optimizer.lr=3e-4"]
    )

    assert loaded.network.name == "swinunetr"
    assert loaded.network.feature_size == 48
    assert loaded.optimizer.lr == 3e-4


@pytest.mark.parametrize("override", ["lr", "=3", ""])
def test_an_override_without_a_key_is_refused(override: str) -> None:
    with pytest.raises(UserError, match=r"section\.key=value"):
        config.load(CONFIGS / "demo.yaml", [override])


def test_what_is_not_yaml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("network: [unet")

    with pytest.raises(UserError, match=r"bad\.yaml: not YAML"):
        config.load(path)


def test_checking_a_config_loads_neither_torch_nor_monai() -> None:
    code = (
        "import sys; from pathlib import Path; from volseg.config import config;"
        "config.load(Path('configs/unet.yaml'));"
        "print(sorted({'torch', 'monai'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_config_builds_its_network(path: Path) -> None:
    network = config.load(path).network.build(1, 3)

    assert sum(parameter.numel() for parameter in network.parameters()) > 10_000


def test_a_patch_of_one_stride_is_refused() -> None:
    with pytest.raises(UserError, match=r"leaves the deepest level of unet one voxel; \[16, 16, 16\]"):
        config.load(CONFIGS / "demo.yaml", ["train.patch=[8,8,8]"])


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("augment.flip=[x,z]", "augment.flip: unet25d sees slices from head to feet"),
        ("augment.rotate_degrees=[0,5,15]", "augment.rotate_degrees: .* turn about z alone"),
        ("inference.flips=[x,z]", "inference.flips: .* leave z out"),
        (
            "train.patch=[64,64,4]",
            r"train.patch: \[64, 64, 4\] is too flat for unet25d, .*; 5 slices or more",
        ),
        ("inference.window=[64,64,2]", "inference.window: .* is too flat"),
        ("network.offsets=[-1,1]", "network.offsets: the predicted slice itself, 0, is missing"),
        ("network.offsets=[1,0]", r"network.offsets: each slice once, .* \[0, 1\]"),
    ],
)
def test_slices_of_a_25d_network_keep_their_order_plane_and_neighbours(override: str, told: str) -> None:
    settings = ["network=unet25d", "train.patch=[64,64,8]"]
    config.load(CONFIGS / "demo.yaml", [*settings, "augment.flip=[x,y]", "inference.flips=[x,y]"])

    with pytest.raises(UserError, match=told):
        config.load(CONFIGS / "demo.yaml", [one for one in settings if one[:9] != override[:9]] + [override])


def test_windows_of_a_25d_network_are_deeper_than_its_patch_by_default() -> None:
    settings = ["network=unet25d", "train.patch=[64,64,8]"]

    assert config.load(CONFIGS / "demo.yaml", settings).window == (64, 64, 32)
    assert config.load(CONFIGS / "demo.yaml", ["train.patch=[64,64,8]"]).window == (64, 64, 8)
    given = config.load(CONFIGS / "demo.yaml", [*settings, "inference.window=[96,96,16]"])
    assert given.window == (96, 96, 16)


def test_overrides_reach_into_defaults_but_not_into_lists() -> None:
    assert config.load(CONFIGS / "demo.yaml", ["data.intensity.high=98"]).data.intensity.high == 98
    with pytest.raises(UserError, match="postprocess is a list; give it whole"):
        config.load(CONFIGS / "demo.yaml", ["postprocess.0.value=0.4"])


def test_a_step_that_makes_no_sense_is_named_with_its_place() -> None:
    steps = ["threshold", {"name": "hysteresis", "low": 0.6}]

    with pytest.raises(UserError) as refused:
        config.validate_values({"postprocess": steps}, "mine.yaml")

    assert str(refused.value) == (
        "mine.yaml:\n  postprocess.1.hysteresis: low is 0.6 and high 0.5; expected low below high "
        "(a threshold is the step with one value)"
    )


def test_yes_is_no_number() -> None:
    for text, told in (("yes", "yes"), ("true", "True")):
        with pytest.raises(UserError, match=rf"train\.batch: Input should be a valid integer.*got '{told}'"):
            config.load(CONFIGS / "demo.yaml", [f"train.batch={text}"])


def test_a_config_made_of_anothers_values_lists_steps_only_if_that_does() -> None:
    for steps in (None, [], ["threshold", "fill_holes"]):
        made = config.validate_values({} if steps is None else {"postprocess": steps}, "made")
        again = config.validate_values(made.to_values(), "again")

        assert again == made
        assert again.lists_steps == made.lists_steps == (steps is not None)


def load_text(tmp_path: Path, text: str | bytes) -> config.Config:
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return config.load(path)


def test_a_word_is_what_the_setting_takes_it_for(tmp_path: Path) -> None:
    """YAML 1.1 reads 010 as 8, 1:30 as 90 and no as false, whatever the setting."""
    loaded = load_text(
        tmp_path,
        "train: {steps: 010, batch: 08}\n"
        "inference: {body_box: no}\n"
        "data: {hold_out: [010, no, 1:30, 2024-01-01]}",
    )

    assert (loaded.train.steps, loaded.train.batch, loaded.inference.body_box) == (10, 8, False)
    assert loaded.data.hold_out == ("010", "no", "1:30", "2024-01-01")
    for text in ("1:30", "0x10", "0o10", "yes", "True"):
        with pytest.raises(UserError, match=rf"train\.steps: .*\(got '{text}'\)"):
            load_text(tmp_path, f"train: {{steps: {text}}}")


def test_a_section_or_key_given_twice_is_refused_by_name_and_line(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        load_text(tmp_path, "train: {steps: 3}\ndata:\n  cache: disk\n  cache: memory\ntrain: {batch: 2}")

    assert str(refused.value).splitlines() == [
        f"{tmp_path / 'mine.yaml'}: train: given twice, in line 1 and in line 5; keep one",
        f"{tmp_path / 'mine.yaml'}: cache: given twice, in line 3 and in line 4; keep one",
    ]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["train.steps=3", "train.steps=3"], "train.steps=3: train.steps is given twice"),
        (
            ["network.channels=[4, 8]", "network=unet"],
            "network=unet: would drop network.channels, given before",
        ),
        (["train={steps: 3, steps: 4}"], "steps: given twice"),
        (["train.steps=*x"], r"train.steps=\*x: not YAML: line 1: \*x stands for values elsewhere"),
    ],
)
def test_an_override_that_another_would_undo_is_refused(overrides: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        config.load(CONFIGS / "demo.yaml", overrides)
