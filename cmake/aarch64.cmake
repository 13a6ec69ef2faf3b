# SPDX-License-Identifier: Apache-2.0
#
# nibble for aarch64 Linux, built on a machine of another kind and tested there by QEMU. Needs g++-aarch64-linux-gnu and qemu-user-static.
#
#   cmake --preset arm        g++;  NIBBLE_ARM_PROCESSOR=neoverse-n1 ctest --preset arm: tests run on what QEMU makes of that processor
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
if(NOT CMAKE_CXX_COMPILER)
  set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
endif()
set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-gnu)

execute_process(COMMAND ${CMAKE_CURRENT_LIST_DIR}/../tools/aarch64-sysroot OUTPUT_VARIABLE nibble_sysroot OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
set(CMAKE_FIND_ROOT_PATH ${nibble_sysroot})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${nibble_sysroot})
set(ENV{PKG_CONFIG_LIBDIR} ${nibble_sysroot}/usr/lib/aarch64-linux-gnu/pkgconfig:${nibble_sysroot}/usr/share/pkgconfig)
set(CMAKE_CROSSCOMPILING_EMULATOR ${CMAKE_CURRENT_LIST_DIR}/../tools/aarch64-run)
