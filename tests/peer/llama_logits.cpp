// SPDX-License-Identifier: Apache-2.0
//
// Logits as stock llama.cpp computes them: a program of its own, linked against libllama by tests/llama_cpp.
//
//   llama-logits MODEL.gguf IDS OUT
//
// IDS: token ids in a text file. OUT: little-endian f32 [ids, vocabulary]. Keys and values are kept in f32 and
// attention is computed as the model's file says, so that what is left is the order of sums and the rounding of inputs.
#include <llama.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 4) return std::fputs("usage: llama-logits MODEL.gguf IDS OUT\n", stderr), 2;
  std::ifstream file(argv[2]);
  std::vector<llama_token> ids(std::istream_iterator<llama_token>(file), {});
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
      },
      nullptr);
  llama_backend_init();
  llama_model* const model = llama_model_load_from_file(argv[1], llama_model_default_params());
  if (model == nullptr || ids.empty()) return std::fputs("no model, or no ids\n", stderr), 1;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = params.n_batch = params.n_ubatch = static_cast<uint32_t>(ids.size());
  params.type_k = params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  llama_context* const context = llama_init_from_model(model, params);
  if (context == nullptr) return std::fputs("no context\n", stderr), 1;
  llama_batch batch = llama_batch_init(static_cast<int32_t>(ids.size()), 0, 1);
  for (size_t i = 0; i < ids.size(); ++i) {
    batch.token[i] = ids[i];
    batch.pos[i] = static_cast<llama_pos>(i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  batch.n_tokens = static_cast<int32_t>(ids.size());
  if (llama_decode(context, batch) != 0) return std::fputs("cannot decode\n", stderr), 1;
  const size_t vocabulary = static_cast<size_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
  std::ofstream out(argv[3], std::ios::binary);
  for (size_t i = 0; i < ids.size(); ++i)
    out.write(reinterpret_cast<const char*>(llama_get_logits_ith(context, static_cast<int32_t>(i))),
              static_cast<std::streamsize>(vocabulary * sizeof(float)));
  llama_batch_free(batch);
  llama_free(context);
  llama_model_free(model);
  llama_backend_free();
  return out.good() ? 0 : 1;
}
