"""The triggers of capture: what is due, one slice of it, what systems tell us, files that land."""

from __future__ import annotations

import logging
import os
import typing

import azure.functions as func
import msgspec

from flockiq.capture import errands, files, schedule, slice, subscriptions  # noqa: A004 - the design's word for a piece of a stream
from flockiq.capture.again import is_again, take_again
from flockiq.capture.backfill import due
from flockiq.capture.backfill import work as backfill
from flockiq.capture.signatures import Delivery
from flockiq.capture.sources import capture
from flockiq.capture.webhook import receive
from flockiq.shared import wire
from flockiq.shared.deadletters import DeadLetter, bury
from flockiq.shared.errors import BadRecord
from flockiq.shared.triggers import on_hub

log = logging.getLogger("flockiq.capture")
blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the library has no annotation there

_work = msgspec.json.Decoder(wire.Work).decode


@blueprint.function_name("capture_schedule")
@blueprint.timer_trigger(arg_name="timer", schedule="%FLOCKIQ_CAPTURE_SCHEDULE%", run_on_startup=True)
async def capture_schedule(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the trigger's argument
    """Send the slices that are due."""
    sent = await schedule.send_due(capture())
    renewed = await subscriptions.send_due(capture())
    past = await due.send_due(capture())
    log.debug("%d slices, %d renewals and %d slices of backfills sent", sent, renewed, past)


@on_hub(blueprint, "capture_slice", schedule.HUB, notes=True)
async def capture_slice(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 - the indexer knows only this
    """Read the slices of a batch, several at a time."""
    works: dict[tuple[str, str, str], wire.Work] = {}
    letters: list[DeadLetter] = []
    holder = capture()
    for event in events:
        body = event.get_body()
        try:
            for line in wire.unpack(body).splitlines():
                work = _work(line)
                works[work.data.source, work.data.stream, work.data.slice] = work  # of several for a slice, the last
        except (BadRecord, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = f"is no work: {error}"
            letters.append(
                DeadLetter(stage="capture", source="", stream="", reason=reason, body=body, at_us=holder.now_us())
            )
    await bury(holder.services, letters)
    await take_again(holder, filter(is_again, works.values()))
    await errands.run(holder, [work for work in works.values() if errands.is_errand(work)])
    await subscriptions.run(holder, [work for work in works.values() if subscriptions.is_renewal(work)])
    backfill.run(holder, filter(backfill.is_backfill, works.values()))
    others = (is_again, errands.is_errand, subscriptions.is_renewal, backfill.is_backfill)
    slices = [work for work in works.values() if not any(is_other(work) for is_other in others)]
    await slice.work_off(holder, slices)


@blueprint.function_name("capture_webhook")
@blueprint.route(route="api/webhooks/{source}", methods=["POST"], auth_level=func.AuthLevel.ANONYMOUS)
async def capture_webhook(req: func.HttpRequest) -> func.HttpResponse:
    """Take a delivery; its signature says who sent it."""
    headers = {name.lower(): value for name, value in req.headers.items()}
    delivery = Delivery(req.method, _called(req.url), headers, req.get_body())
    reply = await receive(capture(), str(req.route_params.get("source", "")), delivery)
    return func.HttpResponse(
        reply.text, status_code=reply.status, headers=dict(reply.headers), mimetype="text/plain", charset="utf-8"
    )


@on_hub(blueprint, "capture_file", "files", notes=True)
async def capture_file(events: typing.List[func.EventHubEvent]) -> None:  # noqa: UP006 - the indexer knows only this
    """Read the files that landed."""
    for event in events:
        await files.take(capture(), event.get_body())


def _called(url: str) -> str:
    """The URL as the sender called it: behind a gateway, its public address in place of ours."""
    public = os.environ.get("FLOCKIQ_PUBLIC_URL", "")
    if not public:
        return url
    _, _, rest = url.partition("://")
    _, slash, path = rest.partition("/")
    return public.rstrip("/") + slash + path
