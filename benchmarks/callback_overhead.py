"""What SCN costs: a training epoch with SCNCallback over the same epoch of the same Learner without it."""

from _common import arguments, epoch_seconds, learner, noisy_faces, report, time_pairs


def main(argv: list[str] | None = None) -> None:
    """Print the ratio."""
    options = arguments(__doc__, argv)
    learn = learner(noisy_faces(options), options, "default")
    scn = learn.scn

    def with_scn() -> float:
        if scn not in learn.cbs:
            learn.add_cb(scn)
        return epoch_seconds(learn)

    def without() -> float:
        learn.remove_cb(scn)
        return epoch_seconds(learn)

    report("callback overhead", time_pairs(with_scn, without, options.repeats), "<= 1.03", options, learn.dls.device)


if __name__ == "__main__":
    main()
