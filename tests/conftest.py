"""Every signature is checked while testing."""

from jaxtyping import install_import_hook

install_import_hook("lookright", "beartype.beartype")
