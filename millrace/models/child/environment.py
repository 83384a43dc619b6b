"""What of the agent's environment its children get: what libraries need, and no secret. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

_KEPT = frozenset({"HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ"})
_KEPT_PREFIXES = ("CUDA_", "HF_HUB_", "LC_", "MKL_", "NVIDIA_", "OMP_", "OPENBLAS_", "XDG_")
_KEPT_TOO = frozenset({"HF_ENDPOINT", "HF_HOME"})  # not HF_TOKEN
_PROXIES = frozenset({"ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"})


def child_environment(environ: Mapping[str, str], modules: Iterable[str]) -> dict[str, str]:
    """A child's whole environment: no key, no password, nothing of ours.

    :param modules: where the agent finds its modules (`sys.path`), and the child shall.
    """
    kept = {name: value for name, value in environ.items() if _may_be_known(name, value)}
    return {**kept, "PYTHONPATH": os.pathsep.join(folder or "." for folder in modules)}


def _may_be_known(name: str, value: str) -> bool:
    if name.upper() in _PROXIES:  # models given by name are downloaded
        return urlsplit(value).password is None
    return name in _KEPT or name in _KEPT_TOO or name.startswith(_KEPT_PREFIXES)
