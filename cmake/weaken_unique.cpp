// SPDX-License-Identifier: Apache-2.0
//
// Makes weak symbols of an object's unique ones (STB_GNU_UNIQUE, which g++ gives to variables of inline code), in
// place: objcopy can make weak symbols local, and unique ones not.
//
//   weaken_unique OBJECT        a 64-bit ELF file of this machine's byte order
#include <elf.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

namespace {

// False where the bytes are no such file.
bool weaken_unique(std::string& bytes) {
  Elf64_Ehdr header;
  if (bytes.size() < sizeof header) return false;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64) return false;
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section;
    const std::size_t at = header.e_shoff + i * sizeof section;
    if (at + sizeof section > bytes.size()) return false;
    std::memcpy(&section, bytes.data() + at, sizeof section);
    if (section.sh_type != SHT_SYMTAB) continue;
    if (section.sh_offset + section.sh_size > bytes.size()) return false;
    for (std::size_t offset = 0; offset + sizeof(Elf64_Sym) <= section.sh_size; offset += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol;
      char* const place = bytes.data() + section.sh_offset + offset;
      std::memcpy(&symbol, place, sizeof symbol);
      if (ELF64_ST_BIND(symbol.st_info) != STB_GNU_UNIQUE) continue;
      symbol.st_info = ELF64_ST_INFO(STB_WEAK, ELF64_ST_TYPE(symbol.st_info));
      std::memcpy(place, &symbol, sizeof symbol);
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::string bytes;
  {
    std::ifstream file(argv[1], std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  if (!weaken_unique(bytes)) {
    std::fprintf(stderr, "weaken_unique: no 64-bit ELF object: %s\n", argv[1]);
    return 1;
  }
  std::ofstream file(argv[1], std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  return file.flush() ? 0 : 1;
}
