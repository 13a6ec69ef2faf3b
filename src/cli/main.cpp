// SPDX-License-Identifier: Apache-2.0
//
// nibble on the command line. Exit codes: 0 done (and accepted, where --accept asks); 1 an input or the machine is at
// fault; 2 the command itself is wrong; 3 rejected by --accept; 4 undecided by --accept; 130 interrupted (SIGINT,
// SIGTERM, SIGHUP); 141 nobody reads standard output any more.
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>

#include "cli/interrupt.h"
#include "cli/lost_source.h"
#include "cli/option_hints.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "nibble/model.h"

namespace nibble::cli {
namespace {

constexpr const char* kFooter = R"(Examples:
  nibble compare models/fable-5M                      what every format costs on this model
  nibble quantize models/fable-5M -f q4_k_m -o fable.gguf
  nibble eval fable.gguf --against models/fable-5M --text models/fable-5M/heldout.txt
  nibble run fable.gguf -p "Once upon a time"
  nibble VERB --help                                 more of each

Exit codes: 0 done, 1 an input or the machine is at fault, 2 the command is wrong, 3 rejected and 4 undecided by --accept, 130 interrupted.
NIBBLE_ISA=scalar|avx2|avxvnni|avx512|neon|neon_dot|neon_i8mm overrides the instruction set.)";

std::string first_line(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return text;
}

// The options of the verb that is carried out, of one within it ("recipe show") too, and the other verbs.
bool is_word_of(const CLI::App& app, std::string_view word) {
  if (!word.starts_with('-'))
    return std::ranges::any_of(app.get_subcommands([](const CLI::App*) { return true; }),
                               [&](const CLI::App* verb) { return verb->get_name() == word; });
  for (const CLI::App* verb : app.get_subcommands())
    if (verb->get_option_no_throw(std::string(word)) != nullptr || is_word_of(*verb, word)) return true;
  return false;
}

// After a signal the message says so, whatever was being done. It also names the options that the error's setting is
// of.
std::string message_of(const CLI::App& app, const Error& error) {
  std::string message = error.what();
  if (error.kind() == ErrorKind::cancelled && interrupted()) {
    constexpr std::string_view kByCaller = "stopped by the caller";
    if (message.starts_with(kByCaller)) message.replace(0, kByCaller.size(), "interrupted");
    if (message.find("interrupted") == std::string::npos) message = "interrupted: " + message;
  }
  const std::string options =
      options_there(option_for(error.setting()), [&](std::string_view word) { return is_word_of(app, word); });
  if (!options.empty()) message += fmt::format("; see {}", options);
  return message;
}

int fail(Session& session, int code, const std::string& message) {
  session.end_progress();
  std::fprintf(stderr, "nibble: error: %s\n", first_line(message).c_str());
  return code;
}

int exit_code_of(ErrorKind kind) {
  return kind == ErrorKind::invalid_argument ? 2 : kind == ErrorKind::cancelled ? 130 : 1;
}

// The parser itself would only miss a verb, not say which word it did not know.
std::string unknown_verb(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return {};
  std::string known;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (verb->get_name() == argv[1]) return {};
    known += (known.empty() ? "" : ", ") + verb->get_name();
  }
  return fmt::format("unknown verb '{}'; known are {}", argv[1], known);
}

// As CLI11 says that an option that is given once was given more often.
constexpr std::string_view kGivenOften = ": At Most 1 required but received ";

// In the order in which they were given.
std::string left_over(const CLI::App& app) {
  std::string text;
  for (const std::string& argument : app.remaining(true)) text += (text.empty() ? "" : " ") + argument;
  return text;
}

int run(int argc, char** argv) {
  Session session;
  CLI::App app("nibble makes neural networks small: quantizes them, measures what that cost, runs them.", "nibble");
  app.footer(kFooter);
  app.set_version_flag("--version", "nibble " + std::string(version()));
  app.require_subcommand(1);
  for (const auto add : kVerbs) add(app, session);
  catch_interrupts();
  catch_lost_sources();
  if (const std::string error = unknown_verb(app, argc, argv); !error.empty()) return fail(session, 2, error);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version are "errors" that exit with 0.
    if (error.get_exit_code() == 0) return app.exit(error);
    std::string verb;
    for (const CLI::App* sub : app.get_subcommands()) verb = " " + sub->get_name();
    std::string what = error.what();
    if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) what = "not expected: " + left_over(app);
    if (const std::size_t most = what.find(kGivenOften); most != std::string::npos)
      what = fmt::format("{} is given {} times; once is enough", what.substr(0, most),
                         what.substr(most + kGivenOften.size()));
    return fail(session, 2, fmt::format("{}; 'nibble{} --help' tells more", what, verb));
  } catch (const Error& error) {
    return fail(session, exit_code_of(error.kind()), message_of(app, error));
  } catch (const ReaderGone&) {
    return 128 + SIGPIPE;  // as programs end that nobody reads any more, without a word
  } catch (const std::bad_alloc&) {
    return fail(session, 1, "not enough memory; close other programs or choose a smaller model");
  } catch (const std::exception& error) {
    return fail(session, 1, error.what());
  }
  return session.exit_code();
}

}  // namespace
}  // namespace nibble::cli

int main(int argc, char** argv) { return nibble::cli::run(argc, argv); }
