"""Translators: Ollama on a fake server with the faults of real models, and the local miniature model."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fluxcaption.domain.cues import TextUnit
from fluxcaption.domain.errors import (
    FluxCaptionError,
    ModelMissing,
    ReplyUnusable,
    ServiceUnreachable,
    UnsupportedLanguagePair,
)
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import UnitId
from fluxcaption.miniatures import TRANSLATION
from fluxcaption.pipeline.captioning.batches import TranslationReport, translate_in_batches
from fluxcaption.settings import LocalTranslation, OllamaTranslation
from fluxcaption.translation.local import LocalTranslator
from fluxcaption.translation.ollama import OllamaTranslator

from tests.fakes import ollama
from tests.fakes.ollama import FakeOllama

EN, ES, DE, FR = (LanguageTag(code) for code in ("en", "es", "de", "fr"))
TEXTS = [f"Sentence number {number} is said here." for number in range(45)]


def reverse(text: str) -> str:
    return text[::-1]


@pytest.fixture
async def fake() -> AsyncIterator[FakeOllama]:
    async with FakeOllama(reverse) as server:
        yield server


async def translate(fake: FakeOllama, texts: list[str]) -> tuple[TranslationReport, dict[str, str]]:
    translator = OllamaTranslator(OllamaTranslation(type="ollama", url=fake.url, model="tiny"))
    saved: dict[str, str] = {}

    async def save(new: dict[str, str]) -> None:
        saved.update(new)

    units = [TextUnit(UnitId(str(number)), text) for number, text in enumerate(texts, 1)]
    try:
        return await translate_in_batches(units, translator, EN, DE, save), saved
    finally:
        await translator.close()


async def test_every_sentence_gets_its_own_translation_and_is_saved(fake: FakeOllama) -> None:
    report, saved = await translate(fake, TEXTS)
    assert report.texts == {UnitId(str(number)): reverse(text) for number, text in enumerate(TEXTS, 1)}
    assert saved == {text: reverse(text) for text in TEXTS}
    assert len(fake.requests) == 3
    assert all(
        len(request["format"]["required"]) <= 20 and request["options"]["num_ctx"] > 1000
        for request in fake.requests
    )


@pytest.mark.parametrize(
    "fault",
    [
        ollama.fenced,
        ollama.truncated,
        ollama.missing_one,
        ollama.shifted,
        ollama.shifted_from_the_middle,
        ollama.shifted_whole,
        ollama.backwards,
        ollama.echoed,
        ollama.emptied,
        ollama.thinking,
        ollama.refusing,
        "html",
    ],
    ids=lambda fault: getattr(fault, "__name__", fault),
)
async def test_a_bad_reply_is_requested_again_in_halves_without_loss(
    fake: FakeOllama, fault: ollama.Fault | str
) -> None:
    fake.faults = [fault]
    report, _ = await translate(fake, TEXTS[:20])
    assert report.texts == {UnitId(str(number)): reverse(text) for number, text in enumerate(TEXTS[:20], 1)}
    assert report.untranslated == {}
    assert len(fake.requests) <= 3


async def test_a_reply_to_the_previous_batch_is_requested_again(fake: FakeOllama) -> None:
    fake.faults = [None, "previous batch"]
    report, _ = await translate(fake, TEXTS[:40])
    assert report.texts == {UnitId(str(number)): reverse(text) for number, text in enumerate(TEXTS[:40], 1)}
    assert len(fake.requests) == 4


async def test_a_sentence_that_stays_untranslated_is_counted_and_others_are_kept(fake: FakeOllama) -> None:
    fake.translate_text = lambda text: "" if "number 7 " in text else reverse(text)
    report, saved = await translate(fake, TEXTS[:20])
    assert list(report.untranslated) == ["8"]
    assert len(saved) == 19
    assert len(fake.requests) <= 8


@pytest.mark.parametrize("fault", [500, 503, 429, "hang up"])
async def test_an_unreachable_backend_is_reported(fake: FakeOllama, fault: int | str) -> None:
    fake.faults = [fault]
    with pytest.raises(ServiceUnreachable, match="Ollama"):
        await translate(fake, TEXTS[:20])


async def test_translations_before_a_failure_of_the_backend_stay_saved(fake: FakeOllama) -> None:
    fake.faults = [ollama.thinking, 500]
    translator = OllamaTranslator(OllamaTranslation(type="ollama", url=fake.url, model="tiny"))
    saved: dict[str, str] = {}

    async def save(new: dict[str, str]) -> None:
        saved.update(new)

    units = [TextUnit(UnitId(str(number)), text) for number, text in enumerate(TEXTS, 1)]
    with pytest.raises(ServiceUnreachable):
        await translate_in_batches(units, translator, EN, DE, save)
    await translator.close()
    assert len(saved) == 20


async def test_two_servers_with_the_same_model_are_two_backends(fake: FakeOllama) -> None:
    async with FakeOllama(reverse) as other:
        translators = [
            OllamaTranslator(OllamaTranslation(type="ollama", url=server.url, model="tiny"))
            for server in (fake, other)
        ]
        for translator in translators:
            assert await translator.translate([TextUnit(UnitId("1"), "Where is the cat?")], EN, DE)
            await translator.close()
        assert (len(fake.requests), len(other.requests)) == (1, 1)
        assert translators[0].name == translators[1].name
        assert translators[0].backend_id != translators[1].backend_id


async def test_the_error_of_a_missing_model_has_the_command_to_get_it(fake: FakeOllama) -> None:
    translator = OllamaTranslator(OllamaTranslation(type="ollama", url=fake.url, model="huge"))
    with pytest.raises(ModelMissing, match="ollama pull huge"):
        await translator.translate([TextUnit(UnitId("1"), "Hello there you.")], EN, DE)
    await translator.close()


async def test_the_error_of_an_unused_address_has_advice() -> None:
    translator = OllamaTranslator(OllamaTranslation(type="ollama", url="http://127.0.0.1:9", model="tiny"))
    with pytest.raises(ServiceUnreachable, match="Check that it runs"):
        await translator.translate([TextUnit(UnitId("1"), "Hello.")], EN, DE)
    await translator.close()


def test_a_directory_without_a_layout_is_read_once_until_it_changes(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "shared_vocabulary.json").write_text('["plain"]')
    translator = LocalTranslator(LocalTranslation(type="local", model=str(tmp_path)), 1, TRANSLATION)
    assert translator.knows(EN, FR)
    (tmp_path / "shared_vocabulary.json").write_text('["__en__", "__de__"]')
    assert translator.knows(EN, FR), (
        "without a layout every pair is accepted, and the vocabulary is not read again"
    )
    (tmp_path / "fluxcaption.json").write_text('{"layout": "m2m100", "pairs": [["en", "de"]]}')
    os.utime(tmp_path, ns=(0, 1))
    assert not translator.knows(EN, FR)
    assert translator.knows(EN, DE)


@pytest.fixture
async def local() -> AsyncIterator[LocalTranslator]:
    translator = LocalTranslator(LocalTranslation(type="local", model="miniature"), 1, TRANSLATION)
    yield translator
    await translator.unload()
    await translator.close()


@pytest.mark.parametrize(
    ("source", "target", "text", "expected"),
    [
        (EN, ES, "The man opens the door.", "El hombre abre la puerta."),
        (EN, DE, "Where is the black cat?", "Wo ist die schwarze Katze?"),
        (ES, EN, "El niño vende el coche rojo.", "The boy sells the red car."),
    ],
)
async def test_the_miniature_model_translates_three_pairs(
    local: LocalTranslator, source: LanguageTag, target: LanguageTag, text: str, expected: str
) -> None:
    assert await local.translate([TextUnit(UnitId("a"), text)], source, target) == {"a": expected}


async def test_a_pair_that_the_model_does_not_have_is_refused(local: LocalTranslator) -> None:
    assert not local.knows(EN, FR)
    with pytest.raises(UnsupportedLanguagePair):
        await local.translate([TextUnit(UnitId("a"), "Hello.")], EN, FR)


async def test_the_error_of_a_missing_local_model_has_its_path() -> None:
    translator = LocalTranslator(LocalTranslation(type="local", model="/nowhere/model"), 1, TRANSLATION)
    with pytest.raises(ModelMissing, match=r"/nowhere/model/model\.bin does not exist"):
        _ = translator.revision
    await translator.close()


def test_a_cause_that_ends_with_a_question_gets_no_further_advice() -> None:
    assert str(ServiceUnreachable("Jellyfin", "http://x", "it redirects: is the base path right?")).endswith(
        "is the base path right?"
    )
    assert str(ServiceUnreachable("Jellyfin", "http://x", "status 500")).endswith(
        "status 500. Check that it runs and that the address is right."
    )


def test_error_messages_have_one_line() -> None:
    assert all(
        "\n" not in str(error)
        for error in (ReplyUnusable("x"), ModelMissing("m", "d"), FluxCaptionError("e"))
    )
