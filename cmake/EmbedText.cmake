# SPDX-License-Identifier: Apache-2.0
#
# cmake -DOUTPUT=page_assets.cpp -DHEADER=report/page_assets.h -DNAMESPACE=nibble -DFUNCTION=page_assets -DFILES=a.html;b.css -P EmbedText.cmake
# Writes a source file that holds text files: what the function that HEADER declares gives, a file's name, its hash and its text in pieces
# short enough for any compiler.
set(source "// Made from text files by EmbedText.cmake.\n#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\nnamespace {\n\n")
set(list "")
set(number 0)
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME)
  file(SHA256 "${file}" hash)
  file(READ "${file}" hex HEX)
  string(LENGTH "${hex}" length)
  set(pieces "")
  set(at 0)
  while(at LESS length)
    string(SUBSTRING "${hex}" ${at} 16000 piece)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" piece "${piece}")
    string(APPEND pieces "    \"${piece}\",\n")
    math(EXPR at "${at} + 16000")
  endwhile()
  string(APPEND source "constexpr std::string_view kFile${number}[] = {\n${pieces}};\n\n")
  string(APPEND list "      {\"${name}\", \"${hash}\", kFile${number}},\n")
  math(EXPR number "${number} + 1")
endforeach()
string(APPEND source "constexpr EmbeddedText kFiles[] = {\n${list}};\n\n}  // namespace\n\nstd::span<const EmbeddedText> ${FUNCTION}() { return kFiles; }\n\n}  // namespace ${NAMESPACE}\n")
file(WRITE "${OUTPUT}" "${source}")
