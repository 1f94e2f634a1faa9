from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest

from outweigh.backends.meters.cpu_model import CpuModelMeter
from outweigh.backends.tasks._lm_http import HttpModel, address_of
from outweigh.backends.tasks._steady import steady
from outweigh.compare.perunit import Facility
from outweigh.compare.protocol import Sitting, run_protocol
from outweigh.core.errors import ModelError, TaskError
from outweigh.core.project import PrimaryMetric, Protocol, Serving, TaskSpec
from outweigh.core.variant import Variant
from outweigh.measure import MeterSession
from outweigh.registry import tasks

PROSE = (
    "The mill stands by the river, and its wheel has turned since the bridge was built. In spring the water is high, "
    "and the miller opens the sluice at dawn. "
)


def variant(model, **options):
    return Variant("v", str(model), options=Variant.freeze_options(options))


def loaded(root, dataset, **options):
    task = tasks.get("language-model")()
    given = Variant.freeze_options(options)
    task.load(TaskSpec("language-model", dataset, PrimaryMetric("m"), options=given), root)
    return task


@pytest.fixture
def sums(tmp_path):
    rows = [{"prompt": f"{n} and one make", "answer": str(n + 1)} for n in range(40)]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return lambda **options: loaded(tmp_path, "sums.jsonl", **options)


@pytest.fixture
def prose(tmp_path):
    (tmp_path / "prose.txt").write_text("".join(PROSE.replace("mill", f"mill {n}") for n in range(30)))
    return lambda **options: loaded(tmp_path, "prose.txt", **options)


# --- what it is judged on ---------------------------------------------------------------------------


def test_the_measure_is_told_by_the_data(sums, prose):
    assert sums().metrics == ("exact_match",)
    assert prose().metrics == ("log_likelihood", "token_accuracy")


def test_which_items_are_taken_depends_on_content_and_seed_alone(tmp_path, prose):
    few = prose(items=5)
    lines = [json.dumps({"text": item.text}) for item in reversed(prose()._items)]
    (tmp_path / "same.jsonl").write_text("\n".join(lines))

    assert few.n_items == 5
    assert few._items == loaded(tmp_path, "same.jsonl", items=5)._items
    assert few._items != prose(items=5, seed=1)._items


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"prompt": "a", "answer": "b"}\n', "gives 1 item"),
        ('{"prompt": "a", "answer": ""}\n', "empty prompt or answer"),
        ('{"answer": "b"}\n', "no text in 'prompt'"),
        ('{"text": 5}\n', "no text in 'text'"),
        ("{\n", "is not JSON"),
        ('{"text": "short"}\n', "no passage of 250 characters"),
    ],
)
def test_sets_that_cannot_be_judged_are_refused(tmp_path, content, problem):
    (tmp_path / "t.jsonl").write_text(content)

    with pytest.raises(TaskError, match=problem) as caught:
        loaded(tmp_path, "t.jsonl")

    assert caught.value.remedy


# --- a saturated server -----------------------------------------------------------------------------


def test_work_in_the_stretch_is_its_output_tokens_over_the_mean_of_a_request():
    spans = [(0.0, 2.0), (1.0, 3.0), (2.0, 4.0), (3.0, 5.0)]
    tokens = [[0.5, 1.5], [2.0, 2.9], [3.0, 3.5], [3.9, 4.8]]

    found = steady(spans, tokens, 2)

    # Two requests in flight from 1 s to 4 s: six of the eight tokens, at two a request.
    assert (found.start_s, found.end_s, found.units) == (1.0, 4.0, 3.0)


def test_without_output_tokens_each_request_counts_by_its_time_in_the_stretch():
    found = steady([(0.0, 2.0), (1.0, 3.0), (2.0, 4.0), (3.0, 5.0)], [], 2)

    assert found.units == pytest.approx(0.5 + 1 + 1 + 0.5)


# --- over HTTP --------------------------------------------------------------------------------------

httpx = pytest.importorskip("httpx")


@pytest.fixture
def started():
    """Runners and models that are closed whatever happens."""
    open_ones = []

    def start(task, variant):
        open_ones.append(task.runner(variant))
        return open_ones[-1]

    start.keep = open_ones.append
    yield start
    for each in open_ones:
        each.close()


def test_answers_are_matched_and_tokens_and_phases_counted(started, sums, lm_server):
    lm_server.answers = {"7 and one make": "8", "8 and one make": "it is 9"}
    lm_server.token_s = 0.02
    task = sums()
    place = {item.text: number for number, item in enumerate(task._items)}
    runner = started(task, variant(lm_server.url))

    results = runner.run([place["7 and one make"], place["8 and one make"]])

    assert results.scores["exact_match"] == (1.0, 0.0)
    assert results.counts["tokens_in"] == (4.0, 4.0)
    assert results.counts["tokens_out"] == (1.0, 3.0)
    assert results.counts["prefill_s"][1] >= 0.02
    assert results.counts["decode_s"][1] >= 0.04
    assert results.latency_ms[1] == pytest.approx(
        1e3 * (results.counts["prefill_s"][1] + results.counts["decode_s"][1])
    )
    assert results.steady is None


