import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

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
        pytest.param("seed=" + "9" * 5000, r"override seed=9{74}…: .*value cannot be read", id="huge seed"),
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
        (
            "prices.label='0.05'",
            r"prices: label is the text '0\.05', where a number is wanted; write 0\.05 without quotes",
        ),
        ("prices.label='-5'", r"prices: label is the text '-5', .* or with its currency: -5 EUR"),
        ("prices.device_hour.cpu='1e2'", r"prices: device_hour\.cpu is the text '1e2'"),
        ("prices.label='0.05 USD'", r"prices: label is in USD, and currency is EUR"),
        ("prices.label='nan EUR'", r"prices: label is 'nan EUR'; an amount is a number, .*: 0\.05 EUR"),
        ("prices.label='1,5 EUR'", r"prices: label is '1,5 EUR'; an amount is a number"),
        ("prices.label='1.2.3 EUR'", r"prices: label is '1\.2\.3 EUR'; an amount is a number"),
        ("prices.label=EUR 0.05", r"prices: label is 'EUR 0\.05'; an amount is a number"),
        ("prices.label=$0.05", r"prices: label is '\$0\.05'; an amount is a number"),
        ("prices.label=1e308", r"prices\.label: .*less than or equal to 1000000000, not 1e\+308"),
        ("rates={record_epoch: 1e308, forward_pass: 1.0}", r"rates\.record_epoch: .*less than or equal to 1000000000"),
        ("policy.stop.budget.money=5 USD", r"policy\.stop\.budget\.money is in USD, and currency is EUR"),
        ("policy.stop.any.marginal_value.value_per_point=much", r"value_per_point is 'much'; an amount is a number"),
        ("policy.false_start.expected={100:0.9}", r"^[^\[]*expected: an accuracy is missing; write .*\{100: 0\.9\}$"),
        ("policy.false_start.expected={0: 0.5}", r"expected\.0: the key should be greater .* 1, not 0$"),
        ("policy.stop.rounds=5", r"rounds: must be a block of keys, such as policy\.stop\.rounds\.at_least=5"),
        ("policy.false_start=true", r"false_start: must be a block of keys, such as policy\.false_start=\{\}"),
        ("policy.schedule.shares=[]", r"policy\.schedule\.shares: must have at least 1 item$"),
        ("policy.schedule.shares=3", r"policy\.schedule\.shares: must be a list"),
        ("loop.rounds=0", r"^override loop\.rounds=0: loop\.rounds: "),
        ("loop={rounds: 0}", r"^override loop=\{rounds: 0\}: loop\.rounds: "),
        ("name='a: [", r"override name='a: \[: its value cannot be read \(found"),
        (
            "{policy.scope: adaptive, infer.scope: [candidates], infer.candidates.size: 50, select.strategy: random}",
            r"policy\.scope: adaptive changes what is scored, and select\.strategy=random reads no scores",
        ),
        ("policy.stop.rounds.at_least=5", r"policy\.stop\.rounds\.at_least: 5 takes 5 rounds, and loop\.rounds = 4"),
        (
            "policy.stop.any.stable_predictions.patience=4",
            r"policy\.stop\.any\.stable_predictions\.patience: 4 takes 5",
        ),
        ("policy.stop.overall_uncertainty.patience=5", r"policy\.stop\.overall_uncertainty\.patience: 5 takes 5"),
        ("{policy.metric: accuracy, policy.stop.plateau.patience: 4}", r"policy\.stop\.plateau\.patience: 4 takes 5"),
        (
            "{policy.metric: accuracy, policy.query_size: cost_optimal, policy.cost_optimal.target: 0.9, "
            "policy.stop.any.target.accuracy: 0.8}",
            r"policy\.cost_optimal\.target: 0\.9 is not the 0\.8 of policy\.stop\.target\.accuracy",
        ),
        (
            "policy.false_start.expected={100: 0.9, 200: 0.5}",
            r"policy\.false_start: expected falls from 0\.9 at 100 lab",
        ),
    ],
)
def test_impossible_values_are_named_with_their_key(conf: Path, override: str, message: str) -> None:
    several = yaml.safe_load(override) if override.startswith("{") else None
    overrides = tuple(f"{key}={json.dumps(value)}" for key, value in several.items()) if several else (override,)
    with pytest.raises(ConfigError, match=message):
        config.load(conf, overrides)


