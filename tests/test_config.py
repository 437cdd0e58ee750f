from pathlib import Path
from typing import Any

import pytest

from tasks import config
from tasks.errors import ConfigError
from tests.pools import PRICES


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A configuration file with prices beside it."""
    (tmp_path / "prices.yaml").write_text("currency: EUR\nlabel: 0.1\ndevice_hour: {cpu: 0.5}\n")
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nloop: {rounds: 4}\n")
    return path


def test_prices_come_from_the_file_beside_it(conf: Path) -> None:
    loaded = config.load(conf)
    assert (loaded.prices.currency, loaded.prices.label, loaded.loop.rounds) == ("EUR", 0.1, 4)


def test_overrides_win_over_the_file(conf: Path) -> None:
    loaded = config.load(conf, ("loop.rounds=7", "train.lr=0.5", "prices.label=2", "dataset.classes=[a,b]"))
    assert (loaded.loop.rounds, loaded.train.lr, loaded.prices.label, loaded.dataset.classes) == (7, 0.5, 2, ("a", "b"))


def test_stored_configuration_reads_back_equal(conf: Path) -> None:
    overrides = ("label.confusion=[[1.0,0.0],[0.25,0.75]]", "train.step_at=[0.5,0.9]")
    loaded = config.load(conf, overrides)
    assert config.parse(config.dump(loaded), "stored") == loaded


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loop.query_siez=3", r"loop\.query_siez: unknown key; did you mean 'query_size'"),
        ("trian.lr=1", r"trian: unknown key; did you mean 'train'"),
        ("train.augment.flp=true", r"train\.augment\.flp: unknown key; did you mean 'flip'"),
        ("train.model=resnet81", r"train\.model: unknown name 'resnet81'; did you mean 'resnet18'"),
        ("infer.acquisition=entrpy", r"did you mean 'entropy'"),
        ("loop.query_size=0", r"loop\.query_size: .*greater than or equal to 1, not 0"),
        ("loop.query_size=many", r"loop\.query_size: .*integer, not 'many'"),
        ("loop.rounds=2.5", r"loop\.rounds: .*integer, not 2\.5"),
        ("prices.label=-1", r"prices\.label: .*greater than or equal to 0, not -1"),
        ("prices.device_hour.tpu=1", r"prices\.device_hour\.tpu"),
        ("label.noise=1.0", r"label\.noise: .*less than 1"),
        ("train.lr=.inf", r"train\.lr"),
        ("train.lr=.nan", r"train\.lr"),
        ("train.patience=3", r"train: patience needs a validation share"),
        ("train.weight_decay=.inf", r"train\.weight_decay: .*finite"),
        ("label.confusion=[[.nan,1],[0,1]]", r"label\.confusion\.0\.0: .*finite"),
        ("label.confusion=[[],[]]", r"label\.confusion\.0: .*at least 1 item"),
        ("label.confusion=[[0.5,0.6],[0.5,0.5]]", r"confusion row 0 must hold probabilities that sum to 1"),
        ("name='a b'", r"name: "),
        ("loop=5", r"loop: "),
        ("seed=-1", r"seed: "),
        ("rounds", r"'rounds': an override is written key=value"),
        ("train.lr=${nope}", r"train\.lr: \$\{…\} is not filled in"),
        ("dataset.root=${oc.env:HOME}", r"dataset\.root: \$\{…\} is not filled in"),
        ("dataset.classes=['${oc.env:HOME}',b]", r"dataset\.classes\.0: "),
        ("dataset.image_size=1000000", r"dataset\.image_size: "),
        pytest.param("seed=" + "9" * 5000, r"mine\.yaml: ", id="huge seed"),
        ("infer.candidates.ratio=0", r"infer\.candidates\.ratio: "),
        ("infer.candidates.ratio=1.5", r"infer\.candidates\.ratio: "),
        ("infer.candidates.temperature=0", r"infer\.candidates\.temperature: "),
        ("infer.candidates.temperature=-0.1", r"infer\.candidates\.temperature: "),
        ("infer.candidates.temperature=.nan", r"infer\.candidates\.temperature: "),
        ("infer.scope=[candidates]", r"infer: scope candidates needs one of candidates\.size and candidates\.ratio"),
        ("infer.scope=[full,full]", r"infer: scope names the same scope twice"),
        ("infer.scope=[]", r"infer\.scope: "),
        ("infer.scope=[candidate]", r"infer\.scope\.0: unknown name 'candidate'; did you mean 'candidates'\?"),
        ("infer.acquisition=bald", r"infer\.acquisition: bald compares several predictions"),
        ("infer={acquisition: bald, passes: 4, first_passes: 1, scope: [every]}", r"infer\.acquisition: bald compares"),
        ("infer.first_passes=3", r"infer: first_passes is for loops whose later passes are not full"),
        ("infer.candidates.stale_bonus=1e308", r"infer\.candidates\.stale_bonus: "),
        ("train.members=0", r"train\.members: "),
    ],
)
def test_impossible_values_are_named_with_their_key(conf: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(conf, (override,))


def test_every_fault_is_told_at_once(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed: .*; loop\.rounds: "):
        config.load(conf, ("loop.rounds=0", "seed=-1"))


@pytest.mark.parametrize(
    "text",
    [
        "name: [",
        "- a\n- b\n",
        "name: x\n\tloop: 1\n",
        "name: x\nloop: {rounds: 3}\nloop: {initial: 5}\n",
        "train: &a {x: *a}",
        "[" * 3000,
        "name: !!python/object/apply:os.getcwd []",
        "seed: " + "9" * 5000,
    ],
    ids=["open", "list", "tab", "twice", "loop", "deep", "object", "huge"],
)
def test_broken_yaml_names_the_file(conf: Path, text: str) -> None:
    conf.write_text(text)
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        config.load(conf)


def test_missing_file_and_missing_prices_are_named(conf: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such configuration file"):
        config.load(tmp_path / "gone.yaml")
    (tmp_path / "prices.yaml").unlink()
    with pytest.raises(ConfigError, match=r"prices: missing \(conf/prices\.yaml sets it\)"):
        config.load(conf)


def test_differences_name_dotted_keys() -> None:
    def with_rounds(**loop: Any) -> config.Config:
        return config.parse({"name": "a", "prices": PRICES, "loop": loop}, "test")

    assert config.differences(with_rounds(rounds=3), with_rounds(rounds=4)) == ["loop.rounds: 3 → 4"]


@pytest.mark.parametrize("path", sorted(Path("conf").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configurations_are_valid(path: Path) -> None:
    if path.name not in ("prices.yaml", "rounds.yaml"):
        assert config.load(path).name == path.stem


def test_scientific_numbers_are_numbers_in_files_as_in_overrides(conf: Path) -> None:
    conf.write_text("name: mine\ntrain: {lr: 1e-3}\n")
    assert config.load(conf).train.lr == config.load(conf, ("train.lr=1e-3",)).train.lr == 0.001


def test_override_of_a_configuration_changes_only_its_keys(conf: Path) -> None:
    base = config.load(conf)
    assert config.override(base, (), "test") == base
    assert config.differences(base, config.override(base, ("loop.rounds=9",), "test")) == ["loop.rounds: 4 → 9"]


def test_bare_off_is_the_word_off(conf: Path) -> None:
    assert config.load(conf, ("record.git=off",)).record.git == "off"