def test_chat_and_stop_are_asked_for_as_declared(started, sums, lm_server):
    task = sums(stop=".", max_tokens=5, chat=True)
    lm_server.answers = {task._items[0].text: f"{task._items[0].label}. And so on"}
    runner = started(task, variant(lm_server.url))

    results = runner.run([0])

    assert results.scores["exact_match"] == (1.0,)
    (asked,) = lm_server.asked
    assert asked["messages"] == [{"role": "user", "content": task._items[0].text}]
    assert (asked["max_tokens"], asked["stop"], asked["temperature"], asked["stream"]) == (5, ["."], 0.0, True)


def test_a_constant_number_of_requests_is_in_flight_and_the_stretch_says_when(started, sums, lm_server):
    lm_server.token_s = 0.01
    task = sums()
    runner = started(task, variant(lm_server.url, concurrency=4))

    before_s = time.monotonic()
    results = runner.run(range(24))
    after_s = time.monotonic()

    assert results.items == tuple(range(24))
    assert lm_server.most_in_flight == 4
    assert before_s < results.steady.start_s < results.steady.end_s < after_s
    assert 0 < results.steady.units < 24


def test_a_comparison_counts_the_saturated_stretch_and_its_receipts_the_whole(started, sums, lm_server):
    lm_server.token_s = 0.1
    runner = started(sums(), variant(lm_server.url, concurrency=4))
    receipts = []

    def keep(receipt):
        receipts.append(receipt)
        return receipt.run_id

    with MeterSession(CpuModelMeter()) as session:
        comparison = run_protocol(
            session,
            [runner],
            n_items=40,
            protocol=Protocol(rounds=2, warmup=0, window_s=0.0),
            sitting=Sitting("p", "answer", "b"),
            facility=Facility(1.0, Serving(), 1e6, 12, threads_total=64),
            on_receipt=keep,
        )

    (evidence,) = comparison.evidence.values()
    rounds = [one for one in receipts if one.round_index is not None]
    assert [one.units for one in rounds] == [20.0, 20.0]
    assert all(0 < units < 20 for units in evidence.units)
    whole_s = [one.interval.seconds for one in rounds]
    assert all(part < whole for part, whole in zip(evidence.service_s, whole_s, strict=True))
    assert any("in which its server was saturated" in note for note in comparison.notes)


def test_too_few_requests_never_saturate_a_server(started, sums, lm_server):
    runner = started(sums(), variant(lm_server.url, concurrency=8))

    assert runner.run(range(8)).steady is None


@pytest.fixture
def model_of(started):
    def make(server, pauses):
        in_force = tasks.get("language-model")()._options
        model = HttpModel(variant(server.url), address_of(variant(server.url)), in_force, pauses.append)
        started.keep(model)
        return model

    return make


def test_a_busy_server_is_asked_again_after_as_long_as_it_says(model_of, lm_server):
    from outweigh.backends.tasks._lm import Asked

    pauses = []
    lm_server.busy = ["3", "", "Thu, 01 Jan 1970 00:00:00 GMT"]

    done = model_of(lm_server, pauses).complete("hello there", Asked(8, "", False))

    assert done.text == "No idea"
    # As told, then by doubling where nothing is told, then at once: that date has passed.
    assert pauses == [3.0, 1.0, 0.0]
    assert len(lm_server.asked) == 4


def test_a_server_that_stays_busy_is_a_model_error_and_is_not_waited_for_beyond_the_timeout(model_of, lm_server):
    from outweigh.backends.tasks._lm import Asked

    pauses = []
    lm_server.busy = ["0"] * 9
    with pytest.raises(ModelError, match=r"stays busy \(429\) after 5 requests"):
        model_of(lm_server, pauses).complete("x", Asked(8, "", False))
    lm_server.busy = ["3600"]
    with pytest.raises(ModelError, match=r"stays busy \(429\) after 1 requests"):
        model_of(lm_server, pauses).complete("x", Asked(8, "", False))

    assert pauses == [0.0] * 4


def test_a_server_that_takes_too_long_breaks_off_refuses_or_is_not_there_says_so(started, sums, lm_server):
    task = sums()
    lm_server.token_s = 0.5
    with pytest.raises(ModelError, match="takes too long"):
        started(task, variant(lm_server.url, timeout_s=0.1)).run([0])
    lm_server.token_s, lm_server.breaks_off = 0.0, True
    with pytest.raises(ModelError, match=r"breaks off \(out of memory\)"):
        started(task, variant(lm_server.url)).run([0])
    with pytest.raises(ModelError, match="does not answer"):
        started(task, variant("http://127.0.0.1:9/v1"))