def test_every_fault_is_told_at_once(conf: Path) -> None:
    with pytest.raises(ConfigError, match=r"seed: .*; override loop\.rounds=0: loop\.rounds: "):
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


def parsed(stop: dict[str, Any], loop: dict[str, Any] | None = None, **blocks: Any) -> config.Config:
    policy = {"metric": "accuracy", "stop": stop, **blocks.pop("policy", {})}
    values = {"name": "test", "prices": PRICES, "loop": {"initial": 50, **(loop or {})}, "policy": policy, **blocks}
    return config.parse(values, "test")


MONEY = {"budget": {"money": 50.0}}


@pytest.mark.parametrize(
    ("stop", "bound", "rates"),
    [
        (MONEY, 50.0, True),
        ({"any": MONEY}, 50.0, True),
        ({"any": {"any": MONEY, "budget": {"money": 40.0}}}, 40.0, True),
        ({"all": {**MONEY, "rounds": {"at_least": 9}}}, None, True),
        ({"any": {"all": MONEY}}, None, True),
        ({"any": {"budget": {"labels": 90}}}, None, False),
        ({"target": {"accuracy": 0.9}}, None, False),
    ],
)
def test_a_budget_counts_wherever_it_is_enough_by_itself(
    stop: dict[str, Any], bound: float | None, rates: bool
) -> None:
    policy = parsed(stop).policy
    assert policy.stop.bound("money") == bound
    assert policy.needs_rates() is rates


