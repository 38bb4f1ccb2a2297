"""Which protocol a connector speaks. A new one is a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flockiq.capture.protocols.odata import Dataverse, ODataV2, ODataV4
from flockiq.capture.protocols.page import ProtocolMaker
from flockiq.capture.protocols.rest import Rest

PROTOCOLS: Final[Mapping[str, ProtocolMaker]] = {
    "dataverse": Dataverse,
    "odata_v2": ODataV2,
    "odata_v4": ODataV4,
    "rest": Rest,
    "salesforce": Rest,
    "salesforce_bulk": Rest,
}
