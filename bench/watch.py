"""What watching a whole model costs, against `output_attentions=True` and against a blind run.

python -m bench.watch [--rounds 7]      needs: eyeline models get minilm smollm2

Where `output_attentions` takes too long or too much memory, without it, against the blind run:

python -m bench.watch --models smollm2 --only blind everything_observed
"""

import argparse

import torch

import eyeline
from bench._measure import compare, extra_memory, interleaved, peak_growth, write_json
from eyeline.capture.loading import load_huggingface
from eyeline.models import resolve

EVERYTHING = eyeline.Measure(top_k=8, entropy=True, received=True, pooled=256)
LENGTHS = {"minilm": 512, "smollm2": 2048}


def cases(network, length: int) -> dict:
    """Runs of one model; each returns what it must keep alive."""
    torch.manual_seed(0)
    inputs = {"input_ids": torch.randint(1000, 20000, (1, length))}
    if hasattr(network, "generate"):
        inputs["use_cache"] = False  # nobody writes on; a cache would hold keys and values as well

    def with_implementation(implementation: str, **options):
        network.set_attn_implementation(implementation)
        return network(**inputs, **options)

    def watched(**options):
        network.set_attn_implementation("sdpa")
        with eyeline.watch(network, **options) as maps:
            return network(**inputs), maps

    def statistics(**options):
        result, maps = watched(**options)
        taken = [m.measure(top_k=8, entropy=True, received=True) for m in maps.values()]
        return result, maps, taken

    return {
        "output_attentions": lambda: with_implementation("eager", output_attentions=True),
        "blind": lambda: with_implementation("sdpa"),
        "watch": watched,
        "watch_inputs": lambda: watched(keep="inputs"),
        "watch_and_measure": statistics,
        "everything_observed": lambda: watched(keep="statistics", measure=EVERYTHING),
        "watch_inputs_and_measure": lambda: statistics(keep="inputs"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--models", default="minilm,smollm2")
    parser.add_argument("--only", nargs="+", help="cases, the first of which is 1")
    parser.add_argument("--machine", default="", help="goes into the JSON's name")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    if options.memory:
        name, length, case = options.memory.split(":")
        network = load_huggingface(resolve(name), name).network
        cases(network, int(length))["blind"]()  # from here on no weights are read from the disk
        cases(network, 64)[case]()
        return print(peak_growth(cases(network, int(length))[case]))

    result = {}
    for name in options.models.split(","):
        runs = cases(load_huggingface(resolve(name), name).network, length := LENGTHS[name])
        runs = {case: runs[case] for case in options.only or runs}
        base = next(iter(runs))
        table = compare(interleaved(runs, options.rounds), base)
        memory = {
            case: extra_memory("bench.watch", f"{name}:{length}:{case}")
            for case in {"blind": None, **table}
        }
        for case, row in table.items():
            row["peak_bytes"] = memory[case]
            # the blind run's memory is the model's own; what looking adds comes on top of it
            row["looking_bytes"] = max(memory[case] - memory["blind"], 0)
            share = ""
            if "output_attentions" in memory and row["looking_bytes"]:
                today = memory["output_attentions"] - memory["blind"]
                share = f" = 1/{today / row['looking_bytes']:.1f}"
            print(
                f"{name:8} {length:5}  {case:27} {row['ratio_median']:5.2f} x {base} "
                f"(best {row['ratio_best']:.2f})  memory for looking "
                f"{row['looking_bytes'] / 1e6:7.1f} MB{share}"
            )
        result[name] = {"length": length, "cases": table}
    print(write_json("-".join(filter(None, ("watch", options.machine))), result))


if __name__ == "__main__":
    main()
