// SPDX-License-Identifier: Apache-2.0
//
// Token ids as stock llama.cpp gives them: a program of its own, linked against libllama by tests/llama_cpp.
//
//   llama-tokens MODEL.gguf < TEXTS > IDS
//
// TEXTS: each 4 bytes of its length, little-endian, and its bytes. IDS: a line for each. Without begin and end tokens;
// control tokens that a text spells out are plain text.
#include <llama.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 2) return std::fputs("usage: llama-tokens MODEL.gguf < TEXTS > IDS\n", stderr), 2;
  llama_log_set(
      [](ggml_log_level level, const char* text, void*) {
        if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
      },
      nullptr);
  llama_backend_init();
  llama_model_params params = llama_model_default_params();
  params.vocab_only = true;
  llama_model* const model = llama_model_load_from_file(argv[1], params);
  if (model == nullptr) return std::fputs("no model\n", stderr), 1;
  const llama_vocab* const vocabulary = llama_model_get_vocab(model);
  std::vector<llama_token> ids;
  for (std::uint32_t size = 0; std::fread(&size, sizeof size, 1, stdin) == 1;) {
    std::string text(size, '\0');
    if (std::fread(text.data(), 1, size, stdin) != size) return std::fputs("a text is cut off\n", stderr), 1;
    ids.resize(text.size() * 4 + 16);
    const int count = llama_tokenize(vocabulary, text.data(), static_cast<int32_t>(size), ids.data(),
                                     static_cast<int32_t>(ids.size()), false, false);
    if (count < 0) return std::fputs("too many tokens\n", stderr), 1;
    for (int i = 0; i < count; ++i) std::printf(i == 0 ? "%d" : " %d", ids[static_cast<std::size_t>(i)]);
    std::putchar('\n');
  }
  llama_model_free(model);
  llama_backend_free();
  return 0;
}
