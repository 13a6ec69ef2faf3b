# SPDX-License-Identifier: Apache-2.0
#
# NIBBLE_PROCESSOR: x86, arm or plain, which has no kernels of its own and takes the reference (-DNIBBLE_PROCESSOR=plain asks for that
# anywhere). It chooses files; nothing else in the build asks for the processor.
if(NOT DEFINED NIBBLE_PROCESSOR)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(NIBBLE_PROCESSOR x86)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
    set(NIBBLE_PROCESSOR arm)
  else()
    set(NIBBLE_PROCESSOR plain)
  endif()
elseif(NOT NIBBLE_PROCESSOR MATCHES "^(x86|arm|plain)$")
  message(FATAL_ERROR "NIBBLE_PROCESSOR is x86, arm or plain: ${NIBBLE_PROCESSOR}")
endif()
