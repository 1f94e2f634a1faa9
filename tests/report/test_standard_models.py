"""A model's energy for others to read: SPDX, the model card, Annex XI, OTLP, each by its own rules and parsers."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from outweigh.backends.exporters.hf_card import HfCardExporter
from outweigh.backends.exporters.spdx import SpdxExporter
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Factor, Grade, Scope
from outweigh.core.quantities import CarbonIntensity, CarbonScope
from outweigh.report.declared import Given, ModelFacts
from outweigh.report.standards.annex_xi import annex_xi, mwh_text, training_range
from outweigh.report.standards.model_energy import asks_for_spdx, model_energy
from outweigh.report.standards.otel import otlp

KWH = 3.6e6
NOW = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
D = Factor("carbon intensity", 400.0, "gCO2e/kWh", "the grid operator", "2025", "", "declared", Grade.D)
MODEL = ModelFacts(
    name="triage: a model", version="1.2", supplier="Example GmbH", licence="Apache-2.0", training_type="fine-tuning",
    hardware="8 x NVIDIA H100", hardware_count=8, location="Frankfurt, Germany", release=date(2026, 11, 1),
    download="https://example.org/model", training_flop=3e24, inference_flop=5.1e17,
    inference_task="generating 100000 tokens", kind="transformer",
)  # fmt: skip
GIVEN = Given(
    model=MODEL, intensity=(CarbonIntensity(400.0, scope=CarbonScope.DIRECT), D),
    pue=(1.25, replace(D, name="PUE", value=1.25, unit="1")),
)  # fmt: skip


@pytest.fixture
def receipts(made_run, addressed):
    return addressed(
        made_run(80 * KWH, phase="training", seconds=86_400.0, half_j=8 * KWH),
        made_run(20 * KWH, phase="development", seconds=86_400.0),
        made_run(KWH, phase="inference", units=1000.0, unit="ticket"),
    )


def document(receipts, given=GIVEN):
    return model_energy(receipts, given, "support-triage", NOW, "0.0")


# --- SPDX 3.0.1 -------------------------------------------------------------------------------------


def test_an_spdx_document_holds_energy_in_the_unit_and_form_of_its_profile(receipts):
    found = json.loads(SpdxExporter().text(document(receipts)))

    (package,) = [one for one in found["@graph"] if one["type"] == "ai_AIPackage"]
    energy = package["ai_energyConsumption"]
    # SPDX 3.0.1, AI profile: a fine-tuned model's energy has a property of its own; quantities are decimals, and the
    # units are kilowattHour, megajoule and other.
    assert energy["ai_finetuningEnergyConsumption"] == [
        {"type": "ai_EnergyConsumptionDescription", "ai_energyQuantity": "100.0", "ai_energyUnit": "kilowattHour"}
    ]
    assert energy["ai_inferenceEnergyConsumption"][0]["ai_energyQuantity"] == "1.25"
    assert "ai_trainingEnergyConsumption" not in energy
    assert found["@context"] == "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"


def test_grade_method_and_boundary_are_annotations_of_the_package(receipts):
    found = json.loads(SpdxExporter().text(document(receipts)))

    said = " ".join(one["statement"] for one in found["@graph"] if one["type"] == "Annotation")
    assert all(word in said for word in ("grade A", "method counter", "PUE 1.25", "± 10", "location-based, direct"))


def test_the_ai_profile_is_claimed_only_with_the_facts_it_wants(receipts):
    bare = replace(GIVEN, model=ModelFacts(name="m"))

    whole = json.loads(SpdxExporter().text(document(receipts)))["@graph"][-1]["profileConformance"]
    part = json.loads(SpdxExporter().text(document(receipts, bare)))["@graph"][-1]["profileConformance"]

    assert "ai" in whole
    assert "ai" not in part
    assert {ask.what for ask in asks_for_spdx(bare)} == {f"model.{k}" for k in ("supplier", "version", "download",
                                                                               "release")}  # fmt: skip


def test_the_bindings_of_the_spdx_project_read_the_document(receipts):
    spdx = pytest.importorskip("spdx_python_model", reason="spdx-python-model, the model's own bindings")

    model, objects = spdx.load_data(json.loads(SpdxExporter().text(document(receipts))))

    (package,) = objects.foreach_type(model.ai_AIPackage)
    assert package.ai_energyConsumption.ai_finetuningEnergyConsumption[0].ai_energyQuantity == 100.0


def test_the_same_facts_give_the_same_spdx_document(receipts):
    assert SpdxExporter().text(document(receipts)) == SpdxExporter().text(document(receipts))


# --- model card -------------------------------------------------------------------------------------


def test_the_hub_reads_the_emissions_in_grams(receipts):
    hub = pytest.importorskip("huggingface_hub")

    card = hub.ModelCard(HfCardExporter().text(document(receipts)))

    # Hugging Face Hub documentation, "Displaying carbon emissions for your model".
    emissions = card.data.to_dict()["co2_eq_emissions"]
    assert emissions["emissions"] == pytest.approx(100 * 1.25 * 400)  # development is making it too
    assert emissions["training_type"] == "fine-tuning"
    assert emissions["geographical_location"] == "Frankfurt, Germany"
    assert emissions["hardware_used"] == "8 x NVIDIA H100"
    assert "grade A" in emissions["source"]
    assert "location-based, direct" in emissions["source"]
    assert card.data.license == "apache-2.0"


def test_without_a_grid_the_card_has_no_emissions(receipts):
    hub = pytest.importorskip("huggingface_hub")

    card = hub.ModelCard(HfCardExporter().text(document(receipts, replace(GIVEN, intensity=None))))

    assert "co2_eq_emissions" not in card.data.to_dict()
    assert "Carbon: not given" in card.text


def test_a_name_cannot_break_out_of_the_metadata(receipts):
    hub = pytest.importorskip("huggingface_hub")
    sly = replace(GIVEN, model=replace(MODEL, location='x"\nlicense: "mit"\n---\n# <script>'))

    card = hub.ModelCard(HfCardExporter().text(document(receipts, sly)))

    assert card.data.license == "apache-2.0"
    assert "<script>" not in card.text


# --- Annex XI ---------------------------------------------------------------------------------------


# Model Documentation Form, 10 July 2025: "less than 1 month", "1 to 3 months", "3 to 6 months", "more than 6 months".
@pytest.mark.parametrize(
    ("days", "words"),
    [(1, "less than 1 month"), (60, "1 to 3 months"), (120, "3 to 6 months"), (200, "more than 6 months")],
)
def test_training_times_fall_into_the_ranges_of_the_form(days, words):
    assert training_range(days) == words


# The same form: MWh to two significant figures or more.
@pytest.mark.parametrize(("mwh", "text"), [(1234.5, "1,230"), (0.1, "0.100"), (8.25e-8, "0.0000000825")])
def test_megawatt_hours_have_the_significant_figures_the_form_asks_for(mwh, text):
    assert mwh_text(mwh) == text
    assert len(re.sub(r"^0\.0*|[.,]", "", text).rstrip()) >= 2


def test_the_form_takes_training_alone_and_says_how_it_was_measured(receipts):
    sheet = annex_xi(receipts, GIVEN)

    assert sheet.figures["training_energy_mwh"] == pytest.approx(0.1)
    assert sheet.figures["training_energy_high_mwh"] == pytest.approx(0.11)
    assert sheet.figures["hardware_days"] == pytest.approx(8.0)
    assert sheet.figures["inference_flop"] == 5.1e17
    assert sheet.missing == ()
    how = dict(row.cells for row in sheet.sections[0].rows)["How it was measured"]
    assert "counter" in how
    assert "PUE 1.25" in how
    assert len(how.split()) <= 100


def test_what_the_maker_did_not_say_is_asked_for_and_stays_empty(receipts):
    sheet = annex_xi(receipts, Given())

    assert {ask.what for ask in sheet.missing} >= {"model.training_flop", "model.inference_flop", "PUE of the building"}
    assert sheet.figures["training_flop"] is None


def test_without_a_receipt_of_training_there_is_no_form(made_run, addressed):
    with pytest.raises(UsageError, match="receipts of training"):
        annex_xi(addressed(made_run(KWH)), GIVEN)


# --- OTLP -------------------------------------------------------------------------------------------


def test_a_point_is_the_energy_of_its_own_interval_to_the_nanosecond(made_run, addressed):
    start = datetime(2026, 11, 3, 9, 30, 0, 123_457, tzinfo=UTC)

    found = otlp(addressed(made_run(1.5, start=start, seconds=0.25, scope=Scope.GPU)), "0.0")

    (metric,) = found["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    (point,) = metric["sum"]["dataPoints"]
    assert (metric["name"], metric["unit"], metric["sum"]["isMonotonic"]) == ("hw.energy", "J", True)
    assert int(point["timeUnixNano"]) - int(point["startTimeUnixNano"]) == 250_000_000
    assert point["startTimeUnixNano"].endswith("123457000")
    attributes = {one["key"]: next(iter(one["value"].values())) for one in point["attributes"]}
    # Semantic conventions for hardware metrics: hw.id and hw.type are required of a component.
    assert attributes["hw.type"] == "gpu"
    assert attributes["hw.id"]
    assert attributes["outweigh.grade"] == "A"


def test_energy_of_a_whole_machine_goes_by_the_host_s_name(made_run, addressed):
    found = otlp(addressed(made_run(1.0), made_run(2.0, scope=Scope.GPU)), "0.0")

    names = {metric["name"] for metric in found["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]}
    assert names == {"hw.host.energy", "hw.energy"}


@pytest.mark.frameworks
def test_the_protocol_buffers_of_opentelemetry_take_the_request(receipts):
    service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
    json_format = pytest.importorskip("google.protobuf.json_format")

    request = json_format.ParseDict(otlp(receipts, "0.0"), service.ExportMetricsServiceRequest())

    points = request.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points
    assert sum(point.as_double for point in points) == pytest.approx(101 * KWH)
