"""Arrays of numbers out of a shared library, by reading its symbol table. Nothing of the library is executed.

Source of the layout: System V ABI, chapter 4, with the 64-bit sizes of the ELF-64 object file format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookout.errors import AssetError

#: Magic, 64-bit class, little endian.
_IDENT = b"\x7fELF\x02\x01"
_SECTION_TABLE_OFFSET = struct.Struct("<Q"), 0x28
_SECTION_TABLE_SHAPE = struct.Struct("<HH"), 0x3A
_SECTION = struct.Struct("<4xI8xQQQI20x")
_SYMBOL = struct.Struct("<IBxHQQ")
_NOBITS, _DYNSYM = 8, 11
_OBJECT = 1


@dataclass(frozen=True, slots=True)
class _Section:
    kind: int
    address: int
    offset: int
    size: int
    link: int


def float_arrays(elf: bytes, *, suffixes: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    """The exported float arrays whose names end in one of the suffixes.

    Args:
        elf: a whole shared library, ELF64 little endian.
        suffixes: endings of the wanted symbols' names.

    Returns:
        name -> float32 `(n,)`, read-only.

    Raises:
        AssetError: this is no such library, or it is damaged.
    """
    if not elf.startswith(_IDENT):
        raise AssetError("The file is no 64-bit little-endian ELF library.")
    sections = _sections(elf)
    symbols = next((section for section in sections if section.kind == _DYNSYM), None)
    if symbols is None:
        raise AssetError("The library has no table of exported symbols.")
    names = _content(elf, _at(sections, symbols.link))
    table = _content(elf, symbols)
    if len(table) % _SYMBOL.size:
        raise AssetError("The library's table of exported symbols is cut off.")
    arrays = {}
    for name_at, info, section_index, address, size in _SYMBOL.iter_unpack(table):
        name = names[name_at : names.find(b"\0", name_at)].decode("ascii", errors="replace")
        defined = 0 < section_index < len(sections)
        if info & 0xF == _OBJECT and defined and name.endswith(suffixes):
            arrays[name] = _floats(elf, sections[section_index], name, address, size)
    return arrays


def _sections(elf: bytes) -> list[_Section]:
    try:
        (offset,) = _unpack(elf, *_SECTION_TABLE_OFFSET)
        entry_size, count = _unpack(elf, *_SECTION_TABLE_SHAPE)
        return [_Section(*_unpack(elf, _SECTION, offset + index * entry_size)) for index in range(count)]
    except struct.error as error:
        raise AssetError("The library is cut off: its table of sections lies outside it.") from error


def _unpack(elf: bytes, layout: struct.Struct, offset: int) -> tuple[int, ...]:
    if offset > len(elf):  # beyond the machine's integers, `unpack_from` would raise another error
        raise struct.error("offset outside the file")
    return layout.unpack_from(elf, offset)


def _at(sections: list[_Section], index: int) -> _Section:
    if index >= len(sections):
        raise AssetError("The library is damaged: its symbols name a section that it does not have.")
    return sections[index]


def _content(elf: bytes, section: _Section) -> bytes:
    content = elf[section.offset : section.offset + section.size]
    if len(content) < section.size or section.kind == _NOBITS:
        raise AssetError("The library is cut off: a section lies outside it.")
    return content


def _floats(elf: bytes, section: _Section, name: str, address: int, size: int) -> NDArray[np.float32]:
    start = address - section.address
    values = elf[section.offset + start : section.offset + start + size]
    inside = section.kind != _NOBITS and start >= 0 and start + size <= section.size
    if not inside or len(values) < size or size % 4:
        raise AssetError(f"The library is damaged: {name} lies outside its section.")
    return np.frombuffer(values, "<f4")