@pytest.mark.parametrize("inside", [lambda rule: rule, lambda rule: {"any": rule}])
@pytest.mark.parametrize(
    ("budget", "blocks", "says"),
    [
        ({"labels": 49}, {}, r"policy\.stop\.budget\.labels: 49 is less than the initial pool \(loop\.initial: 50\)"),
        ({"money": 2.49}, {}, r"50 labels: 2\.5 USD"),
        (
            {"money": 3.9},
            {"prices": PRICES | {"annotator_second": 0.01}, "label": {"seconds": 3.0}},
            r"50 labels: 4 USD",
        ),
        ({"money": 5.4}, {"prices": PRICES | {"batch_fee": 3.0}}, r"50 labels: 5\.5 USD"),
    ],
)
def test_a_budget_below_the_initial_pool_is_refused(
    inside: Callable[[Any], Any], budget: dict[str, Any], blocks: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        parsed(inside({"budget": budget}), **blocks)
    enough = {name: amount + 1 for name, amount in budget.items()}
    parsed(inside({"budget": enough}), **blocks)
    # Of people nobody knows it, and with a schedule it depends on the pool.
    if "label" in blocks:
        parsed(inside({"budget": budget}), **blocks | {"label": {"labeler": "files", "seconds": 3.0}})
    parsed(inside({"budget": budget}), **blocks, policy={"query_size": "schedule"})


def test_a_nested_budget_is_an_aim() -> None:
    aimless = {"query_size": "cost_optimal"}
    assert parsed({"any": MONEY}, policy=aimless).policy.query_size == "cost_optimal"
    with pytest.raises(ConfigError, match="needs an aim"):
        parsed({"all": {**MONEY, "rounds": {"at_least": 9}}}, policy=aimless)


@pytest.mark.parametrize("text", ["0.05 EUR", " 0.05EUR ", "5e-2 EUR"])
def test_amounts_may_name_their_currency(conf: Path, text: str) -> None:
    assert config.load(conf, (f"prices.label='{text}'",)).prices.label == 0.05


def test_rules_that_never_hold_may_be_measured_in_all(conf: Path) -> None:
    stop = "policy.stop.all={rounds: {at_least: 99}, stable_predictions: {patience: 50}}"
    assert config.load(conf, (stop, "policy.stop.any.all.rounds.at_least=99")).policy.stop.all is not None
    assert config.load(conf, ("policy.stop.rounds.at_least=4", "policy.stop.stable_predictions.patience=3"))


def test_what_agrees_is_no_contradiction(conf: Path) -> None:
    aims = ("policy.cost_optimal.target=0.9", "policy.stop.target.accuracy=0.9", "policy.metric=accuracy")
    config.load(conf, (*aims, "policy.query_size=cost_optimal"))
    # A target of a query size that is not in use is none.
    config.load(conf, (*aims, "policy.cost_optimal.target=0.5"))
    config.load(conf, ("policy.metric=accuracy", "policy.false_start.expected={100: 0.5, 200: 0.5, 300: 0.6}"))
    config.load(conf, ("policy.stop.budget.labels=500", "loop.max_labels=100"))


@pytest.mark.parametrize("mode", ["warm", "resume", "shrink_perturb", "auto"])
def test_a_model_that_goes_on_has_never_been_trained_on_what_is_held_back(conf: Path, mode: str) -> None:
    message = r"train\.validation: 0\.5 of the first 19 labels .* 20 labels or more \(loop\.initial\)"
    settings = ("train.validation=0.5", f"policy.retrain={mode}")
    with pytest.raises(ConfigError, match=message):
        config.load(conf, (*settings, "loop.initial=19"))
    config.load(conf, (*settings, "loop.initial=20"))
    config.load(conf, ("train.validation=0.5", "loop.initial=19"))


def test_a_fault_of_the_file_is_the_files(conf: Path) -> None:
    conf.write_text("name: mine\nloop: {rounds: 0}\n")
    with pytest.raises(ConfigError, match=rf"^override seed=-1: seed: .*; {conf}: loop\.rounds: .*not 0$"):
        config.load(conf, ("loop.initial=5", "seed=-1"))


def test_amounts_of_stop_rules_may_name_the_currency(conf: Path) -> None:
    rules = ("policy.stop.budget.money=5 EUR", "policy.stop.any.all.marginal_value.value_per_point=1E+2 EUR")
    stop = config.load(conf, (*rules, "policy.metric=accuracy", "prices.label=1E-2 EUR")).policy.stop
    assert stop.budget is not None
    assert stop.budget.money == 5
    inner = stop.any.all if stop.any is not None else None
    assert inner is not None
    assert inner.marginal_value is not None
    assert inner.marginal_value.value_per_point == 100


def test_prices_may_stand_elsewhere(conf: Path, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("currency: CHF\nlabel: 2\ndevice_hour: {cpu: 0.5}\n")
    assert config.load(conf, prices=tmp_path / "other.yaml").prices.currency == "CHF"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("train=3", "proxy={}"), "train: must be a block of keys"),
        (("train=[]",), "override train"),
        (("proxy=abc",), "proxy: must be a block of keys"),
        (("proxy.train=abc",), r"proxy\.train: must be a block of keys"),
        (("proxy={}", "proxy.train.modle=linear"), r"proxy\.train\.modle: unknown key; did you mean 'model'"),
        (("proxy.target.end=false",), "the target would never be trained"),
        (("proxy={agreement: 0, ceiling: true}",), r"proxy\.ceiling compares two targets"),
        (("select.initial=recorded",), "set both to recorded, or neither"),
        (("select.initial=recorded", "select.strategy=recorded"), "recorded names a selection"),
        (("select.features=a.parquet",), "features are for initial=max_herding and typiclust"),
        (("infer.acquisition=lplgrad",), r"set train\.loss_prediction={}"),
        (("infer.acquisition=entropy_gradnorm", "train.members=2"), "looks into one model in one pass"),
        (("train.compile=true", "train.loss_prediction={}"), "compile does not reach"),
        (("infer.scope=[subset]",), r"scope subset needs one of subset\.size and subset\.ratio"),
    ],
)
def test_what_cannot_select_is_refused_in_one_line(conf: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        config.load(conf, overrides)
    assert "\n" not in str(caught.value)


def test_a_proxy_is_like_the_target_but_for_what_it_sets(conf: Path) -> None:
    loaded = config.load(conf, ("train.epochs=9", "train.augment.flip=true", "proxy.train.model=linear"))
    assert loaded.selecting.model_dump() == loaded.train.model_dump() | {"model": "linear"}
    assert config.parse(config.dump(loaded), "again") == loaded
    assert config.load(conf, ("train.epochs=9",)).selecting.epochs == 9
