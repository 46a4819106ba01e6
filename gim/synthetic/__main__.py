"""Make the bundled clip again: `python -m gim.synthetic [FOLDER]`."""

import sys
from pathlib import Path

from gim.synthetic.clip import bundled_clip, bundled_plan, write_clip

CRF, PRESET = 22, "slow"  # the best picture below 900 kB
X264 = "keyint=600:bframes=8:ref=8:rc-lookahead=120:me=umh:subme=10:trellis=2"


def main(folder: Path) -> None:
    """Write the clip and its truth into a folder."""
    video, truth_file = (folder / path.name for path in bundled_clip())
    folder.mkdir(parents=True, exist_ok=True)
    truth = write_clip(video, bundled_plan(), crf=CRF, preset=PRESET, x264=X264)
    truth.save(truth_file)
    for path in (video, truth_file):
        sys.stdout.write(f"{path}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else bundled_clip()[0].parent)
