"""Write the fixture ledger of the present schema version: `python tests/stores/ledgers/generate.py v2`.

Synthetic: three made-up receipts of `tests/stores/made_receipts.py`, and since version 2 a view of each in carbon and
in money, under invented factors; since version 3 a plan that is followed, with one job and one step; since
version 4 a document, and a token whose secret nobody has. A fixture is
written once, with the version that introduced its schema, and never again: its whole point is that it was written by
the past.
"""

import runpy
import sys
from contextlib import closing
from pathlib import Path

from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.core import CarbonIntensity, Price
from outweigh.core.following import StepKind
from outweigh.core.measurement import utc
from outweigh.ledger import recompute
from outweigh.ports import ReceiptFilter
from outweigh.ports.serving import Role, Token


def main(version):
    here = Path(__file__).parent
    path = here / f"{version}.sqlite"
    if path.exists():
        sys.exit(f"{path} is there already; the past is not rewritten")
    made = runpy.run_path(str(here.parent / "made_receipts.py"))
    made_receipt = made["made_receipt"]
    with closing(SqliteStore.open(path)) as store:
        for index in range(3):
            store.append(made_receipt(index, batch="synthetic-batch"))
        for rate in (CarbonIntensity(100.0), Price(0.25, "EUR")):
            recompute(store, ReceiptFilter(), (rate, made["FACTOR"]), now=made["EPOCH"])
        store.follow("synthetic", '{"made": "up"}', {"synthetic-1": '{"job": 0}'})
        lease = store.lead("synthetic", "nobody", ttl_s=0, gone=lambda _: False)
        store.write(lease, ttl_s=0, taking=[("synthetic-1", StepKind.SUBMIT, "{}", made["EPOCH"].isoformat())])
        at = utc(made["EPOCH"])
        store.keep_document("verdict", '{"made":"up"}', named="synthetic", project="synthetic", at=at)
        store.make_token(Token("synthetic", "synthetic", Role.READER, "0" * 64, at, expires_at=at))


if __name__ == "__main__":
    main(sys.argv[1])
