"""Files as they are written: separated values in all their ways, JSON lines, Parquet, packed or not."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from arro3.core import Array, DataType, Table
from arro3.io import write_parquet
from pydantic import TypeAdapter, ValidationError

from flockiq.capture import files
from flockiq.capture.badrow import BadRow
from flockiq.capture.rows import rows
from flockiq.shared.config.files import FileFormat
from flockiq.shared.errors import BadRecord
from flockiq.shared.services import Services
from tests.capture.conftest import World
from tests.capture.test_crash import Killed
from tests.capture.test_files import BUREAU, created, land, told

LIMIT = 10_000_000
_format = TypeAdapter[Any](FileFormat)
PLAIN = b"tax_id,score,rated_at\nDE1,50,2026-03-01T10:00:00Z\nDE2,60,\n"
READ = [
    {"tax_id": "DE1", "score": "50", "rated_at": "2026-03-01T10:00:00Z"},
    {"tax_id": "DE2", "score": "60", "rated_at": None},
]


def read(body: bytes, limit: int = LIMIT, **written: Any) -> list[Any]:
    """The rows of a file; a bad one as the reason."""
    config = _format.validate_python({"kind": "csv"} | written)
    return [
        str(row) if isinstance(row, BadRow) else {name: msgspec.json.decode(raw) for name, raw in row.items()}
        for row in rows(body, config, limit)
    ]


def zipped(*members: tuple[str, bytes]) -> bytes:
    """A zip file."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return held.getvalue()


