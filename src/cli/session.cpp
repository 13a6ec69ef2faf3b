// SPDX-License-Identifier: Apache-2.0
#include "cli/session.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/plain_text.h"
#include "kernels/linear/integer_form.h"
#include "nibble/error.h"
#include "pipeline/tell/source_notes.h"

namespace nibble::cli {
namespace {

bool locale_is_unicode() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view text(value);
    return text.find("UTF-8") != text.npos || text.find("utf8") != text.npos || text.find("UTF8") != text.npos ||
           text.find("utf-8") != text.npos;
  }
  return false;
}

std::string one_line(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return result;
}

// "int8" is another word for "a8". Nothing where no inputs are rounded to integers. Error(invalid_argument) lists the
// formats.
std::optional<ActivationFormat> spelled_activations(const std::string& name) {
  if (name == "auto" || name == "f32" || name == "bf16") return std::nullopt;
  return parse_activation_format(name.starts_with("int8") ? "a8" + name.substr(4) : name);
}

std::string defect_of_activations(const std::string& name) {
  try {
    const auto format = spelled_activations(name);
    return format && format->is_static() ? "static grids come with a model's file; choose auto: '" + name + "'"
                                         : std::string();
  } catch (const Error& error) {
    return std::string("neither auto, f32, bf16 nor int8, and an ") + error.what();
  }
}

void write_all(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return;
  const int reason = errno;
  if (reason == EPIPE) throw ReaderGone();
  throw Error(ErrorKind::io, std::string("cannot write to standard output: ") + std::strerror(reason));
}

// What --kv takes.
std::vector<std::string> kv_names() {
  std::vector<std::string> names(kKvTypeNames.begin(), kKvTypeNames.end());
  names.insert(names.begin(), "auto");
  return names;
}

}  // namespace

void Session::add_threads(CLI::App& verb) {
  verb.add_option("-t,--threads", threads_, "Number of threads (default: the processors that this process may use)")
      ->check(CLI::Range(1, 1024));
}

void Session::add_json(CLI::App& verb) { verb.add_flag("--json", json_, "Print JSON"); }

void Session::add_engine(CLI::App& verb) {
  add_threads(verb);
  verb.add_option("--activations", activations_,
                  "How activations enter the products: auto (as the model's file says, else int8 where weights are "
                  "quantized and, to run and to "
                  "measure speed, bf16 where they are bf16 and the processor is fast at that), f32, bf16, int8 "
                  "(a8:g128:wide), or spelled: a8:g128, "
                  "a8:g64, a8:g32, each also with :wide, a16:g128, a8:token, a8:token:asym")
      ->check(CLI::Validator([](const std::string& name) { return defect_of_activations(name); },
                             "auto|f32|bf16|int8|a8..."))
      ->capture_default_str();
  verb.add_option(
          "--kv", kv_,
          "How keys and values are kept: auto (q8_0 when the model is quantized, else f16), f32, f16, q8_0, q4_0, "
          "q8_0:rotated, q4_0:rotated (values turned by a Hadamard transform before they are rounded, as keys are)")
      ->check(CLI::IsMember(kv_names()))
      ->capture_default_str();
}

Machine& Session::machine() {
  if (machine_) return *machine_;
  const char* const isa = std::getenv("NIBBLE_ISA");
  const std::string_view wanted = isa == nullptr ? "" : isa;
  Isa chosen{};
  try {
    chosen = choose_isa(detect_cpu(), wanted);
  } catch (const Error& error) {
    throw Error(error.kind(), std::string("NIBBLE_ISA: ") + error.what());
  }
  machine_ = std::make_unique<Machine>(chosen, threads_);
  const std::size_t asked = threads_ == 0 ? available_processors() : threads_, given = machine_->pool.num_threads();
  if (given < asked)
    note(fmt::format("the system gives no more threads; goes on with {} of the {} asked for", given, asked));
  return *machine_;
}

KernelOptions Session::kernels() const {
  KernelOptions options;
  if (activations_ == "f32") options.activations = ActivationMode::f32;
  if (activations_ == "bf16") options.activations = ActivationMode::bf16;
  if (const auto format = spelled_activations(activations_)) {
    options.activations = ActivationMode::int8;
    options.activation_format = *format;
  }
  return options;
}

KernelOptions Session::running_kernels() const {
  KernelOptions options = kernels();
  if (options.activations == ActivationMode::automatic) options.activations = ActivationMode::native;
  return options;
}

std::optional<KvType> Session::kv() const { return parse_kv_type(kv_); }

ProgressCallback Session::progress() {
  return [this](const Progress& progress) { return bar_.report(progress); };
}

