"""Privacy masks, as exports paint them too."""

from lookout.masks import Masks

__all__ = ["Masks"]