def test_an_error_in_one_of_many_requests_is_raised_and_no_more_are_sent(started, sums, lm_server):
    runner = started(sums(), variant(lm_server.url, concurrency=2, retries=0))
    lm_server.busy = ["0"] * 40

    with pytest.raises(ModelError, match="stays busy"):
        runner.run(range(40))

    # What was in flight beside the first that failed, and nothing after.
    assert 1 <= len(lm_server.asked) <= 2


def test_a_server_can_be_named_in_a_file_with_its_model_and_the_variable_of_its_key(
    started, sums, lm_server, tmp_path, monkeypatch
):
    file = tmp_path / "server.json"
    file.write_text(json.dumps({"url": lm_server.url, "model": "huge", "key_env": "A_KEY"}))
    with pytest.raises(ModelError, match="A_KEY is not set"):
        started(sums(), variant(file))
    monkeypatch.setenv("A_KEY", "secret")

    with pytest.raises(ModelError, match=r"404 .*no model huge") as caught:
        started(sums(), variant(file)).run([0])

    assert "secret" not in str(caught.value)
    file.write_text(json.dumps({"url": lm_server.url, "key": "secret"}))
    with pytest.raises(ModelError, match="does not name a server") as caught:
        started(sums(), variant(file))
    assert "key_env" in caught.value.remedy


def test_perplexity_comes_of_what_the_server_says_of_the_text_it_was_given(started, prose, lm_server):
    task = prose(items=4)

    results = started(task, variant(lm_server.url)).run(range(4))

    assert results.scores["log_likelihood"] == pytest.approx((-1.5,) * 4)
    assert results.scores["token_accuracy"] == (1.0,) * 4
    assert min(results.counts["tokens_in"]) > 50


def test_likelihoods_that_are_not_finite_or_not_told_are_a_model_error(started, prose, lm_server):
    task = prose(items=4)
    lm_server.log_probability = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        started(task, variant(lm_server.url)).run([0])
    lm_server.echoes = False
    with pytest.raises(ModelError, match="does not tell how likely") as caught:
        started(task, variant(lm_server.url)).run([0])
    assert "exact-match" in caught.value.remedy


@pytest.mark.parametrize(
    ("model", "options", "problem"),
    [
        ("m.bin", {}, "no language model this task runs"),
        ("m.gguf", {"concurrency": 2}, "`concurrency` is for servers"),
    ],
)
def test_models_that_are_none_are_refused(started, sums, tmp_path, model, options, problem):
    with pytest.raises(ModelError, match=problem):
        started(sums(), variant(tmp_path / model, **options))


# --- in this process --------------------------------------------------------------------------------


