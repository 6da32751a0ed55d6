"""`[include]`: transmitters and panels from more files, and what is said about a fault in one of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bridge.common.errors import ConfigError
from bridge.config.settings import Settings
from bridge.config.shards import digest
from bridge.config.sources import load

PASSWORD = "configured-pw-1"
FORM = "[[transmitters]], [[g90.panels]] and [[forward]]"
INCLUDE = '[include]\nfiles = ["sites/*.toml"]\n'


def transmitter(name: str, *more: str) -> str:
    fields = {
        "name": name,
        "transmitter_code": name.upper(),
        "transmitter_type": "SV301",
        "authentication": PASSWORD,
        "receiver_id": "OPER",
        "receiver": "localhost:19000",
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join(["[[transmitters]]", *lines, "use_single_receiver = true", *more, ""])


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory for the included files, and another one to run in."""
    for folder in ("sites", "elsewhere"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")


def read(folder: Path, main: str = INCLUDE, **sites: str) -> Settings:
    for name, text in sites.items():
        (folder / "sites" / f"{name}.toml").write_text(text, "utf-8")
    (folder / "bridge.toml").write_text(main, "utf-8")
    return load(folder / "bridge.toml")


def faults(folder: Path, main: str = INCLUDE, **sites: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, main, **sites)
    assert PASSWORD not in str(caught.value)
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def names(settings: Settings) -> list[str]:
    return [each.name for each in settings.transmitters]


def test_included_transmitters_follow_those_of_the_file_in_the_order_of_the_files(tmp_path: Path) -> None:
    south = transmitter("c") + transmitter("a")
    settings = read(tmp_path, INCLUDE + transmitter("z"), south=south, north=transmitter("b"))
    assert names(settings) == ["z", "b", "c", "a"]


def test_panels_can_be_included_and_forwarded(tmp_path: Path) -> None:
    main = INCLUDE + '[g90]\nmax_connections = 7\n[[g90.panels]]\nguid = "P1"\n'
    main += '[[forward]]\npanel = "P2"\nevent = "alarm"\ntransmitter = "home"\nevent_code = "FA"\n'
    panel = '[[g90.panels]]\nguid = "P2"\nname = "Shed"\n'
    settings = read(tmp_path, main, site=panel + transmitter("home"))
    assert settings.g90 is not None
    assert [each.guid.lower() for each in settings.g90.panels] == ["p1", "p2"]
    assert settings.g90.max_connections == 7


def rule(transmitter: str, *more: str, event: str = "sos") -> str:
    lines = [f'event = "{event}"', f'transmitter = "{transmitter}"', 'event_code = "FA"']
    return "\n".join(["[[forward]]", *lines, *more, ""])


def test_included_rules_follow_those_of_the_file_in_the_order_of_the_files(tmp_path: Path) -> None:
    main = INCLUDE + "[g90]\n" + transmitter("z") + rule("z")
    south = transmitter("c") + rule("z", event="tamper") + rule("c")
    settings = read(tmp_path, main, south=south, north=transmitter("b") + rule("b"))
    assert [(each.event, each.transmitter) for each in settings.forward] == [
        ("sos", "z"),
        ("sos", "b"),
        ("tamper", "z"),
        ("sos", "c"),
    ]


def test_rules_of_the_environment_replace_those_of_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"event": "sos", "transmitter": "home", "event_code": "PA"}
    monkeypatch.setenv("SOSBRIDGE_FORWARD", json.dumps([ours]))
    main = INCLUDE + "[g90]\n" + transmitter("home") + rule("home")
    assert [each.event_code for each in read(tmp_path, main, a=rule("home")).forward] == ["PA"]
    monkeypatch.setenv("SOSBRIDGE_FORWARD", json.dumps([{**ours, "transmitter": "hme"}]))
    assert faults(tmp_path, main, a=rule("home")) == [
        "the environment: forward: rule 1: unknown transmitter 'hme'; did you mean 'home'?"
    ]
    monkeypatch.setenv("SOSBRIDGE_FORWARD", json.dumps([{"event": "sos", "transmitter": "home"}]))
    assert faults(tmp_path, main) == ["the environment: forward: rule 1: event_code: is missing; it is required"]


def test_a_fault_of_a_rule_names_its_file_and_its_number_there(tmp_path: Path) -> None:
    main = INCLUDE + "[g90]\n" + transmitter("home") + rule("home") + rule("hme")
    sites = {"a": rule("home"), "b": rule("hme") + rule("home") + rule("hme")}
    words = "unknown transmitter 'hme'; did you mean 'home'?"
    assert faults(tmp_path, main, **sites) == [
        f"bridge.toml: forward: rule 2: {words}",
        f"sites/b.toml: forward: rules 1, 3: {words}",
    ]
    sites = {"a": rule("home", "urgnt = true"), "b": rule("home") + rule("home", event="soss") + "[[forward]]\n"}
    assert faults(tmp_path, main, **sites) == [
        "sites/a.toml: forward: rule 1: urgnt: unknown setting; did you mean 'urgent'?",
        "sites/b.toml: forward: rule 2: event: unknown event 'soss'; did you mean 'sos'?",
        *(f"sites/b.toml: forward: rule 3: {name}: is missing; it is required" for name in ("event", "transmitter")),
        "sites/b.toml: forward: rule 3: event_code: is missing; it is required",
    ]


