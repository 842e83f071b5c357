"""Progress of long work on a terminal."""

import sys

from tqdm import tqdm


class StageBars:
    """Progress bars with estimates, one per stage: call it with (stage, done, of).

    name: of the job, before the stage's.
    """

    def __init__(self, quiet: bool, name: str = ""):
        self.quiet, self.name, self.stage, self.bar, self.count = quiet, name, None, None, 0

    def __call__(self, stage: str, done: int, of: int) -> None:
        """Move the bar of `stage`, which begins when it is first named."""
        if stage != self.stage:
            self.close()
            self.stage, self.count = stage, done - 1
            self.bar = tqdm(total=of, initial=self.count, desc=f"{self.name}, {stage}" if self.name else stage,
                            unit="step", disable=self.quiet, file=sys.stderr)
        self.bar.update(done - self.count)
        self.count = done

    def show(self, **figures: str) -> None:
        """Show figures behind the bar of the present stage."""
        self.bar.set_postfix(figures)

    def close(self) -> None:
        """End the bar of the present stage."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
