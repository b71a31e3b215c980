"""The brake: what harmful programs do is stopped soon after its limit, and honest work never is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pytest
from sqlalchemy import func, select

from auth.errors import Paused
from auth.roles import Role, Via
from config.clock import SECOND_US, now_us
from config.database import Database
from config.errors import DatabaseBusy
from config.ids import id_text
from providers import brake, tables
from providers.alerts import Alert
from providers.drive import Drive, braking
from providers.errors import NotFound
from providers.installation import Installation
from providers.model import Conditions
from providers.paths import parse
from tests.worlds import World, fetch, settings_for, store

POSTGRESQL_IN_PROOF = True

LIMIT = 20
DAY = brake.DAY_US
_ahead = [0]
SETTINGS: dict[str, Any] = {"brake.documents_min": LIMIT, "brake.factor": 3, "brake.window_seconds": 600}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """By how much the database's clock is ahead, in microseconds."""
    ahead, real = _ahead, Database.now_us
    ahead[0] = 0
    monkeypatch.setattr(Database, "now_us", lambda self, connection: real(self, connection) + ahead[0])
    return ahead


@pytest.fixture
def world(data_folder: FilePath) -> Iterator[World]:
    yield from made(data_folder, {})


@pytest.fixture
def either(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    """The same, on SQLite and on PostgreSQL."""
    yield from made(data_folder, engine)


def made(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine, **SETTINGS)
    for login in ("eva", "erik"):
        made.person(login, "Kund AB")
    for name in ("Rum", "Annat"):
        made.space(name, "Kund AB", folders=("/Mapp",))
        for login in ("eva", "erik"):
            made.grant(login, name, Role.EDITOR, history=True)
    yield made
    made.installation.close()


def fill(world: World, count: int, folder: str = "/Rum/Mapp") -> list[str]:
    """Let somebody else have stored documents, two minutes ago."""
    paths, erik = [f"{folder}/{number}.txt" for number in range(count)], world.drive("erik")
    for path in paths:
        store(erik, path, path.encode())
    _ahead[0] += 2 * brake.YOUNG_US
    return paths


def alerts(world: World) -> list[Alert]:
    return world.installation.alerts.all(resumed=True)


def encrypt(drive: Drive, path: str) -> None:
    store(drive, path, b"encrypted " + path.encode())


def replace(drive: Drive, path: str) -> None:
    """As most such programs do: write beside it, delete the document."""
    store(drive, f"{path}.locked", b"encrypted " + path.encode())
    drive.delete(parse(path))


def rename(drive: Drive, path: str) -> None:
    """As others do: encrypt in place under another name."""
    drive.move(parse(path), parse(f"{path}.locked"), overwrite=False)
    store(drive, f"{path}.locked", b"encrypted " + path.encode())


def rename_over(drive: Drive, path: str) -> None:
    store(drive, f"{path}.tmp", b"encrypted " + path.encode())
    drive.move(parse(f"{path}.tmp"), parse(path), overwrite=True)


def edit(drive: Drive, path: str) -> None:
    begun = drive.edit(parse(path), create=False, truncate=False)
    begun.write(0, b"encrypted ")
    begun.commit()


def copy_over(drive: Drive, path: str) -> None:
    store(drive, "/Rum/poison", b"encrypted")
    drive.copy(parse("/Rum/poison"), parse(path), overwrite=True)


HARMFUL = [encrypt, replace, rename, rename_over, edit, copy_over]


@pytest.mark.parametrize("act", HARMFUL, ids=lambda act: act.__name__)
def test_a_harmful_program_is_stopped_right_at_the_limit(world: World, act: Callable[[Drive, str], None]) -> None:
    paths = fill(world, LIMIT + 10)
    done = 0
    eva = world.drive("eva")
    with pytest.raises(Paused, match="looks after the server"):
        for path in paths:
            act(eva, path)
            done += 1
    harmed = {path for path in paths if not _untouched(world, path)}
    # One process: exactly one document more than is allowed.
    assert len(harmed) == LIMIT + 1 and done in (LIMIT, LIMIT + 1)
    (alert,) = alerts(world)
    assert alert.is_open and alert.subject == world.devices["eva"] and alert.is_device
    assert (alert.documents, alert.limit) == (LIMIT + 1, LIMIT)
    # What was acknowledged stands, others go on, and so does another device of the same person.
    store(world.drive("erik"), "/Rum/Mapp/other.txt", b"goes on")
    _, password = world.installation.directory.add_device(world.people["eva"].id, "phone")
    world.passwords["eva"] = password
    store(world.drive("eva"), "/Rum/Mapp/phone.txt", b"goes on")
    assert not list(world.installation.verify())


def _untouched(world: World, path: str) -> bool:
    try:
        return fetch(world.drive("erik"), path) == path.encode()
    except NotFound:
        return False


def test_reading_and_adding_never_count(world: World) -> None:
    eva, paths = world.drive("eva"), fill(world, 5)
    for number in range(3 * LIMIT):
        store(eva, f"/Rum/new {number}", b"new")
        fetch(eva, paths[number % 5])
        store(eva, paths[number % 5], paths[number % 5].encode())
        eva.change_properties(parse(paths[number % 5]), [("{urn:x}p", str(number))])
        eva.make_folder(parse(f"/Rum/folder {number}"))
    assert alerts(world) == []


def test_a_document_that_is_saved_a_hundred_times_counts_once(world: World) -> None:
    eva, (path,) = world.drive("eva"), fill(world, 1)
    for number in range(5 * LIMIT):
        store(eva, path, f"draft {number}".encode())
    assert alerts(world) == []
    world.installation.storage.brake.settle(world.devices["eva"])
    with world.installation.database.transient_read() as connection:
        assert connection.execute(select(func.count()).select_from(tables.brake_act)).scalar_one() == 1


def test_what_programs_do_with_files_of_their_own_does_not_count(world: World) -> None:
    """Word's way to save, again and again: a temporary file, the document out of the way, the file in, the old away."""
    eva = world.drive("eva")
    store(eva, "/Rum/Mapp/a.docx", b"first")
    for number in range(LIMIT):
        store(eva, "/Rum/Mapp/~WRD.tmp", f"text {number}".encode())
        eva.move(parse("/Rum/Mapp/a.docx"), parse("/Rum/Mapp/~WRL.tmp"), overwrite=False)
        eva.move(parse("/Rum/Mapp/~WRD.tmp"), parse("/Rum/Mapp/a.docx"), overwrite=False)
        eva.delete(parse("/Rum/Mapp/~WRL.tmp"))
    assert alerts(world) == []


def test_a_slow_honest_day_does_not_trip(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many documents as the window allows, in each of many windows."""
    eva, paths, shift = world.drive("eva"), fill(world, LIMIT), [0]
    _shift_time(monkeypatch, shift)
    for hour in range(4):
        shift[0] = hour * 3600 * SECOND_US
        for path in paths:
            store(eva, path, f"{hour} {path}".encode())
    assert alerts(world) == []


def _shift_time(monkeypatch: pytest.MonkeyPatch, shift: list[int]) -> None:
    """Let the brake see acts later than they are."""
    real = brake.Brake.note

    def note(self: brake.Brake, who: Any, acts: Any) -> bool:
        return real(self, who, [act._replace(at=act.at + shift[0]) for act in acts])

    monkeypatch.setattr(brake.Brake, "note", note)


def test_what_a_device_did_on_earlier_days_lets_it_do_more(either: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world = either
    eva, paths, shift = world.drive("eva"), fill(world, 3 * LIMIT + 5), [0]
    _shift_time(monkeypatch, shift)
    for path in paths[:LIMIT]:
        encrypt(eva, path)
    shift[0] = DAY
    kept = world.installation.storage.brake
    kept.settle(world.devices["eva"])
    kept.sweep(now_us() + DAY)
    done = 0
    with pytest.raises(Paused):
        for path in paths:
            store(eva, path, b"again " + path.encode())
            done += 1
    # Three times the twenty of yesterday, and one.
    assert done == 3 * LIMIT + 1


def test_what_it_does_today_is_no_measure_of_today(world: World) -> None:
    eva, paths = world.drive("eva"), fill(world, LIMIT + 5)
    for path in paths[:LIMIT]:
        encrypt(eva, path)
    world.installation.storage.brake.sweep(now_us())
    with pytest.raises(Paused):
        for path in paths[LIMIT:]:
            encrypt(eva, path)


@pytest.mark.parametrize(("count", "is_stopped"), [(LIMIT, False), (LIMIT + 1, True)])
def test_a_folder_that_is_deleted_counts_its_documents(world: World, count: int, *, is_stopped: bool) -> None:
    eva = world.drive("eva")
    world.drive("erik").make_folder(parse("/Rum/Mapp/under"))
    fill(world, count - 3)
    fill(world, 3, "/Rum/Mapp/under")
    eva.delete(parse("/Rum/Mapp"))
    assert [alert.deleted for alert in alerts(world)] == ([count] if is_stopped else [])


def test_a_folder_that_moves_never_counts_and_one_that_is_replaced_as_deleted(world: World) -> None:
    eva = world.drive("eva")
    fill(world, LIMIT + 1)
    for number in range(LIMIT):
        eva.move(parse("/Rum/Mapp"), parse(f"/Rum/Pärm {number}"), overwrite=False)
        eva.move(parse(f"/Rum/Pärm {number}"), parse("/Rum/Mapp"), overwrite=False)
    assert alerts(world) == []
    eva.make_folder(parse("/Rum/empty"))
    eva.copy(parse("/Rum/empty"), parse("/Rum/Mapp"), overwrite=True)
    (alert,) = alerts(world)
    assert alert.deleted == LIMIT + 1


def test_several_processes_count_together(either: World, data_folder: FilePath, engine: dict[str, str]) -> None:
    """Each keeps at most a batch to itself; what one of them finds holds for all."""
    world = either
    settings = settings_for(data_folder, **engine, **{**SETTINGS, "brake.documents_min": 3 * brake.BATCH})
    others = [Installation.open(data_folder, settings) for _ in range(3)]
    paths = fill(world, 8 * brake.BATCH)
    drives = [
        other.drive(other.authenticator.basic("eva", world.passwords["eva"], via=Via.SFTP, address="192.0.2.7"))
        for other in others
    ]
    done = 0
    try:
        with pytest.raises(Paused):
            for number, path in enumerate(paths):
                encrypt(drives[number % 3], path)
                done += 1
        assert 3 * brake.BATCH < done <= 3 * brake.BATCH + 3 * brake.BATCH
        for drive in drives:
            with pytest.raises(Paused):
                drive.listing(parse("/Rum"))
            with pytest.raises(Paused):
                drive.still_valid()
        assert len(alerts(world)) == 1
    finally:
        for other in others:
            other.close()


def test_two_processes_that_find_it_at_once_tell_of_it_once(either: World) -> None:
    world = either
    paths, eva = fill(world, LIMIT), world.drive("eva")
    for path in paths:
        encrypt(eva, path)
    storage, subject = world.installation.storage, world.devices["eva"]
    storage.brake.settle(subject)
    found = brake.Excess(eva.principal, LIMIT + 1, LIMIT, now_us())
    threads = [threading.Thread(target=lambda: _quietly(lambda: braking._pause(storage, found))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(alerts(world)) == 1
    assert world.kinds("Rum").count("device_paused") == 1


def _quietly(work: Callable[[], object]) -> None:
    try:
        work()
    except Paused:
        pass


def trip(world: World, login: str = "eva") -> Alert:
    drive = world.drive(login)
    with pytest.raises(Paused):
        for path in fill(world, LIMIT + 2):
            encrypt(drive, path)
    (alert,) = alerts(world)
    return alert


def test_a_pause_outlives_a_restart_frees_locks_and_is_told(
    either: World, data_folder: FilePath, engine: dict[str, str]
) -> None:
    world = either
    eva, (path, *_) = world.drive("eva"), fill(world, 3)
    lock, _ = eva.lock(parse(path), is_deep=False, is_shared=False, owner="", seconds=3600)
    store(eva, path, b"mine", conditions=Conditions(tokens=frozenset({lock.token})))
    with pytest.raises(Paused):
        for each in fill(world, LIMIT + 5, "/Annat/Mapp"):
            encrypt(eva, each)
    alert = alerts(world)[0]
    world.installation.tick()
    assert world.installation.locks.all() == []
    for space in ("Rum", "Annat"):
        assert world.kinds(space).count("device_paused") == 1
    opened = Installation.open(data_folder, settings_for(data_folder, **engine))
    try:
        with pytest.raises(Paused):
            opened.authenticator.basic("eva", world.passwords["eva"], via=Via.WEBDAV, address="192.0.2.7")
        (again,) = opened.alerts.all(resumed=False)
        assert again == alert and {each.space for each in again.spaces} == {s.id for s in world.spaces.values()}
        (device,) = opened.directory.devices(world.people["eva"].id)
        assert device.paused_at is not None and device.revoked_at is None
    finally:
        opened.close()


def test_the_moment_before_is_exact(world: World) -> None:
    """Between what was before and the first act there is nothing; the space can be put back to just that moment."""
    alert = trip(world)
    (where,) = alert.spaces
    moment = where.before
    with world.installation.database.read() as connection:
        changes = connection.execute(
            select(tables.change.c.at, tables.change.c.principal).where(tables.change.c.space == where.space)
        ).all()
    eva = world.people["eva"].id
    assert max(at for at, _ in changes if at <= moment) < moment + 1 == min(at for at, by in changes if by == eva)


def test_putting_back_restores_every_byte_whatever_the_program_did(world: World) -> None:
    """Each way to harm, in one run, over two spaces: afterwards each space is as it was the moment before, exactly."""
    paths = [*fill(world, 2 * LIMIT), *fill(world, LIMIT, "/Annat/Mapp")]
    erik = world.drive("erik")
    before = {path: (erik.stat(parse(path)).id, fetch(erik, path)) for path in paths}
    eva = world.drive("eva")
    with pytest.raises(Paused):
        for number, path in enumerate(paths[::2]):
            [encrypt, replace, rename, rename_over, edit][number % 5](eva, path)
    (alert,) = alerts(world)
    for where in alert.spaces:
        operator = world.installation.operator([where.space])
        space = parse(f"/~{id_text(where.space)}")
        world.installation.drive(operator).put_back(space, where.before)
    erik = world.drive("erik")
    assert {path: (erik.stat(parse(path)).id, fetch(erik, path)) for path in paths} == before
    assert len(erik.listing(parse("/Rum/Mapp"))[1]) == 2 * LIMIT
    assert not list(world.installation.verify())


def test_resuming_lets_the_same_be_done_at_once(either: World) -> None:
    world = either
    alert = trip(world)
    installation = world.installation
    assert braking.resume(installation.storage, installation.operator(), alert)
    assert not braking.resume(installation.storage, installation.operator(), alert)
    eva = world.drive("eva")
    for path in fill(world, LIMIT + 2, "/Annat/Mapp"):
        encrypt(eva, path)
    (closed,) = alerts(world)
    assert not closed.is_open and installation.alerts.all(resumed=False) == []
    assert world.kinds("Rum").count("device_resumed") == 1


def test_an_account_by_its_own_password_is_paused_and_its_devices_are_not(world: World) -> None:
    password = "en riktigt lång ramsa"
    world.installation.directory.set_password(world.people["eva"].id, password)
    own = world.passwords["eva"]
    world.passwords["eva"] = password
    alert = trip(world)
    assert not alert.is_device and alert.subject == world.people["eva"].id
    with pytest.raises(Paused):
        world.drive("eva")
    world.passwords["eva"] = own
    store(world.drive("eva"), "/Rum/Mapp/new.txt", b"goes on")
    braking.resume(world.installation.storage, world.installation.operator(), alert)
    world.passwords["eva"] = password
    store(world.drive("eva"), "/Rum/Mapp/again.txt", b"goes on")


@pytest.mark.parametrize("off", [{"brake.enabled": False}, {"brake.documents_min": 0}])
def test_it_can_be_off(data_folder: FilePath, off: dict[str, Any]) -> None:
    world = World.create(data_folder, **{**SETTINGS, **off})
    for login in ("eva", "erik"):
        world.person(login, "Kund AB")
    world.space("Rum", "Kund AB", folders=("/Mapp",))
    for login in ("eva", "erik"):
        world.grant(login, "Rum", Role.EDITOR)
    for path in fill(world, 2 * LIMIT):
        encrypt(world.drive("eva"), path)
    assert alerts(world) == []
    world.installation.close()


def test_what_cannot_be_counted_now_is_counted_with_the_next(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    eva, paths = world.drive("eva"), fill(world, LIMIT + 3)
    real = brake.Brake._settled

    def busy(self: brake.Brake, subject: bytes, acts: Any) -> Any:
        raise DatabaseBusy

    monkeypatch.setattr(brake.Brake, "_settled", busy)
    for path in paths[:LIMIT]:
        encrypt(eva, path)
    monkeypatch.setattr(brake.Brake, "_settled", real)
    encrypt(eva, paths[LIMIT])
    with pytest.raises(Paused):
        encrypt(eva, paths[LIMIT + 1])
    assert id_text(alerts(world)[0].subject) == id_text(world.devices["eva"])