WRITTEN: dict[str, tuple[bytes, dict[str, Any]]] = {
    "as it is": (PLAIN, {}),
    "with Windows line ends": (PLAIN.replace(b"\n", b"\r\n"), {}),
    "without the last line end": (PLAIN.rstrip(b"\n"), {}),
    "semicolons": (PLAIN.replace(b",", b";"), {"delimiter": ";"}),
    "tabs": (PLAIN.replace(b",", b"\t"), {"delimiter": "\t"}),
    "a pipe": (PLAIN.replace(b",", b"|"), {"delimiter": "|"}),
    "other quotes": (PLAIN.replace(b"DE1", b"'DE1'"), {"quote": "'"}),
    "a UTF-8 mark": (b"\xef\xbb\xbf" + PLAIN, {}),
    "UTF-16": (PLAIN.decode().encode("utf-16"), {"encoding": "utf-16"}),
    "a mark that knows better": (b"\xfe\xff" + PLAIN.decode().encode("utf-16-be"), {"encoding": "windows-1252"}),
    "lines before the header": (b"Report of March\n\n" + PLAIN, {"skip": 2}),
    "no header": (PLAIN.partition(b"\n")[2], {"columns": ["tax_id", "score", "rated_at"]}),
    "gzip": (gzip.compress(PLAIN), {}),
    "gzip in two parts": (gzip.compress(PLAIN[:30]) + gzip.compress(PLAIN[30:]), {}),
    "zip": (zipped(("a.csv", PLAIN), (".DS_Store", b"x"), ("__MACOSX/a.csv", b"x")), {}),
    "JSON lines": (b"\n".join(msgspec.json.encode(each) for each in READ), {"kind": "ndjson"}),
    "JSON lines, packed": (
        gzip.compress(b"\xef\xbb\xbf" + b"\r\n\n".join(msgspec.json.encode(each) for each in READ)),
        {"kind": "ndjson"},
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_rows_come_of_every_way_to_write_them(name: str) -> None:
    """Two rows, whatever the file looks like."""
    body, written = WRITTEN[name]
    assert read(body, **written) == READ


def test_quotes_and_escapes() -> None:
    """Doubled, escaped, over several lines, or none at all."""
    assert read(b'a,b\n"x ""y""\nz",1\n') == [{"a": 'x "y"\nz', "b": "1"}]
    assert read(b'a,b\n"x \\"y\\"",1\\,2\n', escape="\\") == [{"a": 'x "y"', "b": "1,2"}]
    assert read(b'a,b\n"x,1\n', quote="") == [{"a": '"x', "b": "1"}]
    assert read(b"a\n\n \n", empty_is_null=False) == [{"a": " "}]


def test_encodings_of_the_west() -> None:
    """The euro sign tells them apart."""
    assert read("a\n5 €\n".encode("windows-1252"), encoding="windows-1252") == [{"a": "5 €"}]
    assert read(b"a\n\xe4\n", encoding="iso-8859-1") == [{"a": "ä"}]


def test_a_zip_of_several_files_is_all_of_them_by_name() -> None:
    """Each with its own header."""
    assert read(zipped(("b.csv", b"x\n2\n"), ("a/a.csv", b"x\n1\n"))) == [{"x": "1"}, {"x": "2"}]


def test_bad_lines_are_told_of_and_passed_over() -> None:
    """No object, cut, not UTF-8, endless: each is one bad row with its number."""
    body = b'{"a": 1}\n5\n{"a"\n{"a": "\xff"}\n' + b'{"a": "' + b"x" * 5_000_000 + b'"}\n{"a": 2}'
    found = read(body, kind="ndjson")
    assert (found[0], found[-1], len(found)) == ({"a": 1}, {"a": 2}, 6)
    assert [bad.split(":")[0] for bad in found[1:5]] == [
        "row 2 is no JSON object",
        "row 3 is no JSON object",
        "row 4 is no JSON object",
        "row 5 is longer than 4,000,000 bytes",
    ]


def test_a_quote_that_is_never_closed_does_not_take_the_memory() -> None:
    """The value ends at its limit, in error; a line without an end is one too."""
    found = read(b'a,b\n1,2\n"' + b"x,y\n" * 300_000)
    assert found[0] == {"a": "1", "b": "2"}
    assert "field larger than field limit" in found[1]
    with pytest.raises(BadRecord, match="a line is longer than"):
        read(b"a,b\n" + b"x" * 3_000_000)


def bomb() -> bytes:
    """Ten megabytes in a few kilobytes."""
    return gzip.compress(b"a\n" + b"1\n" * 5_000_000)


def zip_of(content: bytes, **flags: int) -> bytes:
    """A zip file whose directory lies about its member."""
    body = bytearray(zipped(("a.csv", content)))
    place = body.index(b"PK\x01\x02")
    if "encrypted" in flags:
        body[place + 8] |= 1
    if "method" in flags:
        body[place + 10] = flags["method"]
    return bytes(body)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a gzip bomb": (bomb(), "unpacks to over 200,000 bytes"),
    "a zip bomb": (zipped(*((f"{number}.csv", b"a\n" + b"1\n" * 70_000) for number in range(2))), "unpacks to over"),
    "too many files": (zipped(*((f"{number}.csv", b"a\n") for number in range(1_001))), "holds 1,001 files"),
    "cut gzip": (gzip.compress(PLAIN * 100)[:-20], "cut short"),
    "gzip of nonsense": (b"\x1f\x8b" + b"\x00" * 50, "damaged"),
    "zip of nonsense": (b"PK\x03\x04" + b"\x00" * 50, "damaged"),
    "a changed zip": (zipped(("a.csv", PLAIN)).replace(b"PK\x01\x02", b"PK\x01\x03"), "damaged"),
    "encrypted": (zip_of(PLAIN, encrypted=1), "is encrypted"),
    "an unknown method": (zip_of(PLAIN, method=99), "packed in an unknown way"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_in_a_reason(name: str) -> None:
    """Bounded, and said what to do."""
    body, said = HOSTILE[name]
    with pytest.raises(BadRecord, match=said):
        for _ in rows(body, _format.validate_python({"kind": "csv"}), 200_000):
            pass


def parquet(count: int = 250) -> bytes:
    """A Parquet file of every kind of column that business systems export."""
    numbers = range(count)
    table = Table.from_pydict(
        {
            "tax_id": Array([f"DE{number}" for number in numbers], type=DataType.utf8()),
            "score": Array([number if number % 2 else None for number in numbers], type=DataType.int64()),
            "amount": Array([number * 100 for number in numbers], type=DataType.int64()).cast(
                DataType.decimal128(18, 2)
            ),
            "rated_at": Array([1_772_359_200_000_000 + number for number in numbers], type=DataType.int64()).cast(
                DataType.timestamp("us", tz="UTC")
            ),
            "day": Array([20_513] * count, type=DataType.int32()).cast(DataType.date32()),
            "active": Array([bool(number % 2) for number in numbers], type=DataType.bool()),
        }
    )
    held = io.BytesIO()
    write_parquet(table, held, compression="zstd(1)")
    return held.getvalue()


def test_parquet_is_read_row_by_row_without_losing_a_digit() -> None:
    """Text, numbers, decimals, times, dates, truth values, and nothing where there is nothing."""
    found = read(parquet(), kind="parquet")
    assert len(found) == 250
    first = found[0]
    assert (first["tax_id"], first["score"], first["day"], first["active"]) == ("DE0", None, "2026-03-01", False)
    assert first["rated_at"] == "2026-03-01T10:00:00Z"
    raw = list(rows(parquet(), _format.validate_python({"kind": "parquet"}), LIMIT))[7]
    assert isinstance(raw, dict)
    assert bytes(raw["amount"]) == b"700.00"
    assert found[7]["score"] == 7


@pytest.mark.parametrize("cut", [0, 3, 100, 1_000])
def test_a_parquet_file_that_is_damaged_is_told_of(cut: int) -> None:
    """Cut, or changed inside; never a crash."""
    body = parquet()
    with pytest.raises(BadRecord, match="Parquet"):
        read(body[:cut], kind="parquet")
    with pytest.raises(BadRecord, match="Parquet"):
        read(body[:4] + bytes(255 - byte for byte in body[4:-4]) + body[-4:], kind="parquet")


def test_parquet_spends_the_allowance_too() -> None:
    """What it unpacks to is bounded."""
    with pytest.raises(BadRecord, match="unpacks to over"):
        read(parquet(), limit=1_000, kind="parquet")


MISTAKES: dict[str, dict[str, Any]] = {
    "one mark for two things": {"quote": ","},
    "a line break": {"delimiter": "\n"},
    "a column twice": {"columns": ["a", "a"]},
    "no encoding": {"encoding": "ebcdic"},
    "not its own": {"kind": "ndjson", "delimiter": ","},
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_format_that_can_not_be_meant_is_refused(name: str) -> None:
    """Before any file is read."""
    with pytest.raises(ValidationError):
        _format.validate_python({"kind": "csv"} | MISTAKES[name])


PACKED = BUREAU | {
    "limits": {"unpacked_bytes": "1MB"},
    "streams": {
        "ratings": BUREAU["streams"]["ratings"] | {"pattern": "ratings-*", "format": {"kind": "parquet"}},  # type: ignore[index]
        "notes": BUREAU["streams"]["ratings"] | {"pattern": "notes-*", "format": {"kind": "ndjson"}},  # type: ignore[index]
    },
}


@pytest.fixture
async def it(services: Services, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A capture with one source of two kinds of files, which the functions use."""
    made = World(services, PACKED)
    made.serve(monkeypatch)
    yield made
    await made.capture.close()


async def test_a_packed_file_is_one_slice_that_goes_on_after_a_kill(
    it: World, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parquet like any other: rows noted are not read again, the same file twice changes nothing."""
    monkeypatch.setattr(files, "ROWS", 100)
    saves = _saves(2)

    class Mortal:
        def __getattr__(self, name: str) -> Any:
            return getattr(services.registry, name)

        async def put(self, key: str, value: bytes, etag: str | None) -> str:
            if key.startswith("file/"):
                next(saves)
            return await services.registry.put(key, value, etag)

    it.capture.services = services._replace(registry=Mortal())  # type: ignore[arg-type]
    with pytest.raises(Killed):
        await land(it, parquet(), "bureau/ratings-1.parquet")
    it.capture.services = services
    await land(it, parquet(), "bureau/ratings-1.parquet")
    await land(it, parquet(), "bureau/ratings-1.parquet", etag="2")
    changes = await it.changes()
    assert len(changes) == 350  # the hundred that were published but not noted come again, with the same ids
    assert len({change.id for change in changes}) == 250


def _saves(good: int) -> Iterator[None]:
    """So many that succeed, then the process is killed."""
    for _ in range(good - 1):
        yield
    raise Killed


async def test_a_bomb_that_lands_is_one_dead_letter(it: World) -> None:
    """It names the file and the limit; what came before it is kept."""
    body = gzip.compress(b'{"tax_id": "DE1"}\n' + b" " * 5_000_000)
    await land(it, body, "bureau/notes-1.ndjson.gz")
    (letter,) = [letter for letter in await it.letters() if letter["Key"]]
    assert (letter["Key"], letter["Stream"]) == ("inbox/bureau/notes-1.ndjson.gz", "notes")
    assert "limits.unpacked_bytes" in letter["Reason"]


async def test_a_half_written_file_waits(it: World) -> None:
    """Another size than was told of, a name that says so, an event that says so; the finished one is read."""
    body = b'{"tax_id": "DE1"}\n{"tax_id": "DE2"}\n'
    await it.services.blobs.put("inbox/bureau/notes-1.json", body[:10])
    await told(created("bureau/notes-1.json", "1", len(body)))
    await land(it, body[:5], "bureau/notes-1.json.part", "1")
    await land(it, body[:5], "bureau/.notes-1.json", "1")
    begun = created("bureau/notes-1.json", "1", 0)
    begun["data"]["api"] = "CreateFile"
    await told(begun)
    assert await it.changes() == []
    assert await it.letters() == []
    await land(it, body, "bureau/notes-1.json", "1")
    assert [change.data.key for change in await it.changes()] == ["DE1", "DE2"]
