/* SPDX-License-Identifier: Apache-2.0
 *
 * What the program asks of MPI, in C: a shared object built with an MPI library (src/distribute/mpi/plugin.cpp) gives
 * these functions, and is loaded when ranks are asked for, so that the program itself needs no MPI. All but `version`
 * are called from one thread, between start and finish. Results are 0, or an error code of MPI.
 */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NIBBLE_MPI_INTERFACE 1
#define NIBBLE_MPI_LARGEST (UINT64_C(1) << 30) /* bytes in a message: counts of MPI 3 are int */

struct nibble_mpi_functions {
  int interface;                /* NIBBLE_MPI_INTERFACE */
  const char* (*version)(void); /* of the library: "Open MPI v4.1.4, ..." */
  /* host: room for the name of this rank's machine. */
  int (*start)(int* rank, int* size, char* host, int host_size);
  /* Both return at once; messages between two ranks arrive in the order in which they were sent. At most
   * NIBBLE_MPI_LARGEST bytes, which stay until test() says that the request is done. */
  int (*send)(const void* bytes, uint64_t count, int to, void** request);
  int (*receive)(void* bytes, uint64_t count, int from, void** request);
  int (*test)(void** request, int* is_done);
  int (*finish)(void);
  void (*abort)(int code); /* ends all ranks */
};

/* The one symbol of the shared object. */
const struct nibble_mpi_functions* nibble_mpi(void);

#ifdef __cplusplus
}
#endif
