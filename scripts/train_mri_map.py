"""Train the learned map from MRI to tissues and write its weights into the package.

python scripts/train_mri_map.py    # five minutes; the same weights each time on one machine
"""

from us_recon.acoustics.classifier import save
from us_recon.acoustics.contrasts import CONTRASTS
from us_recon.acoustics.training import train_contrast
from us_recon.pipeline.threads import use_one_thread


def main() -> None:
    """Train on the back halves of drawn heads."""
    use_one_thread()
    save({name: train_contrast(name) for name in CONTRASTS})


if __name__ == "__main__":
    main()
