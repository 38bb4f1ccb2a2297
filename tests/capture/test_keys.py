"""Key sets: what a stream is known to hold."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flockiq.capture import keys
from flockiq.capture.keys import KeySets
from flockiq.shared.services import Services

BATCHES = st.lists(st.tuples(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef"))), max_size=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, repeat=st.integers(0, 7))
async def test_a_set_is_what_its_batches_made_of_it(
    services: Services, batches: list[tuple[set[str], set[str]]], repeat: int
) -> None:
    """Added and removed in order; a batch noted twice (after a crash) counts once; folding changes nothing."""
    sets = KeySets(services.blobs, "default", "crm", "accounts")
    await sets.forget(1)
    expected: dict[str, int] = {}
    for part, (added, removed) in enumerate(batches):
        await sets.note(1, 1, part, dict.fromkeys(added, part), removed)
        expected = {key: value for key, value in (expected | dict.fromkeys(added, part)).items() if key not in removed}
        if part == repeat:
            await sets.note(1, 1, part, dict.fromkeys(added, part), removed)
    assert await sets.read(1) == expected
    kept, keys.SEGMENTS = keys.SEGMENTS, 1
    try:
        await sets.fold(1)
    finally:
        keys.SEGMENTS = kept
    assert await sets.read(1) == expected
    assert len(await services.blobs.list("capture/keys/")) <= 1
    assert await sets.read(2) == {}
