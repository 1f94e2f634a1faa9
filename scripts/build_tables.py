"""Build the tables of grid facts that ship in `src/outweigh/data/` from a folder of named source files.

    python scripts/build_tables.py FOLDER [--out src/outweigh/data]

FOLDER holds `us_ba_hourly_2022.csv.gz`, `country_electricity_yearly.csv`, `us_state_industrial_price_eia.csv`
and `cloud_regions.csv`; docs/data.md says where each comes from and what we leave out, and why. Eurostat's prices lie
beside this script, cut to one band and the newest half-years (`industrial_price_eurostat.csv`). The same input gives
the same bytes: `tables.sha256` beside the tables holds their digests (`sha256sum -c` reads it).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

Row = dict[str, str]

# IPCC AR5 WG3 Annex III, table A.III.2, life-cycle medians [gCO2e/kWh]. The report has no median for oil or for
# "other" (waste, unspecified): 650 and 230 are what Electricity Maps uses for those two.
LIFECYCLE_G_PER_KWH = {
    "wind": 11, "solar": 41, "hydro": 24, "oil": 650, "gas": 490, "coal": 820, "nuclear": 12, "other": 230,
}  # fmt: skip

# Balancing authority -> (zone, name, state whose industrial price stands in for the zone). A balancing authority
# follows wires, not state lines, and PJM and MISO span many states: the state is one we chose inside it, Iowa for
# MISO because a cloud region lies there. An assumption, marked so in the row.
AUTHORITIES = {
    "CISO": ("US-CAL-CISO", "California ISO", "CA"),
    "ERCO": ("US-TEX-ERCO", "Electric Reliability Council of Texas", "TX"),
    "PJM": ("US-MIDA-PJM", "PJM Interconnection", "PA"),
    "MISO": ("US-MIDW-MISO", "Midcontinent ISO", "IA"),
    "NYIS": ("US-NY-NYIS", "New York ISO", "NY"),
    "BPAT": ("US-NW-BPAT", "Bonneville Power Administration", "WA"),
    "SOCO": ("US-SE-SOCO", "Southern Company", "GA"),
    "AZPS": ("US-SW-AZPS", "Arizona Public Service", "AZ"),
}

# EIA's census divisions, which are no places a site can be in.
CENSUS_DIVISIONS = frozenset({"ENC", "ESC", "MAT", "MTN", "NEW", "PACC", "PACN", "SAT", "WNC", "WSC"})
PRICE_YEARS = (2022, 2024)  # the year of the hourly generation data, and the latest in the file

# Ember's yearly figures are published to 0.01 TWh and 0.01 Mt, so the intensity of a small grid is mostly
# rounding (Sierra Leone: 0.01 Mt / 0.21 TWh; the Central African Republic: 0.00 Mt, which reads as carbon-free).
HALF_STEP = 0.005
MAX_ROUNDING = 0.10

COLLECTED = "2026-11"
EIA930 = {
    "source": (
        "EIA-930 hourly generation by fuel x IPCC AR5 WG3 Annex III table A.III.2 life-cycle medians "
        "(oil 650 and other 230 as Electricity Maps uses)"
    ),
    "year": "2022",
    "licence": "US public domain",
    "retrieved": COLLECTED,
}
OWID = {
    "source": "Ember; Energy Institute; processed by Our World in Data",
    "licence": "CC BY 4.0",
    "retrieved": "2026-04",
}
EIA_PRICE = {
    "source": "EIA, average retail price of electricity, industrial sector",
    "licence": "US public domain",
    "retrieved": COLLECTED,
}
PUE_SOURCE = {
    "aws": "Amazon Web Services, published data centre PUE, as collected by GSF Real Time Cloud (aws-2025-metrics)",
    "azure": "Microsoft Azure, published data centre PUE, as collected by GSF Real Time Cloud (azure-2025-metrics)",
    "gcp": "Google, published data centre PUE, as collected by GSF Real Time Cloud (google-2025-metrics)",
}
# A yearly figure used for another time is a default, whatever it was measured with: grade D.
INTENSITY = {
    "unit": "gCO2e/kWh",
    "kind": "average",
    "basis": "location",
    "scope": "lifecycle",
    "accounting": "production",
    "grade": "D",
}
PRICE = EIA_PRICE | {"unit": "USD/kWh", "kind": "retail, industrial", "grade": "D"}
# Eurostat, nrg_pc_205: S (half-yearly), E7000 (electricity), MWH20000-69999 (band IE), KWH, X_TAX, EUR.
EUROSTAT = {
    "source": (
        "Eurostat, electricity prices for non-household consumers (nrg_pc_205, updated 2025-10-22), as kept in github "
        "sfgunkin/flops_export Replication/data @ 4253bc98"
    ),
    "licence": "CC BY 4.0",
    "retrieved": COLLECTED,
    "unit": "EUR/kWh",
    "kind": "retail, non-household band IE (20,000 to 69,999 MWh a year), excluding taxes and levies",
    "grade": "D",
}
# Where Eurostat's code of a country is not ISO 3166-1's.
EUROSTAT_CODES = {"EL": "GR", "UK": "GB"}
FLAGS = {"e": "estimated", "p": "provisional", "d": "of another definition"}
PUE = {"unit": "1", "licence": "facts published by the provider", "retrieved": COLLECTED, "grade": "D"}

# ISO 3166-1 alpha-3 and alpha-2, as pycountry 26.2.16 lists them. Kosovo has no ISO code:
# XK and XKX are the user-assigned ones in common use, and OWID_KOS is Our World in Data's.
ALPHA_3_2 = """
ABW:AW AFG:AF AGO:AO ALB:AL ARE:AE ARG:AR ARM:AM ASM:AS ATG:AG AUS:AU AUT:AT AZE:AZ BDI:BI BEL:BE BEN:BJ BFA:BF BGD:BD
BGR:BG BHR:BH BHS:BS BIH:BA BLR:BY BLZ:BZ BMU:BM BOL:BO BRA:BR BRB:BB BRN:BN BTN:BT BWA:BW CAF:CF CAN:CA CHE:CH CHL:CL
CHN:CN CIV:CI CMR:CM COD:CD COG:CG COK:CK COL:CO COM:KM CPV:CV CRI:CR CUB:CU CYM:KY CYP:CY CZE:CZ DEU:DE DJI:DJ DMA:DM
DNK:DK DOM:DO DZA:DZ ECU:EC EGY:EG ERI:ER ESP:ES EST:EE ETH:ET FIN:FI FJI:FJ FLK:FK FRA:FR FRO:FO GAB:GA GBR:GB GEO:GE
GHA:GH GIB:GI GIN:GN GLP:GP GMB:GM GNB:GW GNQ:GQ GRC:GR GRD:GD GRL:GL GTM:GT GUF:GF GUM:GU GUY:GY HKG:HK HND:HN HRV:HR
HTI:HT HUN:HU IDN:ID IND:IN IRL:IE IRN:IR IRQ:IQ ISL:IS ISR:IL ITA:IT JAM:JM JOR:JO JPN:JP KAZ:KZ KEN:KE KGZ:KG KHM:KH
KIR:KI KNA:KN KOR:KR KWT:KW LAO:LA LBN:LB LBR:LR LBY:LY LCA:LC LKA:LK LSO:LS LTU:LT LUX:LU LVA:LV MAC:MO MAR:MA MDA:MD
MDG:MG MDV:MV MEX:MX MKD:MK MLI:ML MLT:MT MMR:MM MNE:ME MNG:MN MOZ:MZ MRT:MR MSR:MS MTQ:MQ MUS:MU MWI:MW MYS:MY NAM:NA
NCL:NC NER:NE NGA:NG NIC:NI NIU:NU NLD:NL NOR:NO NPL:NP NRU:NR NZL:NZ OMN:OM PAK:PK PAN:PA PER:PE PHL:PH PNG:PG POL:PL
PRI:PR PRK:KP PRT:PT PRY:PY PSE:PS PYF:PF QAT:QA REU:RE ROU:RO RUS:RU RWA:RW SAU:SA SDN:SD SEN:SN SGP:SG SHN:SH SLB:SB
SLE:SL SLV:SV SOM:SO SPM:PM SRB:RS SSD:SS STP:ST SUR:SR SVK:SK SVN:SI SWE:SE SWZ:SZ SYC:SC SYR:SY TCA:TC TCD:TD TGO:TG
THA:TH TJK:TJ TKM:TM TLS:TL TON:TO TTO:TT TUN:TN TUR:TR TWN:TW TZA:TZ UGA:UG UKR:UA URY:UY USA:US UZB:UZ VCT:VC VEN:VE
VGB:VG VIR:VI VNM:VN VUT:VU WSM:WS YEM:YE ZAF:ZA ZMB:ZM ZWE:ZW
"""
ALPHA_2 = dict(pair.split(":") for pair in ALPHA_3_2.split()) | {"OWID_KOS": "XK"}
ALIAS = {"OWID_KOS": "XKX"}
NOT_A_PLACE = frozenset({"OWID_WRL"})  # the world average stands in for nobody


def read(path: Path) -> list[Row]:
    """All rows as text; an empty field stays "" and Namibia's NA stays NA."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return list(csv.DictReader(io.StringIO(content.decode("utf-8"))))


