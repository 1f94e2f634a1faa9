"""Build the tables of places and times that ship in `src/outweigh/data/`: the second half of `build_tables.py`.

    python scripts/build_grid_tables.py FOLDER [--prices FOLDER] [--out src/outweigh/data]

FOLDER holds `country_electricity_yearly.csv`, `cloud_regions.csv`, `country_governance_wgi.csv` and
`us_ba_hourly_2022.csv.gz`; the folder of prices holds `DE.csv.gz`. docs/grid.md says where each comes from. The same
input gives the same bytes, and `tables.sha256` beside the tables holds their digests.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType


def _sibling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_tables", Path(__file__).with_name("build_tables.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shared = _sibling()
Row = dict[str, str]

FUELS = ("coal", "gas", "oil", "nuclear", "hydro", "wind", "solar")
OURS = {"source": "compiled here", "licence": "facts published by the provider", "retrieved": shared.COLLECTED}
REGION_SOURCE = {
    "aws": "Amazon Web Services, list of regions",
    "azure": "Microsoft Azure, list of regions",
    "gcp": "Google Cloud, list of locations",
}
AS_COLLECTED = "as collected by GSF Real Time Cloud"
# The collected file does not say which of Azure's zones it has from GSF and which were found from coordinates.
ZONE_BASIS = {
    "aws": f"{AS_COLLECTED} (Cloud_Region_Metadata)",
    "gcp": f"{AS_COLLECTED} (Cloud_Region_Metadata)",
    "azure": f"{AS_COLLECTED}, or assigned from coordinates: check before relying on it",
}
# Region -> what the provider's list calls its place, and the coordinates of that to 0.01 degree. The collected file has
# a namesake of some (Sao Paulo de Olivenca in the Amazon; Columbus, Nebraska; Las Vegas, New Mexico; Dallas, Oregon),
# the middle of a country or its capital for others, and none for two.
PLACES = {
    "aws:eu-south-2": ("Aragon, put at Zaragoza", 41.66, -0.88),
    "aws:sa-east-1": ("Sao Paulo", -23.55, -46.64),
    "azure:francecentral": ("Paris", 48.85, 2.35),
    "azure:francesouth": ("Marseille", 43.30, 5.38),
    "azure:israelcentral": ("Israel, put at Tel Aviv", 32.08, 34.78),
    "azure:swedencentral": ("Gavle", 60.67, 17.14),
    "azure:uksouth": ("London", 51.51, -0.13),
    "azure:ukwest": ("Cardiff", 51.48, -3.18),
    "azure:westeurope": ("Netherlands, put at Amsterdam", 52.37, 4.89),
    "gcp:africa-south1": ("Johannesburg", -26.20, 28.04),
    "gcp:asia-east1": ("Changhua County", 24.07, 120.56),
    "gcp:europe-north1": ("Hamina", 60.57, 27.20),
    "gcp:europe-west1": ("St. Ghislain", 50.45, 3.82),
    "gcp:europe-west4": ("Eemshaven", 53.44, 6.83),
    "gcp:me-central1": ("Doha", 25.29, 51.53),
    "gcp:northamerica-south1": ("Queretaro", 20.59, -100.39),
    "gcp:southamerica-east1": ("Osasco, Sao Paulo", -23.53, -46.79),
    "gcp:us-central1": ("Council Bluffs, Iowa", 41.26, -95.86),
    "gcp:us-east1": ("Moncks Corner, South Carolina", 33.20, -80.01),
    "gcp:us-east5": ("Columbus, Ohio", 39.96, -83.00),
    "gcp:us-south1": ("Dallas, Texas", 32.78, -96.81),
    "gcp:us-west1": ("The Dalles, Oregon", 45.59, -121.18),
    "gcp:us-west4": ("Las Vegas, Nevada", 36.17, -115.14),
}
# Region -> (country, zone) where the collected file has another country or none. The zone of Wyoming's is not known.
LANDS = {
    "aws:cn-north-1": ("CN", "CN"),
    "azure:westcentralus": ("US", ""),
    "gcp:me-central1": ("QA", "QA"),
}
# The mean of all of AWS's data centres in 2023 (Amazon Sustainability Report 2023; aws-2025-metrics has the series).
# The collected file enters it for regions of which AWS publishes no figure, and for 2024 too, when the mean was 0.15.
AWS_FLEET_WUE = "0.18"
PROVIDER = {"aws": "Amazon Web Services", "azure": "Microsoft Azure", "gcp": "Google"}
METRICS = {"aws": "aws-2025-metrics", "azure": "azure-2025-metrics", "gcp": "google-2025-metrics"}

WGI = {
    "source": "World Bank, Worldwide Governance Indicators",
    "licence": "CC BY 4.0",
    "retrieved": shared.COLLECTED,
    "grade": "D",
    "unit": "WGI score",
}
INDICATORS = {
    "pv": "political stability",
    "ge": "government effectiveness",
    "rq": "regulatory quality",
    "rl": "rule of law",
}

SMARD = {
    "source": "Bundesnetzagentur (SMARD.de), day-ahead price of DE-LU, mean of the hours kept in github "
    "HewlettPackard/sustain-cluster @ 293fbd15",
    "licence": "CC BY 4.0",
    "retrieved": shared.COLLECTED,
    "grade": "D",
    "unit": "EUR/kWh",
    "kind": "day-ahead",
}

# Zones beside countries, as their operators or ISO 3166-2 name them, for names that are not yet in a table of figures.
# country prefix -> "suffix:name".
ZONES = {
    "AU": "NSW:New South Wales QLD:Queensland SA:South Australia TAS:Tasmania VIC:Victoria WA:Western Australia",
    "BR": "CS:Central Brazil N:North Brazil NE:North-East Brazil S:South Brazil",
    "CA": "AB:Alberta BC:British Columbia MB:Manitoba NB:New Brunswick NL:Newfoundland and Labrador NS:Nova Scotia "
    "ON:Ontario PE:Prince Edward Island QC:Quebec SK:Saskatchewan",
    "CL": "SEN:Sistema Electrico Nacional",
    "DK": "DK1:West Denmark DK2:East Denmark",
    # Regions by the letter of their grid supply point group (Elexon), named as the Carbon Intensity API does.
    "GB": "A:East England B:East Midlands C:London D:North Wales and Merseyside E:West Midlands F:North East England "
    "G:North West England H:South England J:South East England K:South Wales L:South West England M:Yorkshire "
    "N:South Scotland NIR:Northern Ireland P:North Scotland",
    "IN": "EA:Eastern India NE:North-Eastern India NO:Northern India SO:Southern India WE:Western India",
    "IT": "CNO:Central North Italy CSO:Central South Italy NO:North Italy SAR:Sardinia SIC:Sicily SO:South Italy",
    "JP": "CB:Chubu CG:Chugoku HKD:Hokkaido HR:Hokuriku KN:Kansai KY:Kyushu ON:Okinawa SK:Shikoku TH:Tohoku TK:Tokyo",
    "MY": "EM:Borneo WM:Peninsular Malaysia",
    "NO": "NO1:Southeast Norway NO2:Southwest Norway NO3:Middle Norway NO4:North Norway NO5:West Norway",
    "SE": "SE1:North Sweden SE2:North Central Sweden SE3:South Central Sweden SE4:South Sweden",
    "US": "CAL-CISO:California ISO CAR-DUK:Duke Energy Carolinas CAR-SC:South Carolina Public Service Authority "
    "CENT-SWPP:Southwest Power Pool FLA-FPL:Florida Power and Light MIDA-PJM:PJM Interconnection "
    "MIDW-MISO:Midcontinent ISO NE-ISNE:ISO New England NW-BPAT:Bonneville Power Administration "
    "NW-GCPD:Grant County PUD NW-NEVP:Nevada Power NW-PACE:PacifiCorp East NW-PACW:PacifiCorp West "
    "NY-NYIS:New York ISO SE-SOCO:Southern Company SW-AZPS:Arizona Public Service TEN-TVA:Tennessee Valley Authority "
    "TEX-ERCO:Electric Reliability Council of Texas",
}

# Old name -> (name now, what happened, where that is said).
_EM = "github electricitymaps/electricitymaps-contrib"
RENAMED = {
    "AUS-NSW": ("AU-NSW", "prefix AUS became AU", f"{_EM} #6457"),
    "AUS-QLD": ("AU-QLD", "prefix AUS became AU", f"{_EM} #6457"),
    "AUS-SA": ("AU-SA", "prefix AUS became AU", f"{_EM} #6457"),
    "AUS-TAS": ("AU-TAS", "prefix AUS became AU", f"{_EM} #6457"),
    "AUS-VIC": ("AU-VIC", "prefix AUS became AU", f"{_EM} #6457"),
    "AUS-WA": ("AU-WA", "prefix AUS became AU", f"{_EM} #6457"),
    "AUS-ACT": ("AU-NSW", "the Capital Territory lies in the market region of New South Wales", f"{_EM} #510"),
    "BR-SP": ("BR-CS", "the data of Sao Paulo are of Central-South Brazil", "github HewlettPackard/sustain-cluster"),
    "CL-SIC": ("CL-SEN", "SIC and SING became one system", "github HewlettPackard/sustain-cluster"),
    "DE-LU": ("DE", "the bidding zone of Germany and Luxembourg; carbon is kept for Germany", "ENTSO-E bidding zones"),
    "NZ-NZN": ("NZ", "the two islands were merged", f"{_EM} #3817"),
    "NZ-NZS": ("NZ", "the two islands were merged", f"{_EM} #3817"),
    "UK": ("GB", "ISO 3166-1 reserves UK; the code is GB", "ISO 3166-1"),
    "US-CA": ("US-CAL-CISO", "the United States were split by balancing authority", f"{_EM} #2472"),
    "US-CAISO": ("US-CAL-CISO", "the United States were split by balancing authority", f"{_EM} #2923"),
    "US-MIDA-OVEC": ("US-MIDA-PJM", "the authority was retired; PJM is the one in its area", f"{_EM} #3359"),
}


def country_electricity(folder: Path) -> list[Row]:
    rows: list[Row] = []
    for iso3, by_year in shared.countries(folder).items():
        for year, row in by_year.items():
            total = float(row["generation_twh"])
            shares = {fuel: 100 * float(row[f"{fuel}_twh"]) / total for fuel in FUELS if row[f"{fuel}_twh"]}
            mix = {f"{fuel}_pct": f"{shares[fuel]:.1f}" if fuel in shares else "" for fuel in FUELS}
            rest = 100 - sum(shares.values()) if len(shares) == len(FUELS) else math.nan
            rows.append(
                shared.OWID
                | mix
                | {"other_pct": "" if math.isnan(rest) else f"{max(0.0, rest):.1f}"}
                | {"zone": shared.ALPHA_2[iso3], "name": row["country"], "year": str(year), "unit": "gCO2e/kWh"}
                | {"value": row["carbon_intensity_gco2e_kwh"], "generation_twh": row["generation_twh"], "grade": "D"}
            )
    return sorted(rows, key=lambda row: (row["zone"], row["year"]))


def cloud_region(folder: Path) -> list[Row]:
    return sorted((_region(row) for row in shared.read(folder / "cloud_regions.csv")), key=lambda row: row["region"])


def _region(row: Row) -> Row:
    provider, key = row["provider"], f"{row['provider']}:{row['region']}"
    country, zone = LANDS.get(key, (row["country_iso2"], row["grid_zone"]))
    latitude, longitude, source = row["lat"], row["lon"], f"{REGION_SOURCE[provider]}, {AS_COLLECTED}"
    if key in PLACES:
        town, north, east = PLACES[key]
        latitude, longitude = f"{north:.2f}", f"{east:.2f}"
        source = f"{REGION_SOURCE[provider]} ({town}), and the coordinates of that place"
    as_collected = (country, zone) == (row["country_iso2"], row["grid_zone"])
    return {
        "region": key,
        "name": row["location"].replace("\u0101", "\u00e3"),  # Sao Paulo has a tilde, not a macron
        "country": country,
        "latitude": latitude,
        "longitude": longitude,
        "unit": "degree",
        "zone": zone,
        "zone_basis": (ZONE_BASIS[provider] if as_collected else "the country it lies in") if zone else "",
        "year": "2025",
        "source": source,
        "licence": "facts published by the provider",
        "retrieved": shared.COLLECTED,
        "grade": "D",
    }


def region_factor(folder: Path) -> list[Row]:
    """Water per kWh of IT energy, and the share of hours matched with carbon-free energy, where a provider says."""
    rows: list[Row] = []
    for row in shared.read(folder / "cloud_regions.csv"):
        provider = row["provider"]
        published = f"{PROVIDER[provider]}, published data centre figures, {AS_COLLECTED} ({METRICS[provider]})"
        for quantity, column, unit in (("WUE", "wue", "L/kWh"), ("CFE", "cfe", "1")):
            value = row[f"{column}_l_kwh" if column == "wue" else f"{column}_fraction"]
            if (provider, quantity, value) == ("aws", "WUE", AWS_FLEET_WUE):
                continue  # no figure of the region's own
            if value:
                rows.append(
                    {
                        "region": f"{provider}:{row['region']}",
                        "quantity": quantity,
                        "value": value,
                        "unit": unit,
                        "year": row[f"{column}_year"],
                        "source": published,
                        "licence": "facts published by the provider",
                        "retrieved": shared.COLLECTED,
                        "grade": "D",
                    }
                )
    return sorted(rows, key=lambda row: (row["region"], row["quantity"]))


def governance(folder: Path) -> list[Row]:
    """The latest year of each country: estimates of the four indicators, and percentile ranks among countries."""
    latest: dict[str, Row] = {}
    for row in shared.read(folder / "country_governance_wgi.csv"):
        if row["iso3"] in shared.ALPHA_2 and row["year"] >= latest.get(row["iso3"], {}).get("year", ""):
            latest[row["iso3"]] = row
    rows = [
        WGI
        | {"zone": shared.ALPHA_2[iso3], "quantity": name, "year": row["year"]}
        | {"value": row[f"{code}_est"], "percentile": row[f"{code}_pct"]}
        for iso3, row in latest.items()
        for code, name in INDICATORS.items()
        if row[f"{code}_est"]
    ]
    return sorted(rows, key=lambda row: (row["zone"], row["quantity"]))


def typical_day(folder: Path) -> list[Row]:
    """Mean intensity of each hour of the day in each month, both in UTC, every hour counting the same.

    EIA-930 stamps the end of an hour: so say PUDL's data dictionary ("Timestamp at the end of the hour"), gridstatus
    and the EIA's instructions. The sun agrees: taken as ends, the hours' mean solar time is within 0.1 h of noon in
    ERCO, MISO, BPAT and SOCO. Columns and months here are of the beginning.
    """
    found: dict[tuple[str, int], list[list[float]]] = defaultdict(lambda: [[] for _ in range(24)])
    for row in shared.read(folder / "us_ba_hourly_2022.csv.gz"):
        mwh = {fuel: row[f"{fuel}_mwh"] for fuel in shared.LIFECYCLE_G_PER_KWH}
        if "" in mwh.values():
            continue
        total = math.fsum(float(text) for text in mwh.values())
        grams = math.fsum(shared.LIFECYCLE_G_PER_KWH[fuel] * float(text) for fuel, text in mwh.items())
        began = datetime.fromisoformat(row["timestamp_utc"]) - timedelta(hours=1)
        found[row["ba"], began.month][began.hour].append(grams / total)
    rows = [
        shared.EIA930
        | {"zone": shared.AUTHORITIES[authority][0], "month": str(month), "unit": "gCO2e/kWh", "grade": "D"}
        | {f"h{hour:02}": f"{math.fsum(values) / len(values):.1f}" for hour, values in enumerate(hours)}
        for (authority, month), hours in found.items()
    ]
    return sorted(rows, key=lambda row: (row["zone"], int(row["month"])))


def wholesale_price(prices: Path) -> list[Row]:
    by_year: dict[str, list[float]] = defaultdict(list)
    for row in shared.read(prices / "DE.csv.gz"):
        if row["price"]:
            by_year[row["utc"][:4]].append(float(row["price"]))
    return [
        SMARD
        | {"zone": "DE", "name": "Germany", "area": "DE-LU", "year": year, "cases": str(len(values))}
        | {"value": f"{math.fsum(values) / len(values) / 1e3:.5f}"}
        for year, values in sorted(by_year.items())
    ]


def zone_name(folder: Path) -> list[Row]:
    rows = []
    figured = shared.countries(folder)
    for row in shared.read(folder / "country_electricity_yearly.csv"):
        if row["iso3"] not in figured and row["iso3"] not in shared.NOT_A_PLACE:
            zone = shared.ALPHA_2[row["iso3"]]
            note = "no yearly figure that says more than how it was rounded"
            entry = shared.OWID | {"zone": zone, "name": row["country"], "country": zone, "now": "", "note": note}
            if entry not in rows:
                rows.append({key: value for key, value in entry.items() if key != "grade"})
    for country, text in ZONES.items():
        names = [part.rsplit(" ", 1) for part in text.split(":")]
        suffixes = [text.split(":", 1)[0], *(part[1] for part in names[1:-1])]
        titles = [*(part[0] for part in names[1:-1]), " ".join(names[-1])]
        for suffix, title in zip(suffixes, titles, strict=True):
            rows.append(
                OURS | {"zone": f"{country}-{suffix}", "name": title, "country": country, "now": "", "note": ""}
            )
    for old, (now, note, source) in RENAMED.items():
        rows.append(OURS | {"zone": old, "country": now.split("-")[0], "now": now, "note": note, "source": source})
    return sorted(rows, key=lambda row: row["zone"])


LAST = ("source", "licence", "retrieved", "grade")
COLUMNS = {
    "country_electricity.csv": (
        "zone", "name", "year", "value", "unit", "generation_twh", *(f"{fuel}_pct" for fuel in FUELS), "other_pct",
        *LAST,
    ),
    "cloud_region.csv": (
        "region", "name", "country", "latitude", "longitude", "unit", "zone", "zone_basis", "year", *LAST,
    ),
    "region_factor.csv": ("region", "quantity", "value", "unit", "year", *LAST),
    "governance.csv": ("zone", "quantity", "value", "unit", "percentile", "year", *LAST),
    "typical_day.csv": ("zone", "month", *(f"h{hour:02}" for hour in range(24)), "unit", "year", *LAST),
    "wholesale_price.csv": ("zone", "area", "name", "value", "unit", "year", "kind", "cases", *LAST),
    "zone_name.csv": ("zone", "name", "country", "now", "note", "source", "licence", "retrieved"),
}  # fmt: skip


def build(folder: Path, prices: Path) -> dict[str, bytes]:
    """File name -> content of every table."""
    made = {
        make.__name__: make(folder)
        for make in (country_electricity, cloud_region, region_factor, governance, typical_day, zone_name)
    }
    made["wholesale_price"] = wholesale_price(prices)
    return {f"{name}.csv": shared.render(COLUMNS[f"{name}.csv"], rows) for name, rows in sorted(made.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the shipped tables of places and times.")
    parser.add_argument("folder", type=Path, help="folder with the named source files")
    parser.add_argument("--prices", type=Path, help="folder with DE.csv.gz; default FOLDER/../grid/price")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent.parent / "src" / "outweigh" / "data")
    args = parser.parse_args()
    prices = args.prices or args.folder.parent / "grid" / "price"
    shared.write(build(args.folder, prices), args.out)


if __name__ == "__main__":
    main()
