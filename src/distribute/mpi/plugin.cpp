// SPDX-License-Identifier: Apache-2.0
//
// nibble-mpi.so: the functions of distribute/mpi_plugin.h by the MPI library that this is built with.
#include <mpi.h>

#include <cstdio>
#include <memory>

#include "distribute/mpi_plugin.h"

namespace {

constexpr int kTag = 1;

const char* version() {
  static char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  return MPI_Get_library_version(text, &length) == MPI_SUCCESS ? text : "";
}

int start(int* rank, int* size, char* host, int host_size) {
  int provided = 0;
  if (const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided); code != MPI_SUCCESS)
    return code;
  if (provided < MPI_THREAD_FUNNELED) return MPI_ERR_OTHER;
  if (const int code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN); code != MPI_SUCCESS) return code;
  if (const int code = MPI_Comm_rank(MPI_COMM_WORLD, rank); code != MPI_SUCCESS) return code;
  if (const int code = MPI_Comm_size(MPI_COMM_WORLD, size); code != MPI_SUCCESS) return code;
  char name[MPI_MAX_PROCESSOR_NAME] = {};
  int length = 0;
  const int code = MPI_Get_processor_name(name, &length);
  std::snprintf(host, static_cast<std::size_t>(host_size), "%s", name);
  return code;
}

int send(const void* bytes, std::uint64_t count, int to, void** request) {
  auto own = std::make_unique<MPI_Request>();
  const int code = MPI_Isend(bytes, static_cast<int>(count), MPI_BYTE, to, kTag, MPI_COMM_WORLD, own.get());
  if (code == MPI_SUCCESS) *request = own.release();
  return code;
}

int receive(void* bytes, std::uint64_t count, int from, void** request) {
  auto own = std::make_unique<MPI_Request>();
  const int code = MPI_Irecv(bytes, static_cast<int>(count), MPI_BYTE, from, kTag, MPI_COMM_WORLD, own.get());
  if (code == MPI_SUCCESS) *request = own.release();
  return code;
}

int test(void** request, int* is_done) {
  auto* const own = static_cast<MPI_Request*>(*request);
  const int code = MPI_Test(own, is_done, MPI_STATUS_IGNORE);
  if (code == MPI_SUCCESS && *is_done != 0) {
    delete own;
    *request = nullptr;
  }
  return code;
}

int finish() { return MPI_Finalize(); }

void abort_all(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

}  // namespace

const nibble_mpi_functions* nibble_mpi() {
  static constexpr nibble_mpi_functions functions = {
      NIBBLE_MPI_INTERFACE, version, start, send, receive, test, finish, abort_all};
  return &functions;
}