class Generation:
    """Running totals of one balancing authority: grams and kWh, for the year and by month (UTC)."""

    def __init__(self) -> None:
        self.g: dict[str, float] = defaultdict(float)
        self.kwh: dict[str, float] = defaultdict(float)

    def add(self, month: str, mwh: Mapping[str, float]) -> None:
        self.g[month] += sum(LIFECYCLE_G_PER_KWH[fuel] * 1e3 * amount for fuel, amount in mwh.items())
        self.kwh[month] += 1e3 * sum(mwh.values())

    @property
    def year(self) -> float:
        return math.fsum(self.g.values()) / math.fsum(self.kwh.values())

    @property
    def months(self) -> list[float]:
        return [self.g[month] / self.kwh[month] for month in sorted(self.g)]


def generation(folder: Path) -> dict[str, Generation]:
    """Totals by authority. An hour with any fuel missing (29 of 70,080) is left out, not filled."""
    totals: dict[str, Generation] = {authority: Generation() for authority in AUTHORITIES}
    for row in read(folder / "us_ba_hourly_2022.csv.gz"):
        fields = {fuel: row[f"{fuel}_mwh"] for fuel in LIFECYCLE_G_PER_KWH}
        if "" not in fields.values():
            totals[row["ba"]].add(row["timestamp_utc"][:7], {fuel: float(text) for fuel, text in fields.items()})
    return totals


