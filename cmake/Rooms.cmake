# SPDX-License-Identifier: Apache-2.0
#
# One function a kind of target, so that warnings, sanitizers and floating-point rules are the same everywhere.

# Floating-point contraction is off everywhere: kernels say fma where they mean it, and results are the same bits on every compiler.
function(nibble_settings target)
  target_compile_options(${target} PRIVATE -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
                                           -Wnon-virtual-dtor -Woverloaded-virtual $<$<BOOL:${NIBBLE_WERROR}>:-Werror>)
  # g++ 12 sees overlapping copies in std::string's operator+ where there are none (GCC bug 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  # g++ tells that it passes some arguments on this processor as it should, which g++ 9 did not.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NIBBLE_PROCESSOR STREQUAL arm)
    target_compile_options(${target} PRIVATE -Wno-psabi)
  endif()
  # clang reports the deprecated buffer inside libstdc++'s own std::stable_sort; g++ judges our uses.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    target_compile_options(${target} PRIVATE -Wno-deprecated-declarations)
  endif()
  if(NIBBLE_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${NIBBLE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${NIBBLE_SANITIZE})
  endif()
endfunction()

# What has no loop that anybody waits for is compiled quickly.
set(NIBBLE_QUICK $<$<CONFIG:Release>:-O1>)

# Headers that many files read, compiled once for all rooms (WHAT room) or all tests (WHAT test): most of the time that a small file takes.
# Not where clang builds a release: that keeps files honest about what they include.
function(nibble_precompile target what)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND NOT NIBBLE_SANITIZE)
    return()
  endif()
  set(common nibble_${what}_headers)
  if(NOT TARGET ${common})
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/${common}.cpp CONTENT "// Nothing but the headers.\n")
    add_library(${common} OBJECT ${CMAKE_BINARY_DIR}/${common}.cpp)
    nibble_settings(${common})
    set(headers <algorithm> <array> <cmath> <cstdint> <filesystem> <functional> <map> <memory> <optional> <span> <string> <string_view> <vector>)
    if(what STREQUAL "test")
      target_compile_definitions(${common} PRIVATE NIBBLE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
      set_target_properties(${common} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
      target_compile_options(${common} PRIVATE ${NIBBLE_QUICK} -fPIE)  # as programs are compiled
      target_link_libraries(${common} PRIVATE GTest::gtest)
      list(APPEND headers <gtest/gtest.h>)
    endif()
    target_link_libraries(${common} PRIVATE fmt::fmt nlohmann_json::nlohmann_json)
    target_precompile_headers(${common} PRIVATE ${headers} <fmt/format.h> <nlohmann/json.hpp>)
  endif()
  target_link_libraries(${target} PRIVATE fmt::fmt)
  target_precompile_headers(${target} REUSE_FROM ${common})
  # g++ 12 forgets that what it read there was a system's, and sees impossible lengths in std::string; clang judges these. Kernels have none.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND NOT target STREQUAL nibble_kernels)
    target_compile_options(${target} PRIVATE -Wno-array-bounds -Wno-stringop-overflow -Wno-stringop-overread)
  endif()
endfunction()

# A source file of the calling room that holds text files; HEADER declares FUNCTION in NAMESPACE, which gives them (base/embedded_text.h).
function(nibble_embed_text output header namespace function)
  set(output ${CMAKE_CURRENT_BINARY_DIR}/${output})
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${output}" "-DHEADER=${header}" "-DNAMESPACE=${namespace}" "-DFUNCTION=${function}" "-DFILES=${ARGN}"
            -P ${PROJECT_SOURCE_DIR}/cmake/EmbedText.cmake
    DEPENDS ${ARGN} ${PROJECT_SOURCE_DIR}/cmake/EmbedText.cmake
    COMMENT "Embedding text files in ${output}"
    VERBATIM)
endfunction()

# A room of the house: static library nibble_<name> from SOURCES, seeing the rooms in BELOW and the third-party targets in LINK.
function(nibble_room name)
  cmake_parse_arguments(ROOM "" "" "SOURCES;BELOW;LINK" ${ARGN})
  set(target nibble_${name})
  add_library(${target} STATIC ${ROOM_SOURCES})
  nibble_settings(${target})
  nibble_precompile(${target} room)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  list(TRANSFORM ROOM_BELOW PREPEND nibble_ OUTPUT_VARIABLE below)
  target_link_libraries(${target} PUBLIC ${below} PRIVATE ${ROOM_LINK})
  set_property(GLOBAL APPEND PROPERTY NIBBLE_ROOMS ${target})
  set_property(GLOBAL APPEND PROPERTY NIBBLE_LINKS ${ROOM_LINK})
endfunction()

# One object of all rooms in which only the installed API is global: what src/pipeline/api/ defines outside namespace nibble::api. A program
# that links the library may use any other name itself.
function(nibble_hidden_object output rooms)
  list(TRANSFORM rooms REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
  set(list ${PROJECT_BINARY_DIR}/nibble_objects.txt)
  file(GENERATE OUTPUT ${list} CONTENT "$<JOIN:${objects},\n>\n")
  add_executable(nibble_weaken_unique EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/cmake/weaken_unique.cpp)
  nibble_settings(nibble_weaken_unique)
  set(ld ld)  # GNU's: clang's own may not know what is asked of it
  if(CMAKE_CROSSCOMPILING)
    set(ld ${CMAKE_LINKER})
  endif()
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${PROJECT_SOURCE_DIR}/cmake/hide-internals ${CMAKE_NM} ${CMAKE_OBJCOPY} ${ld} ${list} ${output}
            ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:nibble_weaken_unique>
    DEPENDS ${objects} ${PROJECT_SOURCE_DIR}/cmake/hide-internals nibble_weaken_unique
    VERBATIM)
  set_source_files_properties(${output} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
endfunction()

# The installed library: all rooms in one archive, with a package that find_package(nibble) finds. Sanitizers name what is in objects as it
# is, so theirs stay apart and hide nothing.
function(nibble_library)
  get_property(rooms GLOBAL PROPERTY NIBBLE_ROOMS)
  get_property(links GLOBAL PROPERTY NIBBLE_LINKS)
  list(REMOVE_DUPLICATES links)
  if(NIBBLE_SANITIZE)
    list(TRANSFORM rooms REPLACE "(.+)" "$<TARGET_OBJECTS:\\1>" OUTPUT_VARIABLE objects)
  else()
    set(objects ${PROJECT_BINARY_DIR}/nibble.o)
    nibble_hidden_object(${objects} "${rooms}")
  endif()
  add_library(nibble STATIC ${objects})
  add_library(nibble::nibble ALIAS nibble)
  set_target_properties(nibble PROPERTIES LINKER_LANGUAGE CXX)
  target_compile_features(nibble PUBLIC cxx_std_20)
  target_include_directories(nibble PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(nibble PRIVATE ${links})
  install(TARGETS nibble EXPORT nibble-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY include/nibble DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(EXPORT nibble-targets NAMESPACE nibble:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
  include(CMakePackageConfigHelpers)
  configure_package_config_file(cmake/nibble-config.cmake.in ${PROJECT_BINARY_DIR}/nibble-config.cmake
                                INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/nibble-config-version.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/nibble-config.cmake ${PROJECT_BINARY_DIR}/nibble-config-version.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/nibble)
endfunction()

# Tests of one room: executable test_<name>, each case a ctest of its own. Under a sanitizer, where starting a process
# costs more than most cases do, the cases run in a few processes.
function(nibble_test name)
  cmake_parse_arguments(TEST "" "" "SOURCES;LINK" ${ARGN})
  add_executable(test_${name} ${TEST_SOURCES})
  nibble_settings(test_${name})
  target_compile_options(test_${name} PRIVATE ${NIBBLE_QUICK})
  nibble_precompile(test_${name} test)
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(test_${name} PRIVATE NIBBLE_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(test_${name} PRIVATE ${TEST_LINK} GTest::gtest_main)
  if(NIBBLE_SANITIZE)
    set(shards 4)
    foreach(shard RANGE 1 ${shards})
      math(EXPR index "${shard} - 1")
      add_test(NAME ${name}.${shard}of${shards} COMMAND test_${name} --gtest_brief=1)
      set_tests_properties(${name}.${shard}of${shards} PROPERTIES TIMEOUT 3000
                           ENVIRONMENT "GTEST_TOTAL_SHARDS=${shards};GTEST_SHARD_INDEX=${index}")
    endforeach()
  else()
    gtest_discover_tests(test_${name} PROPERTIES TIMEOUT 300 DISCOVERY_TIMEOUT 60)
  endif()
endfunction()