@pytest.mark.frameworks
@pytest.mark.filterwarnings("default")
def test_a_gguf_model_finds_prose_likelier_than_the_same_words_shuffled(tmp_path, smollm):
    words = PROSE.split()
    shuffled = list(words)
    np.random.default_rng(0).shuffle(shuffled)
    rows = [{"text": " ".join(order)} for order in (words, shuffled)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = loaded(tmp_path, "t.jsonl", chars=200)
    place = next(n for n, item in enumerate(task._items) if item.text == " ".join(words))

    runner = task.runner(variant(smollm, context=256))
    results = runner.run([place, 1 - place])
    runner.close()

    ordered, mixed = (math.exp(-value) for value in results.scores["log_likelihood"])
    assert 1 < ordered < 60
    assert mixed > 3 * ordered
    assert results.counts["tokens_in"][0] > 20


@pytest.mark.frameworks
@pytest.mark.filterwarnings("default")
def test_a_forced_likelihood_is_the_one_the_model_had_of_its_own_choice(tmp_path, smollm):
    task = loaded_questions(tmp_path)
    runner = task.runner(variant(smollm))
    model = runner._model
    tokens = model._tokens("The capital of France is Paris")
    answer = model._asked({"prompt": tokens[:-1], "max_tokens": 1, "temperature": 0.0, "logprobs": 2})
    (told,) = answer["choices"][0]["logprobs"]["content"]
    best, second = told["top_logprobs"]

    def forced(token):
        body = {"prompt": tokens[:-1], "max_tokens": 1, "temperature": 0.0, "logprobs": 1, "logit_bias": [[token, 1e3]]}
        (said,) = model._asked(body)["choices"][0]["logprobs"]["content"]
        return said["logprob"]

    assert forced(best["id"]) == pytest.approx(best["logprob"], abs=1e-3)
    assert forced(second["id"]) == pytest.approx(second["logprob"], abs=1e-3)
    runner.close()


def loaded_questions(root):
    rows = [
        {"prompt": f"Question: What is the capital of {land}?\nAnswer: The capital is", "answer": town}
        for land, town in (("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo"), ("Narnia", "Cair Paravel"))
    ]
    (root / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return loaded(root, "q.jsonl", stop=".", max_tokens=8)


@pytest.mark.frameworks
@pytest.mark.filterwarnings("default")
def test_a_gguf_model_answers_the_same_in_this_process_and_behind_its_own_server(tmp_path, smollm, needs_package):
    needs_package("httpx")
    task = loaded_questions(tmp_path)
    runner = task.runner(variant(smollm))
    inside = runner.run(range(4))

    served = task.runner(variant(f"{runner._model._server.listening_address}/v1", concurrency=2))
    outside = served.run([0, 1, 2, 3] * 2)

    assert sum(inside.scores["exact_match"]) >= 3
    assert outside.scores["exact_match"] == inside.scores["exact_match"] * 2
    assert outside.counts["tokens_in"][:4] == inside.counts["tokens_in"]
    assert outside.steady is not None
    served.close()
    runner.close()


@pytest.mark.frameworks
@pytest.mark.filterwarnings("default")
def test_a_file_that_is_no_gguf_is_a_model_error(tmp_path, needs_package):
    needs_package("xllamacpp")
    (tmp_path / "m.gguf").write_bytes(b"not a model")

    with pytest.raises(ModelError, match=r"m.gguf is not a usable GGUF model"):
        loaded_questions(tmp_path).runner(variant(tmp_path / "m.gguf"))


@pytest.fixture
def tiny_folder(tmp_path, needs_package):
    """A random Llama of two layers in the folder transformers writes, with a tokenizer of the words of PROSE."""
    needs_package("torch", "transformers", "tokenizers")
    import tokenizers
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: place for place, word in enumerate(["<unk>", "</s>", *dict.fromkeys(PROSE.split())])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    plain.save(str(tmp_path / "tokenizer.json"))
    folder = tmp_path / "tiny"
    PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>", eos_token="</s>").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


OWN = """
from pathlib import Path
from transformers import LlamaForCausalLM

def tiny():
    return LlamaForCausalLM.from_pretrained(Path(__file__).parent / "tiny")
"""


@pytest.mark.frameworks
@pytest.mark.filterwarnings("default")
def test_a_transformers_folder_and_the_same_network_of_ones_own_find_a_text_as_likely(tmp_path, tiny_folder, prose):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (tmp_path / "own.py").write_text(OWN)
    task = prose(items=3)
    folder, own = (
        task.runner(way).run(range(3))
        for way in (variant(tiny_folder), variant(f"{tmp_path / 'own.py'}:tiny", tokenizer="tokenizer.json"))
    )

    # What transformers itself calls the loss of a causal model is the mean over tokens, with the sign turned.
    network = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    ids = AutoTokenizer.from_pretrained(tiny_folder)(task._items[0].text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        loss = float(network(ids, labels=ids).loss)
    assert folder.scores["log_likelihood"][0] == pytest.approx(-loss, rel=1e-4)
    assert own.scores["log_likelihood"] == pytest.approx(folder.scores["log_likelihood"], rel=1e-4)
    assert folder.counts["tokens_in"][0] == ids.shape[1]


@pytest.mark.frameworks
@pytest.mark.filterwarnings("default")
def test_greedy_answers_are_those_of_transformers_and_half_precision_is_another_variant(tmp_path, tiny_folder, sums):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from outweigh.backends.tasks._lm import Asked

    (tmp_path / "own.py").write_text(OWN)
    task = sums()
    runner, own = (
        task.runner(way)
        for way in (variant(tiny_folder), variant(f"{tmp_path / 'own.py'}:tiny", tokenizer="tokenizer.json"))
    )
    words = AutoTokenizer.from_pretrained(tiny_folder)
    network = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    given = words("The wheel", return_tensors="pt")["input_ids"]
    wanted = network.generate(given, max_new_tokens=6, do_sample=False)[0, given.shape[1] :]

    done, alike = (each._model.complete("The wheel", Asked(6, "", False)) for each in (runner, own))

    assert done.text == words.decode(wanted, skip_special_tokens=True)
    assert alike.text == done.text
    assert (done.tokens_in, done.tokens_out) == (2, 6)
    half = task.runner(variant(tiny_folder, precision="bf16"))
    assert half.variant.content_hash != runner.variant.content_hash
    with pytest.raises(ModelError, match="precision 'int3' is not known"):
        task.runner(variant(tiny_folder, precision="int3"))