def resolved(row: Row) -> bool:
    """Whether the figure says more about the grid than about how it was rounded."""
    if not row["carbon_intensity_gco2e_kwh"] or not row["generation_twh"]:
        return False
    twh = float(row["generation_twh"])
    emissions_mt = twh * float(row["carbon_intensity_gco2e_kwh"]) / 1e3
    return twh > 0 and emissions_mt > 0 and HALF_STEP / twh + HALF_STEP / emissions_mt <= MAX_ROUNDING


def countries(folder: Path) -> dict[str, dict[int, Row]]:
    """alpha-3 -> year -> row, for the places and years whose figure is resolved."""
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in read(folder / "country_electricity_yearly.csv"):
        if row["iso3"] not in NOT_A_PLACE and resolved(row):
            found[row["iso3"]][int(row["year"])] = row
    return found


def zone_intensity(folder: Path) -> list[Row]:
    rows: list[Row] = []
    for authority, total in generation(folder).items():
        zone, name, _ = AUTHORITIES[authority]
        rows.append(INTENSITY | EIA930 | {"zone": zone, "alias": authority, "name": name, "value": f"{total.year:.1f}"})
    for iso3, by_year in countries(folder).items():
        year = max(by_year)
        place = {"zone": ALPHA_2[iso3], "alias": ALIAS.get(iso3, iso3), "name": by_year[year]["country"]}
        value = {"value": by_year[year]["carbon_intensity_gco2e_kwh"], "year": str(year)}
        rows.append(INTENSITY | OWID | place | value)
    return sorted(rows, key=lambda row: row["zone"])