std::vector<std::pair<std::string, std::string>> Session::settings() {
  return {{"processor", detect_cpu().brand},
          {"instruction set", std::string(isa_name(machine().isa))},
          {"threads", std::to_string(machine().pool.num_threads())},
          {"activations", activations_},
          {"KV cache", kv_}};
}

TableStyle Session::style() const { return {.unicode = locale_is_unicode()}; }

void Session::print(std::string_view text) {
  bar_.wipe();
  write_all(text);
}

void Session::print_json(const Json& json) { print(json_text(json)); }

void Session::note(std::string_view text) {
  bar_.wipe();
  std::fprintf(stderr, "nibble: %s\n", one_line(text).c_str());
}

std::string text_name(const std::string& path) { return path == "-" ? "standard input" : path; }

std::string read_text_or_nothing(const std::string& path) {
  const bool standard = path == "-";
  std::FILE* const file = standard ? stdin : std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    const int reason = errno;
    throw Error(reason == ENOENT ? ErrorKind::not_found : ErrorKind::io,
                fmt::format("cannot read the text '{}': {}", path, std::strerror(reason)));
  }
  std::string text;
  char buffer[65536];
  std::size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof buffer, file)) > 0) text.append(buffer, count);
  const bool failed = std::ferror(file) != 0;
  const int reason = errno;
  if (!standard) std::fclose(file);
  if (failed) throw Error(ErrorKind::io, fmt::format("cannot read the text '{}': {}", path, std::strerror(reason)));
  return text;
}

std::string read_text(const std::string& path) {
  std::string text = read_text_or_nothing(path);
  if (text.empty()) throw Error(ErrorKind::unsupported, fmt::format("the text is empty: {}", text_name(path)));
  return text;
}

void Session::add_force_text(CLI::App& verb) {
  verb.add_flag("--force-text", force_text_,
                "Take files as text that look like something else (UTF-16, JSON lines, archives, binary data)");
}

std::string Session::read_corpus(const std::string& path) {
  std::string text = read_text(path);
  refuse_foreign(text_name(path), foreign_text_kind(text));
  if (drop_byte_order_mark(text) && text.empty())
    throw Error(ErrorKind::unsupported, fmt::format("the text is empty: {}", text_name(path)));
  note_invalid_utf8(text, text_name(path));
  return text;
}

std::string Session::read_any_text(const std::string& path) {
  std::string text = read_text_or_nothing(path);
  refuse_foreign(text_name(path), foreign_bytes_kind(text));
  drop_byte_order_mark(text);
  note_invalid_utf8(text, text_name(path));
  return text;
}

void Session::refuse_foreign(const std::string& name, const std::string& kind) const {
  if (!kind.empty() && !force_text_)
    throw Error(ErrorKind::unsupported, fmt::format("{}: looks like {} (or insist with --force-text)", name, kind));
}

void Session::note_invalid_utf8(std::string_view text, const std::string& name) {
  if (const std::size_t bad = count_invalid_utf8(text); bad > 0)
    note(fmt::format("note: {}: {} of bytes that {} no UTF-8, read as U+FFFD", name,
                     bad == 1 ? "a sequence" : fmt::format("{} sequences", bad), bad == 1 ? "is" : "are"));
}

std::vector<NamedText> Session::read_named_texts(const std::vector<std::string>& paths) {
  std::vector<NamedText> texts;
  for (const std::string& path : paths) texts.push_back({text_name(path), read_corpus(path)});
  return texts;
}

void Session::note_reading(const SourceModel& model) {
  for (const std::string& line : source_notes(model)) note("note: " + line);
}

void Session::note_unused_activations(const std::string& name, const SourceModel& model) {
  if (!spelled_activations(activations_)) return;
  const bool any = std::ranges::any_of(model.tensors(), [](const StoredTensor& tensor) {
    return tensor.values.format() && tensor.values.rows() > 1 &&
           integer_form(*tensor.values.format(), tensor.values.cols()).has_value();
  });
  if (!any)
    note(
        fmt::format("note: --activations {} changes nothing: no weights of {} are integers on a grid, and products are "
                    "those of f32",
                    activations_, name));
}

int exit_code_of(const std::vector<Acceptance>& acceptances) {
  const auto any = [&](Judgement judgement) {
    return std::ranges::find(acceptances, judgement, &Acceptance::judgement) != acceptances.end();
  };
  return any(Judgement::rejected) ? 3 : any(Judgement::undecided) ? 4 : 0;
}

std::vector<std::string> split_list(std::string_view list) {
  std::vector<std::string> result;
  while (true) {
    const std::size_t comma = list.find(',');
    if (comma != 0 && !list.empty()) result.emplace_back(list.substr(0, comma));
    if (comma == std::string_view::npos) return result;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace nibble::cli
