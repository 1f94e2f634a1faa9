"""Placement files: read as written, and what is wrong is said with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from outweigh.config.gpu_prices import load_gpu_prices
from outweigh.config.placements import load_placement
from outweigh.core.errors import ConfigError
from outweigh.core.quantities import Money, Price
from outweigh.plan.placement import Change

FILE = """\
[placement]
energy = "8.76 GWh"
from = "2027-01-31"
months = 1
unserved = "2 EUR/kWh"
moving = "50000 EUR"
caps = { country = "70%" }

[site.fra]
zone = "DE"
region = "aws:eu-central-1"
price = "0.15 EUR/kWh"
capacity = "2 MW"
opening = "30000 EUR"

[site.sto]
zone = "SE"
pue = 1.2
price = "90 EUR/MWh"
capacity = "1 MW"
country = "SE"
provider = "colo"

[scenario.as-today]
probability = 0.8

[scenario.tax]
probability = "20%"
carbon_price = "200 EUR/t"
price = { fra = "+50%", sto = "+0.02 EUR/kWh" }
capacity = { fra = "-30%" }
curtail = { fra = "10%" }
lost = ["sto"]

[shock.spike]
probability = "5%"
price = "+150%"
"""


@pytest.fixture
def write(tmp_path: Path):
    def written(*changes: tuple[str, str]) -> Path:
        text = FILE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        path = tmp_path / "placement.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_a_placement_file_is_read_as_written(write) -> None:
    spec = load_placement(write())

    assert spec.energy_it.to_mwh() == pytest.approx(8760)
    assert (spec.interval.start.date().isoformat(), spec.interval.end.date().isoformat()) == (
        "2027-01-31",
        "2027-02-28",
    )
    assert spec.home == "fra"
    assert spec.moving == Money(50000, "EUR")
    assert spec.carbon_price_per_tonne == Money(0.0, "EUR")
    assert (spec.caps.country, spec.caps.site) == (0.7, 1.0)
    assert [(s.spec.name, s.country, s.provider) for s in spec.sites] == [("fra", "", "aws"), ("sto", "SE", "colo")]
    assert spec.sites[0].opening == Money(30000, "EUR")
    tax = spec.scenarios[1]
    assert (tax.name, tax.probability, tax.carbon_price) == ("tax", 0.2, Money(200, "EUR"))
    assert tax.at["fra"] == Change(price_factor=1.5, capacity_left=0.7, duty=0.1)
    assert tax.at["sto"] == Change(price_added=Price(0.02, "EUR"), lost=True)
    assert spec.shocks[0].change == Change(price_factor=2.5)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("months = 1", "month = 1", 4, "Did you mean 'months'"),
        ("months = 1", "months = 0", 4, "at least 1"),
        ('energy = "8.76 GWh"', 'energy = "8.76"', 2, "energy"),
        ('energy = "8.76 GWh"', 'energy = "0 Wh"', 2, "placement.energy is 0"),
        ('unserved = "2 EUR/kWh"', 'unserved = "0 EUR/kWh"', 5, "costs nothing"),
        ("probability = 0.8", "probability = 0.7", 24, "sum to 0.9, not to 1"),
        ("probability = 0.8", "probability = 0.9", 24, "sum to 1.1, not to 1"),
        ("probability = 0.8", "probability = nan", 25, "probability"),
        ("probability = 0.8", "probability = true", 25, "probability"),
        ('lost = ["sto"]', 'lost = ["stoc"]', 33, "Did you mean 'sto'"),
        ('price = { fra = "+50%"', 'price = { frankfurt = "+50%"', 30, "no site is called that"),
        ('price = { fra = "+50%"', 'price = { fra = "50%"', 30, "'+50%'"),
        ('sto = "+0.02 EUR/kWh"', 'sto = "+0.02 USD/kWh"', 30, "is in USD, placement.unserved in EUR"),
        ('capacity = { fra = "-30%" }', 'capacity = { fra = "30%" }', 31, "'-30%'"),
        ('curtail = { fra = "10%" }', 'curtail = { fra = "100%" }', 32, "takes all hours"),
        ('probability = "5%"', 'probability = "5%"\nsites = ["osl"]', 37, "no site is called that"),
        ('moving = "50000 EUR"', 'moving = "50000 USD"', 6, "Two currencies do not add"),
        ("probability = 0.8", 'probability = 0.8\nlost = ["sto"]', 16, "sto is lost in every scenario"),
        ('country = "70%"', 'country = "170%"', 7, "up to 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(write, old: str, new: str, line: int, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_placement(write((old, new)))

    assert caught.value.line == line, str(caught.value)
    assert says in str(caught.value)


def test_a_file_that_is_not_there_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_placement(tmp_path / "placement.toml")


def test_gpu_prices_are_read_by_their_columns_and_others_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "gpu.csv"
    path.write_text(
        "provider,region,instance,gpu,on_demand_usd_gpu_h,source,as_of\n"
        "aws,us-east-1,p5.48xlarge,H100,4.1,list,2026-09-06\naws,us-east-1,p6,B200,,list,2026-09-06\n"
    )

    (price,) = load_gpu_prices(path)
    assert (price.region, price.gpu, price.usd_per_h, price.as_of) == ("aws:us-east-1", "H100", 4.1, "2026-09-06")


@pytest.mark.parametrize("written", ["free", "0", "-1", "nan", "inf"])
def test_a_gpu_price_that_is_none_is_refused_with_its_line(tmp_path: Path, written: str) -> None:
    path = tmp_path / "gpu.csv"
    path.write_text(f"provider,region,gpu,on_demand_usd_gpu_h,source,as_of\naws,x,H100,{written},list,2026-09-06\n")

    with pytest.raises(ConfigError) as caught:
        load_gpu_prices(path)
    assert caught.value.line == 2


def test_a_file_without_a_column_of_prices_says_which(tmp_path: Path) -> None:
    path = tmp_path / "gpu.csv"
    path.write_text("provider,region,gpu\n")

    with pytest.raises(ConfigError, match="no column 'on_demand_usd_gpu_h'"):
        load_gpu_prices(path)
