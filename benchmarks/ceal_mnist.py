"""CEAL's protocol on MNIST: does a candidate pool of a few items choose as well as the whole pool, and for how much?

    python benchmarks/ceal_mnist.py --work DIR [--quick] [--jobs 2] [--minutes N] [--out benchmarks/results]

Ten rounds of 600 labels on top of 600 random ones, from the 60,000 training images; the CEAL net; entropy of the mean
of K = 48 dropout passes (16 in the checks). Arms differ only in which items INFER scores: none (random), all (full),
candidates drawn by the published sampler, softmax(v^1.2) of the cached values, or by ours ("lean" makes the first full
pass, which only has to order the pool, with 8 dropout passes). How arms are run, paired and
measured is told in ceal.py.

Needs FRUGAL_DATA (or a network). Prints a table, draws the curves if --out is given, and prints one JSON object as its
last line.
"""

import argparse
from pathlib import Path

import ceal

CONF = Path(__file__).parent.parent / "conf" / "mnist-frugal.yaml"
QUICK = ("dataset.limit=2000", "loop.rounds=4", "loop.initial=100", "loop.query_size=100")


def main() -> None:
    """Run what is missing, then tell."""
    options = arguments()
    own = [f"--passes={options.passes}", f"--epochs={options.epochs}", *(["--quick"] * options.quick)]
    ceal.main(protocol(options), options, [__file__, *own])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = ceal.parser(__doc__, quick="2,000 items, 4 rounds of 100, one seed")
    parser.add_argument("--passes", type=int, default=48, help="dropout passes per item")
    parser.add_argument("--epochs", type=int, default=20)
    return parser.parse_args()


def protocol(options: argparse.Namespace) -> ceal.Protocol:
    """conf/mnist-frugal.yaml with dropout passes, and its arms."""
    return ceal.Protocol(
        name="ceal_mnist",
        conf=CONF,
        settings=(
            "infer.acquisition=predictive_entropy",
            f"infer.passes={options.passes}",
            f"train.epochs={options.epochs}",
            "label.seconds=0.0",
            "device=cpu",
            *(QUICK if options.quick else ()),
        ),
        arms=arms(options.quick),
        candidates=2500,
        targets={"fewer_items_scored": 8, "less_compute": 4, "recall_gain_at_2500": 2.5},
        about={"passes": options.passes, "epochs": options.epochs},
        title="MNIST, pool of 60,000, MC-dropout entropy: mean and 95 % interval over seeds",
        ticks=(0.5, 0.7, 1, 2, 3, 5),
        suffix="-quick" if options.quick else "",
    )


def arms(quick: bool) -> tuple[ceal.Arm, ...]:
    """The arms of the full benchmark, or those of --quick, with sizes for a pool of 2,000."""
    full, random, ours, published = ceal.FULL, ceal.RANDOM, ceal.ours, ceal.published
    if quick:
        return (
            ceal.Arm("full", full, 1),
            ceal.Arm("random", random, 1),
            ceal.Arm("published 400", published(400), 1),
            ceal.Arm("ours 210", ours(210), 1),
        )
    ratios = ("infer.acquisition=variation_ratios", "infer.passes=16")
    five = ("loop.initial=3000", "infer.passes=16")
    lean = (*ours(1250), "infer.first_passes=8")
    return (
        ceal.Arm("full", full, 5),
        ceal.Arm("ours 1250 lean", lean, 5, start="lean"),
        ceal.Arm("ours 1250", ours(1250), 5),
        ceal.Arm("random", random, 5),
        ceal.Arm("published 2500", published(2500)),
        ceal.Arm("ours 2500", ours(2500)),
        ceal.Arm("published 5000", published(5000)),
        ceal.Arm("ours 5000", ours(5000)),
        ceal.Arm("published 10000", published(10000)),
        ceal.Arm("full, variation ratios", (*full, *ratios), 1, "ratios", check=True),
        ceal.Arm("ours 1250, variation ratios", (*ours(1250), *ratios), 1, "ratios", check=True),
        ceal.Arm("full, initial 5 %", (*full, *five), 1, "5 %", check=True),
        ceal.Arm("ours 1250, initial 5 %", (*ours(1250), *five), 1, "5 %", check=True),
    )


if __name__ == "__main__":
    main()
