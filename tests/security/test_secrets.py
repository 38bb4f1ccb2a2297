"""No secret is in the repository, in any form that secrets usually have."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SECRETS = re.compile(
    "|".join(  # noqa: FLY002 - one kind a line
        (
            r"(?:SharedAccess|Account|Access|Shared)Key=[A-Za-z0-9+/]{20,}={0,2}",  # Azure connection strings
            r"[?&]sig=[A-Za-z0-9%+/]{20,}",  # shared access signatures
            r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/]{20,}",
            r"\bAKIA[0-9A-Z]{16}\b",  # AWS
            r"\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9_]{40,}",  # GitHub
            r"\bxox[abprs]-[A-Za-z0-9-]{20,}",  # Slack
            r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}",  # JWT
            r"\b[a-zA-Z0-9_~.-]{3}\dQ~[a-zA-Z0-9_~.-]{31,34}\b",  # client secrets of Entra ID
            r"\bsk_live_[A-Za-z0-9]{20,}",  # Stripe
            r"://[^/\s:@{}$<]+:[^/\s:@{}$<]{8,}@[a-z0-9.-]+\.[a-z]{2,}",  # passwords in addresses
        )
    )
)
PUBLIC = (
    # Microsoft's emulators have these keys everywhere: https://learn.microsoft.com/azure/storage/common/storage-use-azurite
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==",
)


def found(text: str) -> list[str]:
    """What looks like a secret in ``text``, cut short."""
    for key in PUBLIC:
        text = text.replace(key, "")
    return [match[0][:40] for match in SECRETS.finditer(text)]


def test_no_file_holds_a_secret() -> None:
    """Every file under version control, of code, config, docs, tests and infra."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of files to read")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(paths) > 500
    texts = {path: path.read_text(errors="replace") for path in paths if path.is_file() and not path.is_symlink()}
    assert {str(path.relative_to(ROOT)): secrets for path, text in texts.items() if (secrets := found(text))} == {}


@pytest.mark.parametrize(
    "line",
    [
        "Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=Root;Shared" + "AccessKey=" + "a1B2" * 10 + "a1B=",
        "AccountName=x;Account" + "Key=" + "Zz9+" * 21 + "Zg==",
        "https://x.blob.core.windows.net/c/b?sv=2024&si" + "g=" + "aB3%2F" * 8,
        "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEpAIBAAKCAQEA" + "x" * 20,
        "AKI" + "AIOSFODNN7EXAMPLE",
        "gh" + "p_" + "a" * 36,
        "xox" + "b-" + "123456789012-abcdefghijkl",
        "ey" + "JhbGciOiJSUzI1NiJ9abc" + ".ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0" + "." + "s" * 30,
        "client_secret: abc" + "8Q~" + "x" * 34,
        "sk_" + "live_" + "a1b2" * 6,
        "postgres://app:cor" + "recthorse@db.example.com/crm",
    ],
)
def test_a_secret_is_seen(line: str) -> None:
    """The check above finds each kind."""
    assert found(line)


@pytest.mark.parametrize(
    "line",
    [
        "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=x;SharedAccessKey=emulator;UseDevelopmentEmulator=true",
        "token: {secret: crm-token}",
        "https://{user}:{password}@host.example.com",
        "AccountKey=" + PUBLIC[0],
    ],
)
def test_what_is_no_secret_is_let_through(line: str) -> None:
    """Names, placeholders and the emulators' public keys."""
    assert not found(line)
