// SPDX-License-Identifier: Apache-2.0
//
// Ranks that are processes under MPI, started by mpirun or a scheduler. The MPI library comes with a shared object,
// nibble-mpi.so (distribute/mpi_plugin.h), that is loaded here.
//
//   const std::unique_ptr<Transport> transport = open_mpi({.note = note});
#pragma once

#include <memory>

#include "distribute/transport.h"

namespace nibble {

// NIBBLE_MPI names the shared object; otherwise it lies beside the program, or where it is installed. To be called
// once in a process. Error(unsupported) where it is not there or its MPI library is not: says what to install.
// Whoever destroys the transport ends MPI; after an error that the others do not know of, all ranks.
std::unique_ptr<Transport> open_mpi(TransportOptions options);

}  // namespace nibble
