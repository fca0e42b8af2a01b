"""The real kubectl, with nothing of this machine's own configuration."""

import os
import subprocess
import sys
from pathlib import Path

from server import environment

KUBECTL = Path(os.environ.get("KUBECTL_BIN") or Path(sys.executable).parent / "kubectl")


def kubectl(*arguments, cwd: Path, check: bool = True, **variables) -> subprocess.CompletedProcess:
    """Runs kubectl in `cwd`, which is its home too. `variables` are added to its environment."""
    ran = subprocess.run(
        [KUBECTL, *map(str, arguments)],
        cwd=cwd, env=environment(cwd) | variables, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if check:
        assert ran.returncode == 0, f"kubectl {arguments}: {ran.stderr}"
    return ran