def test_one_account_in_two_files_names_the_second(tmp_path: Path) -> None:
    [line] = faults(tmp_path, a=transmitter("home"), b=transmitter("shed").replace('"SHED"', '"HOME"'))
    assert line.startswith("sites/b.toml: transmitters.shed: home and shed have the same transmitter_code")


@pytest.mark.parametrize(("wrong", "key"), [("forward", "forward"), ("g90", "g90"), ("transmitters", "transmitters")])
def test_a_wrong_table_of_the_configuration_file_is_named_beside_included_ones(
    tmp_path: Path, wrong: str, key: str
) -> None:
    site = transmitter("home") + '[[g90.panels]]\nguid = "P1"\n' + rule("home")
    assert any(
        line.startswith(f"bridge.toml: {key}: is not a table")
        for line in faults(tmp_path, f"{wrong} = 7\n{INCLUDE}", a=site)
    )


def test_a_file_that_two_patterns_match_is_read_once(tmp_path: Path) -> None:
    main = '[include]\nfiles = ["sites/home.toml", "sites/*"]\n'
    assert names(read(tmp_path, main, garage=transmitter("garage"), home=transmitter("home"))) == ["home", "garage"]


def test_a_pattern_can_be_absolute(tmp_path: Path) -> None:
    main = f'[include]\nfiles = ["{tmp_path}/sites/*.toml"]\n'
    assert names(read(tmp_path, main, home=transmitter("home"))) == ["home"]


def test_secret_files_and_the_environment_go_before_an_included_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets" / "transmitters__home__authentication").write_text("2" * 15)
    monkeypatch.setenv("SOSBRIDGE_TRANSMITTERS__HOME__RECEIVER_ID", "OTHER")
    [home] = read(tmp_path, home=transmitter("home").replace(f'authentication = "{PASSWORD}"\n', "")).transmitters
    assert (home.authentication.reveal(), home.receiver_id) == ("2" * 15, "OTHER")


def test_the_digest_covers_what_is_included_and_not_how(tmp_path: Path) -> None:
    split = digest(read(tmp_path, home=transmitter("home")))
    assert digest(read(tmp_path, transmitter("home"))) == split
    assert digest(read(tmp_path, home=transmitter("home", 'heartbeat = "25h"'))) != split


@pytest.mark.parametrize(
    ("site", "words"),
    [
        (transmitter("home", "use_tsl = true"), "transmitters.home.use_tsl: unknown setting; did you mean 'use_tls'?"),
        (transmitter("home", 'max_age = "soon"'), "transmitters.home.max_age: 'soon' is not a duration; use for"),
        (
            transmitter("home").replace("use_single_receiver = true\n", ""),
            "transmitters.home: secondary_receiver is missing; add it",
        ),
        ('[[transmitters]]\nname = "home"\n' + transmitter("b"), "transmitters.home.transmitter_code: is missing"),
        ("[[transmitters]]\nnaem = 'a'", "transmitters: table 1: name: is missing; 'naem' looks like a typo of it"),
        (transmitter("home") * 2, "transmitters: duplicate name 'home'"),
        (transmitter("z"), "transmitters: 'z' is also in the configuration file; remove one of them"),
        ("[transmitters]\nname = 'home'", "transmitters: write [[transmitters]], in double brackets"),
        ("transmitters = 7", "transmitters: write [[transmitters]], in double brackets"),
        ("g90 = 7", f"g90: only {FORM} may be in an included file"),
        ("[[transmiters]]\nname = 'a'", "transmiters: did you mean 'transmitters'?"),
        ("[mqtt]\nhost = 'a'", f"mqtt: only {FORM} may be in an included file"),
        ("[g90]\nlisten = 'a'", f"g90.listen: only {FORM} may be in an included file"),
        ("[include]\nfiles = ['x']", f"include: only {FORM} may be in an included file"),
        ("[forward]\nevent = 'sos'", "forward: write [[forward]], in double brackets"),
        ("[[foward]]\nevent = 'sos'", "foward: did you mean 'forward'?"),
        ("[[transmitters]\n", "not TOML: "),
        ("a = '\0'", "not TOML: "),
    ],
)
def test_a_fault_names_the_included_file_the_entry_and_the_fault(tmp_path: Path, site: str, words: str) -> None:
    main = INCLUDE + transmitter("z")
    line, *_ = faults(tmp_path, main, b=site, a=transmitter("other"))
    assert line.startswith(f"sites/b.toml: {words}")