def state_prices(folder: Path) -> dict[tuple[str, int], Row]:
    """(state or US, year) -> row."""
    return {
        (row["state"], int(row["year"])): row
        for row in read(folder / "us_state_industrial_price_eia.csv")
        if row["state"] not in CENSUS_DIVISIONS and row["price_usd_kwh"]
    }


def industrial_price(folder: Path) -> list[Row]:
    states = state_prices(folder)
    rows: list[Row] = []
    for (state, year), row in states.items():
        if year in PRICE_YEARS:
            # ISO 3166-2: plain "DE" is Germany, not Delaware, and "CA" Canada, not California.
            area = "US" if state == "US" else f"US-{state}"
            name = "United States" if state == "US" else row["stateDescription"]
            value = {"value": row["price_usd_kwh"], "year": str(year)}
            rows.append(PRICE | {"zone": area, "area": area, "name": name, "assumption": ""} | value)
    for zone, name, state in AUTHORITIES.values():
        for year in PRICE_YEARS:
            row = states[state, year]
            place = {"zone": zone, "area": f"US-{state}", "name": name}
            value = {"value": row["price_usd_kwh"], "year": str(year)}
            rows.append(PRICE | place | value | {"assumption": f"{row['stateDescription']} stands in for the zone"})
    rows.extend(eurostat_price(folder))
    return sorted(rows, key=lambda row: (row["zone"], row["year"]))


def eurostat_price(folder: Path) -> list[Row]:
    """The year 2024 as the plain mean of its half-years, and the first half of 2025 under its own name.

    What lacks a half-year is left out, and a price of 0.0000 (Georgia) is none.
    """
    names = {ALPHA_2[iso3]: years[max(years)]["country"] for iso3, years in countries(folder).items()}
    halves: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in read(Path(__file__).with_name("industrial_price_eurostat.csv")):
        if float(row["eur_per_kwh"]) > 0:
            halves[EUROSTAT_CODES.get(row["geo"], row["geo"])][row["time"]] = row
    rows: list[Row] = []
    for zone, known in halves.items():
        for period, wanted in (("2024", ("2024-S1", "2024-S2")), ("2025-S1", ("2025-S1",))):
            if not all(half in known for half in wanted):
                continue
            parts = [known[half] for half in wanted]
            mean = math.fsum(float(part["eur_per_kwh"]) for part in parts) / len(parts)
            said = ["plain mean of the two half-years"] if len(parts) > 1 else []
            said += [f"{part['time']} is {FLAGS[part['flag']]}" for part in parts if part["flag"]]
            place = {"zone": zone, "area": zone, "name": names[zone], "year": period}
            rows.append(EUROSTAT | place | {"value": f"{mean:.5f}", "assumption": "; ".join(said)})
    return rows


def region_pue(folder: Path) -> list[Row]:
    rows = [
        PUE
        | {"region": f"{row['provider']}:{row['region']}", "name": row["location"]}
        | {"value": row["pue"], "year": row["pue_year"], "basis": row["pue_basis"]}
        | {"source": PUE_SOURCE[row["provider"]]}
        for row in read(folder / "cloud_regions.csv")
        if row["pue"]
    ]
    return sorted(rows, key=lambda row: row["region"])


