"""Redfish: a real HTTP server on the loopback, with resources in the shape of DMTF's public-rackmount1 mock-up."""

import base64
import runpy
import ssl
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.meters.redfish import CA, PASSWORD, URL, USER, RedfishMeter
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Method, Scope

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))
json_of, service, serving = further.json_of, further.redfish_service, further.serving

SECRET = "correct-horse"


@pytest.fixture(autouse=True)
def no_account_of_the_tester(monkeypatch):
    for name in (URL, USER, PASSWORD, CA):
        monkeypatch.delenv(name, raising=False)


def opened(address, **options):
    meter = RedfishMeter(address, **options)
    meter.open()
    return meter


def reading(resources, query=""):
    with serving(json_of(resources)) as address:
        meter = opened(address + query)
        try:
            return meter, meter.read().values
        finally:
            meter.close()


def test_power_of_the_chassis_is_read_in_watts():
    meter, values = reading(service({"PowerWatts": {"Reading": 374}}))
    assert values == (374.0,)
    assert meter.channels[0].scope is Scope.NODE
    assert meter.method is Method.INTEGRATED


def test_an_energy_counter_in_joules_goes_first_with_power_beside_it():
    meter, values = reading(service({"EnergyJoules": {"Reading": 12.5}, "PowerWatts": {"Reading": 374}}))
    assert values == (12.5, 374.0)
    assert [c.counted for c in meter.channels] == [True, False]
    assert meter.method is Method.COUNTER


def test_a_coarse_counter_is_not_put_beside_power_and_its_lifetime_goes_before_what_can_be_reset():
    energy = {"Reading": 3638, "LifetimeReading": 6491.25}
    _, values = reading(service({"EnergykWh": energy, "PowerWatts": {"Reading": 374}}))
    assert values == (374.0,)
    meter, values = reading(service({"EnergykWh": energy}))
    assert values == (6491.25 * 3.6e6,)
    assert meter.channels[0].resolution == pytest.approx(36_000.0)
    assert any("kWh" in note for note in meter.notes)


def test_the_older_power_resource_is_read_and_a_processors_share_is_not_the_nodes():
    power = {
        "PowerControl": [
            {"MemberId": "1", "PhysicalContext": "CPU", "PowerConsumedWatts": 120},
            {"MemberId": "0", "PhysicalContext": "Chassis", "PowerConsumedWatts": 590},
        ]
    }
    assert reading(service(power=power))[1] == (590.0,)
    with pytest.raises(MeterUnavailable, match="gives a power or energy figure"):
        reading(service(power={"PowerControl": power["PowerControl"][:1]}))


def two_chassis(**links):
    found = service({"PowerWatts": {"Reading": 374}})
    other = "/redfish/v1/Chassis/HGX"
    found["/redfish/v1/Chassis"]["Members"].append({"@odata.id": other})
    found[other] = {"Id": "HGX", "Links": links, "EnvironmentMetrics": {"@odata.id": f"{other}/EnvironmentMetrics"}}
    found[f"{other}/EnvironmentMetrics"] = {"PowerWatts": {"Reading": 231.5}}
    return found


def test_of_nested_chassis_the_outermost_is_read():
    assert reading(two_chassis(ContainedBy={"@odata.id": further.CHASSIS}))[1] == (374.0,)


def test_several_chassis_side_by_side_are_not_added_and_one_can_be_named():
    with pytest.raises(MeterUnavailable, match="1U, HGX"):
        reading(two_chassis())
    assert reading(two_chassis(), "?chassis=HGX")[1] == (231.5,)


def test_the_account_is_sent_and_is_in_no_message(monkeypatch, capsys):
    monkeypatch.setenv(USER, "reader")
    monkeypatch.setenv(PASSWORD, SECRET)
    token = base64.b64encode(f"reader:{SECRET}".encode()).decode()
    resources = service({"PowerWatts": {"Reading": 374}})

    def answer(path, headers):
        return json_of(resources)(path, headers) if headers["Authorization"] == f"Basic {token}" else (401, "{}")

    with serving(answer) as address:
        meter = opened(address)
        told = [repr(meter), meter.source, *meter.notes, *map(repr, meter.channels)]
        meter.close()
        with pytest.raises(MeterUnavailable, match="refuses the account") as caught:
            opened(address, password=f"{SECRET}-but-wrong")
    told += [str(caught.value), repr(caught.value), *capsys.readouterr()]
    assert not any(SECRET in text or token in text for text in told)


def test_an_account_in_the_address_is_refused_without_repeating_it():
    with pytest.raises(MeterUnavailable) as caught:
        opened(f"https://reader:{SECRET}@bmc.example")
    assert SECRET not in str(caught.value)


def test_plain_http_goes_no_further_than_the_loopback():
    with pytest.raises(MeterUnavailable, match="in the clear"):
        opened("http://192.0.2.7")


def test_a_certificate_is_verified_unless_told_otherwise(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(json_of(service({"PowerWatts": {"Reading": 374}})), tls) as address:
        with pytest.raises(MeterUnavailable, match="is not trusted"):
            opened(address)
        careless = opened(f"{address}?verify=no")
        assert any("not verified" in note for note in careless.notes)
        careless.close()
        monkeypatch.setenv(CA, str(certificate))
        careful = opened(address)
        assert careful.read().values == (374.0,)
        assert not any("not verified" in note for note in careful.notes)
        careful.close()


def test_a_link_to_another_host_is_not_followed_with_the_account():
    resources = service({"PowerWatts": {"Reading": 374}})
    resources[further.CHASSIS]["EnvironmentMetrics"]["@odata.id"] = "https://elsewhere.example/metrics"
    with pytest.raises(MeterUnavailable, match="gives a power or energy figure"):
        reading(resources)


@pytest.mark.parametrize("body", [(200, "<html>"), (404, "{}"), (503, "")])
def test_something_else_at_the_address_is_said(body):
    with serving(lambda *_: body) as address, pytest.raises(MeterUnavailable) as caught:
        opened(address)
    assert caught.value.remedy


def test_a_controller_that_stops_giving_a_figure_is_unavailable_and_not_zero():
    resources = service({"PowerWatts": {"Reading": 374}})
    at_s = [0.0]
    with serving(json_of(resources)) as address:
        meter = opened(address, now=lambda: at_s[0])
        resources[f"{further.CHASSIS}/EnvironmentMetrics"]["PowerWatts"]["Reading"] = None
        at_s[0] = 2.0
        with pytest.raises(MeterUnavailable, match="no figure any more"):
            meter.read()
        meter.close()


def test_without_an_address_the_probe_says_how_to_give_one():
    found = RedfishMeter.probe()
    assert not found.usable
    assert URL in found.remedy