def test_one_name_in_two_included_files_names_both(tmp_path: Path) -> None:
    assert faults(tmp_path, a=transmitter("home"), b=transmitter("home")) == [
        "sites/b.toml: transmitters: 'home' is also in sites/a.toml; remove one of them"
    ]


def test_each_fault_is_a_line_with_its_own_file(tmp_path: Path) -> None:
    wrong = {name: transmitter(name, "use_tls = 7") for name in ("a", "b")}
    lines = faults(tmp_path, INCLUDE + transmitter("z", "use_tls = 7"), **wrong)
    assert [line.split(": ")[:2] for line in lines] == [
        ["bridge.toml", "transmitters.z.use_tls"],
        ["sites/a.toml", "transmitters.a.use_tls"],
        ["sites/b.toml", "transmitters.b.use_tls"],
    ]


def test_a_pattern_without_a_file_is_a_fault(tmp_path: Path) -> None:
    """A folder that is not mounted must not start a bridge without its transmitters."""
    found = f"bridge.toml: include.files: no file matches 'sites/*.toml' in {tmp_path}"
    assert faults(tmp_path) == [found]


@pytest.mark.parametrize("pattern", ["", "\\u0000", "n" * 300, "sites/home.toml/more"])
def test_a_pattern_that_cannot_match_is_a_fault(tmp_path: Path, pattern: str) -> None:
    [line] = faults(tmp_path, f'[include]\nfiles = ["{pattern}"]\n', home=transmitter("home"))
    assert re.match("bridge.toml: include.files: no (other )?file matches ", line)


@pytest.mark.parametrize("value", ['"sites/*.toml"', "[7]", "7"])
def test_files_that_are_not_a_list_of_texts_are_a_fault(tmp_path: Path, value: str) -> None:
    [line] = faults(tmp_path, f"[include]\nfiles = {value}\n", home=transmitter("home"))
    assert line.startswith("bridge.toml: include.files: ")
    assert line.endswith("is not a list of texts")


def test_a_folder_means_its_toml_files(tmp_path: Path) -> None:
    (tmp_path / "sites" / "README").write_text("not TOML", "utf-8")
    for name in ("sites", "sites/", str(tmp_path / "sites")):
        main = f'[include]\nfiles = ["{name}"]\n'
        assert names(read(tmp_path, main, b=transmitter("b"), a=transmitter("a"))) == ["a", "b"]


def test_a_folder_without_a_toml_file_is_a_fault(tmp_path: Path) -> None:
    main = '[include]\nfiles = ["sites"]\n'
    assert faults(tmp_path, main) == [f"bridge.toml: include.files: no file matches 'sites/*.toml' in {tmp_path}"]


@pytest.mark.parametrize("pattern", ["sites/*.toml", "sites/**"])
def test_a_folder_that_a_pattern_matches_is_a_fault(tmp_path: Path, pattern: str) -> None:
    """Docker makes a folder in place of a file that it does not find."""
    (tmp_path / "sites" / "more.toml").mkdir()
    [line] = faults(tmp_path, f'[include]\nfiles = ["{pattern}"]\n', a=transmitter("home"))
    assert line.startswith(f"bridge.toml: include.files: '{pattern}': sites")
    assert line.endswith(" is a directory; use a pattern that matches files alone")


def test_two_stars_match_folders_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "sites" / "south" / "coast").mkdir(parents=True)
    (tmp_path / "sites" / "south" / "coast" / "c.toml").write_text(transmitter("c"), "utf-8")
    main = '[include]\nfiles = ["sites/**/*.toml"]\n'
    assert names(read(tmp_path, main, a=transmitter("a"))) == ["a", "c"]


@pytest.mark.parametrize("absolute", [False, True])
def test_the_configuration_file_does_not_include_itself(tmp_path: Path, absolute: bool) -> None:  # noqa: FBT001
    main = f'[include]\nfiles = ["{tmp_path}/*.toml"]\n' if absolute else '[include]\nfiles = ["*.toml"]\n'
    assert faults(tmp_path, main) == [f"bridge.toml: include.files: no other file matches '*.toml' in {tmp_path}"]
    (tmp_path / "a.toml").write_text(transmitter("a"), "utf-8")
    assert names(read(tmp_path, main)) == ["a"]


def test_a_risk_of_many_transmitters_is_one_line(tmp_path: Path) -> None:
    few = read(tmp_path, home="".join(transmitter(f"t{number}") for number in range(20)))
    assert [line.split(":")[0] for line in few.warnings] == [f"t{number}" for number in range(20)]
    many = read(tmp_path, home="".join(transmitter(f"t{number}") for number in range(1000)))
    assert [line.split(":")[0] for line in many.warnings] == ["t0, t1, t2 and 997 others"]