def factor_drift(folder: Path) -> list[Row]:
    """How wrong a yearly mean is when it is used for another year, or for one month: RMS of log-ratios."""
    carbon = {
        iso3: {year: float(row["carbon_intensity_gco2e_kwh"]) for year, row in by_year.items()}
        for iso3, by_year in countries(folder).items()
    }
    price: dict[str, dict[int, float]] = defaultdict(dict)
    for (state, year), row in state_prices(folder).items():
        if state != "US":
            price[state][year] = float(row["price_usd_kwh"])
    monthly = [math.log(month / total.year) for total in generation(folder).values() for month in total.months]

    def entry(quantity: str, comparison: str, lag: int, logs: list[float], origin: Row, years: str) -> Row:
        value = math.sqrt(math.fsum(x * x for x in logs) / len(logs))
        what = {"quantity": quantity, "comparison": comparison, "lag_years": str(lag), "cases": str(len(logs))}
        return origin | what | {"value": f"{value:.3f}", "unit": "1", "year": years, "grade": "C"}

    across = "year against an earlier year"
    lags = range(1, 9)
    return [
        entry("carbon intensity", "month against its own year", 0, monthly, EIA930, "2022"),
        *(entry("carbon intensity", across, lag, _log_ratios(carbon, lag), OWID, "2015-2025") for lag in lags),
        *(entry("price", across, lag, _log_ratios(price, lag), EIA_PRICE, "2015-2024") for lag in lags),
    ]


def _log_ratios(series: Mapping[str, Mapping[int, float]], lag: int) -> list[float]:
    return [
        math.log(by_year[year + lag] / value)
        for by_year in series.values()
        for year, value in by_year.items()
        if year + lag in by_year
    ]


COLUMNS = {
    "zone_intensity.csv": (
        "zone", "alias", "name", "value", "unit", "year", "kind", "basis", "scope", "accounting",
        "source", "licence", "retrieved", "grade",
    ),
    "industrial_price.csv": (
        "zone", "area", "name", "value", "unit", "year", "kind", "assumption",
        "source", "licence", "retrieved", "grade",
    ),
    "region_pue.csv": (
        "region", "name", "value", "unit", "year", "basis", "source", "licence", "retrieved", "grade",
    ),
    "factor_drift.csv": (
        "quantity", "comparison", "lag_years", "value", "unit", "year", "cases", "source", "licence", "retrieved",
        "grade",
    ),
}  # fmt: skip


def render(columns: Iterable[str], rows: Iterable[Row]) -> bytes:
    """CSV in UTF-8 with LF line ends, so that the bytes are the same on every system."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def build(folder: Path) -> dict[str, bytes]:
    """File name -> content of every table."""
    builders = (zone_intensity, industrial_price, region_pue, factor_drift)
    return {f"{make.__name__}.csv": render(COLUMNS[f"{make.__name__}.csv"], make(folder)) for make in builders}


def write(tables: Mapping[str, bytes], out: Path) -> None:
    """The tables, and their lines in `tables.sha256`; lines of tables that other scripts build stay."""
    digests = out / "tables.sha256"
    lines = digests.read_text(encoding="ascii").splitlines() if digests.exists() else []
    known = {name: digest for digest, name in (line.split("  ") for line in lines)}
    for name, content in tables.items():
        (out / name).write_bytes(content)
        known[name] = hashlib.sha256(content).hexdigest()
        print(f"{name}: {len(content.splitlines())} lines, {len(content)} bytes")
    digests.write_text("".join(f"{known[name]}  {name}\n" for name in sorted(known)), encoding="ascii")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the shipped tables of grid facts.")
    parser.add_argument("folder", type=Path, help="folder with the named source files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "src" / "outweigh" / "data")
    args = parser.parse_args()
    write(build(args.folder), args.out)


if __name__ == "__main__":
    main()
