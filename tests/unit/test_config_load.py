"""The configuration file: loading, and all problems at once with their positions."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from fluxcaption.config.example import config_schema, example_config, schema_text
from fluxcaption.config.load import load_settings
from fluxcaption.domain.errors import ConfigError
from fluxcaption.settings import JellyfinConfig

CONFIG = Path(__file__).parents[2] / "config"
FOLDER = "server: {type: folder, path: media}\n"


def problems(tmp_path: Path, text: str, **environment: str) -> list[str]:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(file, environment)
    return [str(problem).removeprefix(f"{file}:") for problem in caught.value.problems]


def test_all_problems_are_reported_at_once_with_their_positions(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        FOLDER
        + "languages:\n  targets: [en, nonsense-x1]\nasr:\n  min_scor: 1\nbogus: 1\nlog: {level: loud}\n",
    )
    assert [line.split(": ")[0] for line in found] == ["3:17", "5:3", "6:1", "7:7"]
    assert found[1] == "5:3: asr.min_scor: is not a setting (did you mean min_score?)"


def test_the_language_code_no_is_norwegian_and_not_false(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(FOLDER + "languages: {targets: [no, en]}\n", encoding="utf-8")
    assert [str(target.language) for target in load_settings(file, {}).languages.targets] == ["no", "en"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FOLDER, "for example targets: [de]"),
        (FOLDER + "languages: {targets: [en]}\nlanguages: {targets: [de]}\n", "is given twice"),
        (
            FOLDER + "languages: {targets: [en]}\nstate: ${NOWHERE}\n",
            "environment variable NOWHERE is not set",
        ),
        (FOLDER + "languages: {targets: [en]}\nstate: " + "x" * 120 + "\n", "is too long for a socket"),
        (FOLDER + "languages: {targets: [en, de, en]}\n", "names en twice"),
        (
            "server: {url: 'http://x', api_key: a, api_key_file: b}\nlanguages: {targets: [en]}\n",
            "remove one",
        ),
        ("server: {url: 'http://x'}\nlanguages: {targets: [en]}\n", "needs api_key"),
        ("server: {url: 'http://x', api_key_file: missing}\nlanguages: {targets: [en]}\n", "cannot be read"),
        ("a: &x 1\nb: *x\n", "has a YAML alias, which is not allowed"),
        ("a: [1\n", "is not YAML"),
        ("- 1\n", "is not a mapping"),
        ("", "is not a mapping"),
        (
            FOLDER + "languages: {targets: [en]}\nschedule: {scan: 15}\n",
            "is not a duration: write one such as 90s",
        ),
        ("server: {type: folder, path: }\nlanguages: {targets: [en]}\n", "1:24: server.path: is missing"),
        ("server: {url: 'http://x', api_key: }\nlanguages: {targets: [en]}\n", "needs api_key"),
        (
            "server: {url: 'http://x', api_key: ''}\nlanguages: {targets: [en]}\n",
            "1:27: server.api_key: is empty",
        ),
        (
            "server: {url: 'http://x', api_key: '${BLANK}'}\nlanguages: {targets: [en]}\n",
            "server.api_key: is empty",
        ),
        (
            "server: {url: 'http://x', api_key: a, write: sidecar}\nlanguages: {targets: [en]}\n",
            "needs path_map",
        ),
        (
            "server: {url: 'http://x', api_key: a, ca_file: nowhere.pem}\nlanguages: {targets: [en]}\n",
            "nowhere.pem cannot be used",
        ),
        (
            "server: {type: jelyfin}\nlanguages: {targets: [en]}\n",
            "1:10: server.type: must be one of jellyfin, folder (did you mean jellyfin?)",
        ),
        ("server: {[a, b]: 1}\nlanguages: {targets: [en]}\n", "has a list or a mapping as a key"),
        (FOLDER + "languages: {targets: en}\n", "languages.targets: is not a list"),
        (FOLDER + "languages: {targets: [en]}\nweb: yes\n", "web: is a group of settings"),
        (
            FOLDER + "languages: {targets: [en]}\nweb: {listen: '127.0.0.1:99999'}\n",
            "the port must be at most 65535",
        ),
        (
            FOLDER + "languages: {targets: [en]}\nlimits: {threads: many}\n",
            "3:10: limits.threads: is not a number of threads: write half, all, or a number",
        ),
        (
            FOLDER + "languages: {targets: [en]}\nschedule: {full_scan: every day}\n",
            "is not a cron expression: write five fields",
        ),
        (
            FOLDER + "languages: {targets: [en]}\nschedule: {full_scan: 0 24 * * *}\n",
            "is not a cron expression: write five fields",
        ),
        (
            FOLDER + "languages: {targets: [en]}\nschedule: {timezone: Europe/Berlni}\n",
            "did you mean Europe/Berlin?",
        ),
        (FOLDER + "languages: {targets: [en]}\nschedule: {scan: 0s}\n", "must be at least 1m"),
        (FOLDER + "languages: {targets: [en]}\nschedule: {while_playing: paus}\n", "(did you mean pause?)"),
        (
            FOLDER + "languages: {targets: [en]}\nasr: {backends: [{type: local, compute_type: int9}]}\n",
            "compute_type: must be one of auto",
        ),
        (
            FOLDER + "languages: {targets: [{language: en, when: foreign}]}\n",
            "2:1: languages: when: foreign needs languages.understood",
        ),
        (
            FOLDER
            + "languages: {targets: [en]}\nrules: [{library: x, targets: [{language: de, when: foreign}]}]\n",
            "rule 1: when: foreign needs languages.understood",
        ),
        (
            FOLDER + "languages: {targets: [en]}\nrules: [{library: x, skip: true, targets: [de]}]\n",
            "3:9: rules.0: a rule with skip makes no subtitles",
        ),
        (
            FOLDER + "languages: {targets: [en]}\nrules: [{library: x, targets: [fr, fra]}]\n",
            "names fr twice",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_fix(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in "\n".join(problems(tmp_path, text, LANG="de_DE.UTF-8", BLANK=""))


@pytest.mark.parametrize(
    "marker",
    [
        "run",
        "car",
        "new",
        "fin",
        "german",
        "zh-hans",
        "sdh",
        "forced",
        "my-default",
        "foreigner",
        "signs",
        "karaoke",
        "commentary",
    ],
)
def test_a_marker_that_a_server_could_misread_is_rejected(tmp_path: Path, marker: str) -> None:
    (found,) = problems(tmp_path, FOLDER + f"languages: {{targets: [en]}}\nsubtitles: {{marker: {marker}}}\n")
    assert found.startswith(f"3:13: subtitles.marker: {marker} ")
    assert "choose another word" in found


@pytest.mark.parametrize("marker", ["fluxcaption", "auto", "llm", "made-by-us"])
def test_other_markers_are_accepted(tmp_path: Path, marker: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        FOLDER + f"languages: {{targets: [en]}}\nsubtitles: {{marker: {marker}}}\n", encoding="utf-8"
    )
    assert load_settings(file, {}).subtitles.marker == marker


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "nowhere.yaml", {})


@pytest.mark.parametrize("action", ["inline", "file", "credential", "environment"])
def test_a_secret_is_read_from_each_source_and_hidden_in_repr(tmp_path: Path, action: str) -> None:
    (tmp_path / "jellyfin_api_key").write_text("hush-hush\n", encoding="utf-8")
    key = {
        "inline": ", api_key: hush-hush",
        "file": ", api_key_file: jellyfin_api_key",
        "credential": "",
        "environment": ", api_key: '${KEY}'",
    }[action]
    file = tmp_path / "config.yaml"
    file.write_text(f"server: {{url: 'http://x'{key}}}\nlanguages: {{targets: [en]}}\n", encoding="utf-8")
    settings = load_settings(
        file,
        {"KEY": "hush-hush", **({"CREDENTIALS_DIRECTORY": str(tmp_path)} if action == "credential" else {})},
    )
    assert isinstance(settings.server, JellyfinConfig)
    assert settings.server.api_key is not None
    assert settings.server.api_key.get_secret_value() == "hush-hush"
    assert "hush-hush" not in repr(settings)


def test_an_empty_secret_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    found = problems(tmp_path, "server: {url: 'http://x', api_key_file: empty}\nlanguages: {targets: [en]}\n")
    assert found == [f"1:27: server.api_key_file: {tmp_path / 'empty'} is empty: write the secret into it"]


def test_two_sources_of_a_secret_are_reported(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("one", encoding="utf-8")
    (tmp_path / "jellyfin_api_key").write_text("other", encoding="utf-8")
    found = problems(
        tmp_path,
        "server: {url: 'http://x', api_key_file: key}\nlanguages: {targets: [en]}\n",
        CREDENTIALS_DIRECTORY=str(tmp_path),
    )
    assert found == [
        "1:1: server.api_key: is given as api_key_file and as systemd credential jellyfin_api_key: remove one"
    ]


def test_numbers_are_numbers_and_a_key_of_digits_stays_text(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    text = (
        "server: {url: 'http://x', api_key: 0123456789}\nlanguages: {targets: [en]}\n"
        "limits: {disk_free: 5368709120, threads: 3}\nstate:\n"
    )
    file.write_text(text, encoding="utf-8")
    settings = load_settings(file, {})
    assert (settings.limits.disk_free, settings.limits.threads) == (5 * 2**30, 3)
    assert isinstance(settings.server, JellyfinConfig)
    assert settings.server.api_key is not None
    assert settings.server.api_key.get_secret_value() == "0123456789"
    assert settings.state == Path("/var/lib/fluxcaption")


def test_paths_are_relative_to_the_configuration_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        FOLDER
        + "languages: {targets: [en]}\nstate: here\nasr: {backends: [{type: local, model: ./models/base}]}\n",
        encoding="utf-8",
    )
    settings = load_settings(file, {})
    assert settings.state == tmp_path / "here"
    assert settings.asr.backends[0].model == str(tmp_path / "models" / "base")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_unusable_certificate_file_is_reported(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content, encoding="utf-8")
    file = tmp_path / "config.yaml"
    file.write_text(
        "server: {url: 'https://jellyfin', api_key: k, ca_file: ca.pem}\nlanguages: {targets: [en]}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError, match=r"1:\d+: server\.ca_file: .*ca\.pem cannot be used"):
        load_settings(file, {})


def test_shipped_schema_and_example_are_up_to_date() -> None:
    assert (CONFIG / "fluxcaption.schema.json").read_text(encoding="utf-8") == schema_text()
    assert (CONFIG / "config.example.yaml").read_text(encoding="utf-8") == example_config()


def test_the_example_loads_unchanged() -> None:
    load_settings(CONFIG / "config.example.yaml", {"JELLYFIN_API_KEY": "a-key"})


def test_the_example_loads_with_every_line_uncommented(tmp_path: Path) -> None:
    lines = []
    for line in example_config().splitlines():
        if (
            line.startswith(("# server:", "# yaml", "#   type: folder", "#   path: /media"))
            or "Instead of a server" in line
        ):
            continue
        bare = line[2:] if line.startswith("# ") else line
        lines.append(bare if ":" in bare and not bare[0].isupper() and not bare.startswith("begin") else "")
    file = tmp_path / "config.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    load_settings(file, {"JELLYFIN_API_KEY": "a-key"})


def test_the_schema_agrees_with_the_loader() -> None:
    schema = config_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    example = yaml.safe_load((CONFIG / "config.example.yaml").read_text(encoding="utf-8"))
    jsonschema.validate(example, schema)
    jsonschema.validate(yaml.safe_load((CONFIG / "demo.yaml").read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**example, "bogus": 1}, schema)
    json.dumps(schema)
