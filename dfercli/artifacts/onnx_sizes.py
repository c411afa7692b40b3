"""Leave the size of the picture that an ONNX model takes open, where its file fixes one."""

from collections.abc import Iterator, Sequence


def with_open_size(content: bytes, picture: str) -> bytes:
    """The same model for pictures of any height and width: (1, 3, height, width) float32.

    The sizes of what it computes are left open as well. Only these few fields are rewritten, as the
    package onnx takes a third of a second to import.

    Args:
        content: A model that is known or was checked by `read_onnx`.
        picture: The name of the input.
    """
    # Field numbers of onnx.proto: ModelProto.graph is 7; of a graph, the inputs are 11, the
    # outputs 12, and values in between 13; the name of a value is 1.
    model = bytearray()
    for number, value, encoded in _fields(content):
        if number != 7:
            model += encoded
            continue
        graph = bytearray()
        for part, described, whole in _fields(value):
            if part == 11 and _inside(described, 1) == picture.encode():
                sizes = [_field(1, 1), _field(1, 3), _field(2, b"height"), _field(2, b"width")]
                graph += _field(11, _float_tensor(_inside(described, 1), sizes))
            elif part == 12:
                open_sizes = [b"" for _ in _fields(_inside(described, 2, 1, 2))]
                graph += _field(12, _float_tensor(_inside(described, 1), open_sizes))
            elif part != 13:
                graph += whole
        model += _field(7, bytes(graph))
    return bytes(model)


def _inside(message: bytes, *numbers: int) -> bytes:
    """The value of a field of a field of a message; empty where there is none."""
    for number in numbers:
        message = next((value for own, value, _ in _fields(message) if own == number), b"")
    return message


def _float_tensor(name: bytes, sizes: Sequence[bytes]) -> bytes:
    """A ValueInfoProto of float32 (1); `sizes` are messages of Dimension, empty if unknown."""
    tensor = _field(1, 1) + _field(2, b"".join(_field(1, size) for size in sizes))
    return _field(1, name) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    """One field of a message of protobuf."""
    if isinstance(value, int):
        return _as_varint(number << 3) + _as_varint(value)
    return _as_varint(number << 3 | 2) + _as_varint(len(value)) + value


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, value (of those with a length) and whole encoding of each field."""
    end = 0
    while end < len(message):
        begin = end
        key, end = _varint(message, begin)
        kind, value = key & 7, b""
        if kind == 0:
            _, end = _varint(message, end)
        elif kind == 2:
            size, end = _varint(message, end)
            value = message[end : end + size]
            end += size
        else:
            end += {1: 8, 5: 4}[kind]
        yield key >> 3, value, message[begin:end]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends."""
    number = shift = 0
    while message[at] & 0x80:
        number |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return number | message[at] << shift, at + 1


def _as_varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
