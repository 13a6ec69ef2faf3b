// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/statistics_hash.h"

#include <xxhash.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace nibble {
namespace {

// Takes the place of any field.
struct Anything {
  template <class T>
  operator T() const;  // never defined
};

template <class T, std::size_t... I>
constexpr bool takes_fields(std::index_sequence<I...>) {
  return requires { T{(static_cast<void>(I), Anything{})...}; };
}

// Of a site's fields, its key is the first, which is a base and cannot be bound together with them.
constexpr std::size_t kSiteFields = 9;
static_assert(takes_fields<SiteStatistics>(std::make_index_sequence<kSiteFields>()) &&
                  !takes_fields<SiteStatistics>(std::make_index_sequence<kSiteFields + 1>()),
              "a site has a field more or less: say in add_site() what it is to the hash");

struct Hash {
  std::uint64_t value = 0;

  void add(const void* bytes, std::size_t size) {
    const std::array<std::uint64_t, 2> whole = {size, XXH3_64bits_withSeed(bytes, size, value)};
    value = XXH3_64bits_withSeed(whole.data(), sizeof whole, value);
  }
  template <class T>
    requires std::is_arithmetic_v<T>
  void add(T number) {
    add(&number, sizeof number);
  }
  template <class T>
  void add(const std::vector<T>& numbers) {
    add(numbers.data(), numbers.size() * sizeof(T));
  }
};

void add_site(const SiteStatistics& statistics, Hash& hash) {
  const auto& [layer, site, expert] = static_cast<const SiteKey&>(statistics);
  hash.add(layer);
  hash.add(site.data(), site.size());
  hash.add(expert);
  hash.add(statistics.count);
  hash.add(statistics.mean_square);
  hash.add(statistics.absmax);
  hash.add(statistics.second_moment);
  hash.add(statistics.histogram);
  hash.add(statistics.negatives);
  hash.add(statistics.lowest);
  hash.add(statistics.highest);
}

}  // namespace

std::uint64_t statistics_hash(const Statistics& statistics) {
  const auto& [texts, samples, length, sites] = statistics;
  Hash hash;
  for (const SiteStatistics& site : sites) add_site(site, hash);
  return hash.value;
}

}  // namespace nibble
