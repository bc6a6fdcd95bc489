"""Every signature is checked while testing."""

from jaxtyping import install_import_hook

install_import_hook("lookright", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")
