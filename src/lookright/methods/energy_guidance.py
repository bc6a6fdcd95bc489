"""EnergyGuidance: more of the map's energy inside the mask."""

from jaxtyping import Float
from torch import Tensor

from lookright.attribution import relu
from lookright.methods.camal import inside_outside
from lookright.methods.map_guidance import MapGuidance


class EnergyGuidance(MapGuidance):
    """Raises the share of positive attribution that lies in the mask: −λ · mean_b Σ A⁺M / Σ A⁺.

    Rao, Böhle, Parchami-Araghi, Schiele, "Studying How to Efficiently and Effectively Guide Models with Explanations",
    ICCV 2023 (arXiv 2303.11932), the Energy loss. It says nothing of how the attention is spread inside of the mask,
    which makes it robust to boxes and rough masks. The authors' code adds up the annotated images; here they are
    averaged. A map without positive attribution has energy 0. It equals half of `CAMAL(mode="energy", minmax=False)`
    up to a constant, where all pixels are known.

    Args:
        weight: λ. The paper tunes it for each model and data set.
        explain: whose map is guided: that of the `label` or of the `predicted` class.
        map: which map is compared, see `MapGuidance`.
    """

    def compare(
        self, map: Float[Tensor, "B h w"], inside: Float[Tensor, "B h w"], outside: Float[Tensor, "B h w"]
    ) -> Float[Tensor, " B"]:
        """Minus the share of the energy inside."""
        return -inside_outside(relu(map), inside, outside, "energy")[0]
