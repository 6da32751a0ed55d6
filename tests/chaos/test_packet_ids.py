"""The wire that renumbers the messages of a broker."""

from __future__ import annotations

from chaos.packet_ids import PacketIds, packets


def publish(number: int, *, duplicate: bool = False) -> bytes:
    return bytes([0x3A if duplicate else 0x32, 8, 0, 1]) + b"t" + number.to_bytes(2, "big") + b"\x00BA"


def puback(number: int) -> bytes:
    return b"\x40\x02" + number.to_bytes(2, "big")


def test_a_message_gets_the_lowest_free_id() -> None:
    ids = PacketIds()
    assert [ids.to_client(publish(number)) for number in (7, 8)] == [publish(1), publish(2)]
    assert ids.to_broker(puback(1)) == puback(7)
    assert ids.to_client(publish(9)) == publish(1)


def test_a_message_that_is_repeated_keeps_its_id() -> None:
    ids, repeated = PacketIds(), list[bytes]()
    ids.repeated = repeated.append
    ids.to_client(publish(7))
    assert not repeated
    assert ids.to_client(publish(7, duplicate=True)) == publish(1, duplicate=True)
    assert repeated == [publish(7, duplicate=True)]
    ids.to_broker(puback(1))
    assert ids.to_client(publish(7, duplicate=True)) == publish(1, duplicate=True)


def test_a_new_session_begins_anew() -> None:
    ids = PacketIds()
    ids.to_client(publish(7))
    ids.to_client(b"\x20\x03\x01\x00\x00")
    assert ids.to_client(publish(8)) == publish(2)
    ids.to_client(b"\x20\x03\x00\x00\x00")
    assert ids.to_client(publish(9)) == publish(1)


def test_packets_are_changed_however_they_are_cut() -> None:
    feed = packets(PacketIds().to_client)
    raw = publish(7) + b"\xd0\x00" + publish(8)
    assert b"".join(feed(raw[number : number + 1]) for number in range(len(raw))) == publish(1) + b"\xd0\x00" + publish(
        2
    )
